"""Pictures of the viewer and of a run's pages, on real CTs with the weights that ship.

    python docs/source/viewer_pictures.py ../shared/data/openkbp_head_neck --evaluations E0 E1 E2

The commands are run as a user types them, and Chromium takes the pages (playwright, of the extra
"test"). Evaluations are folders of `gridgate evaluate` on the same cases: the first one's page, and
that of `gridgate compare`, are taken where there are some.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
BUNDLE = "head_neck_attention_unet"
CASES = 3
GRAPHICS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def main(dataset: Path, evaluations: list[Path]) -> None:
    """Segment a few CTs, and take the pages."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        work = Path(folder)
        scans = sorted((dataset / "imagesTr").iterdir())[:CASES]
        (work / "scans").mkdir()
        for scan in scans:
            shutil.copy(scan, work / "scans")
        (work / "scans" / "cut_off.nii.gz").write_bytes(scans[0].read_bytes()[:3000])
        run(work, "infer", BUNDLE, "scans", "M")
        executable = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = driver.chromium.launch(
            executable_path=executable, args=["--no-sandbox", *GRAPHICS]
        )
        take(browser, work / "M" / "report.html", "infer_page.png")
        if evaluations:
            take(browser, evaluations[0] / "report.html", "evaluate_page.png")
            run(work, "compare", *map(str, evaluations), "--to", "C")
            take(browser, work / "C" / "report.html", "compare_page.png")
        viewer(browser, work, scans[0].name)
        browser.close()


def take(browser: Any, page: Path, name: str) -> None:
    """The upper part of a page."""
    tab = browser.new_page(viewport={"width": 1000, "height": 1500})
    tab.goto(page.resolve().as_uri())
    tab.screenshot(path=PICTURES / name)
    tab.close()
    small(PICTURES / name, 640)


def viewer(browser: Any, work: Path, scan: str) -> None:
    """The viewer's page, from the command that serves it."""
    words = ["view", f"scans/{scan}", f"M/{scan}", "--no-browser"]
    command = [sys.executable, "-m", "gridgate", *words]
    with subprocess.Popen(command, cwd=work, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        page = browser.new_page(viewport={"width": 1200, "height": 780})
        page.goto(process.stdout.readline().strip())
        page.locator("body[data-ready='true']").wait_for(timeout=300_000)
        page.wait_for_timeout(2000)
        page.screenshot(path=PICTURES / "viewer.png", timeout=300_000)
        page.close()
        process.wait(timeout=60)
    small(PICTURES / "viewer.png", 900)


def run(work: Path, *words: str) -> None:
    """A command of ours; a scan of it is cut off, so its exit code is 1."""
    subprocess.run([sys.executable, "-m", "gridgate", *words], cwd=work, check=False)


def small(path: Path, width: int) -> None:
    """Shrink a picture."""
    image = Image.open(path).convert("RGB")
    image = image.resize((width, round(image.height * width / image.width)), Image.LANCZOS)
    image.save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--evaluations", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    main(given.dataset, [path.resolve() for path in given.evaluations])
