"""Pictures of import, check and plan on a folder of CTs with odd names.

    python docs/source/own_scans_pictures.py

Twelve phantoms get names as people have them; three label maps get a fault. Then the commands are
run as a user types them, and what they print is drawn. The check's page is taken by Chromium, where
it is installed. An idle machine, please: plan measures it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
NAMES = (
    *("Müller, A.", "Nguyen 02 (repeat)", "O'Brien", "pat#4", "Ödegaard", "case 006"),
    *("07_follow up", "Smith+Co", "ninth", "X 10", "El-Sayed", "12 - final"),
)
LABELS = "[liver, spleen, right_kidney, left_kidney, pancreas, aorta]"
COLUMNS, LINES = 104, 66
INK, PAPER, PROMPT = "#e6e6e6", "#101417", "#7fc8ff"


def main() -> None:
    """Make the folder, run the commands, draw."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        run(work, "phantom", "phantoms", "--cases", str(len(NAMES)))
        make_scans(work / "phantoms", work / "scans")
        said = run(work, "import", "scans", "D", "--yes", "--label_names", LABELS)
        said += run(work, "check", "D", "--page", "P")
        draw(said, "terminal_import_check.png")
        page(work / "P" / "check.html")
        run(work, "check", "D", "--fix", "sound")
        draw(
            run(work, "plan", "phantoms", "--to", "B", "--time", "20m", "--explain"),
            "terminal_plan.png",
        )


def make_scans(source: Path, target: Path) -> None:
    """Copies of the cases; a flipped, a moved and an undeclared label map among them."""
    for part in ("CTs", "contours"):
        (target / part).mkdir(parents=True)
    images = sorted((source / "imagesTr").iterdir())
    for number, (image, name) in enumerate(zip(images, NAMES, strict=True)):
        shutil.copy(image, target / "CTs" / f"{name} CT.nii.gz")
        label = nib.load(source / "labelsTr" / image.name)
        array = np.asarray(label.dataobj).astype(np.uint8)  # type: ignore[attr-defined]
        affine = label.affine.copy()  # type: ignore[attr-defined]
        if number == 2:
            array = array[::-1]
        if number == 4:
            affine[2, 3] += 25
        if number == 7:
            array[array == 3] = 9
        nib.save(nib.Nifti1Image(array, affine), target / "contours" / f"{name} RTSS.nii.gz")


def run(work: Path, *words: str) -> list[str]:
    """A command, and what it prints, as lines of a terminal."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS)}
    done = subprocess.run(
        [sys.executable, "-m", "gridgate", *words],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
    )
    shown = " ".join(f"'{word}'" if " " in word else Path(word).name for word in words)
    text = done.stdout + "".join(
        f"{line}\n" for line in done.stderr.splitlines() if line.startswith("error")
    )
    return [f"$ gridgate {shown}", *text.rstrip().splitlines(), ""]


def draw(lines: list[str], name: str) -> None:
    """Lines of text as a terminal has them."""
    cut = [line[: COLUMNS + 10] for line in lines[:LINES]]
    height = 0.175 * len(cut) + 0.3
    figure = Figure(figsize=(9.4, height), facecolor=PAPER)
    for number, line in enumerate(cut):
        figure.text(
            0.02,
            1 - (0.2 + 0.175 * number) / height,
            line.replace("$", r"\$"),
            color=PROMPT if line.startswith("$") else INK,
            family="DejaVu Sans Mono",
            size=8.2,
            va="top",
        )
    figure.savefig(PICTURES / name, dpi=110, facecolor=PAPER)
    print(PICTURES / name)


def page(html: Path) -> None:
    """The top of the check's page."""
    browser = shutil.which("chromium")
    if browser is None:
        print("no Chromium here: the page's picture stays as it is")
        return
    target = PICTURES / "check_page.png"
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1100,1500"]
    subprocess.run(
        [browser, *options, f"--screenshot={target}", html.as_uri()],
        check=True,
        capture_output=True,
    )
    with Image.open(target) as picture:
        top = picture.convert("RGB").crop((0, 0, picture.width, round(0.88 * picture.height)))
        small = top.resize((640, round(640 * top.height / top.width)), Image.Resampling.LANCZOS)
    few = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(target, optimize=True)
    print(target)


if __name__ == "__main__":
    main()
