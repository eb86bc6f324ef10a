"""`gridgate compare` on tables made on the spot."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from gridgate.pipeline.cli.main import main
from gridgate.pipeline.comparison.runs import Run
from gridgate.pipeline.reports import comparison_page
from gridgate.pipeline.reports.cases import names_by_value


def evaluation(folder: Path, shift: float) -> Path:
    """An evaluation's table of 12 cases and two labels, without scans and masks."""
    folder.mkdir()
    draw = np.random.default_rng(3)
    with open(folder / "metrics.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "label", "value", "dice", "hd95_mm"])
        for case in range(12):
            for value, label in enumerate(("liver", "left_kidney"), start=1):
                dice = 0.8 + 0.1 * draw.random() + shift * (1 + draw.random())
                writer.writerow([f"case_{case}", label, value, dice, 20 * (1 - dice)])
    return folder


def test_tables_and_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(evaluation(tmp_path / name, shift)) for name, shift in (("a", 0.0), ("b", 0.03))]
    to = tmp_path / "compared"
    assert main(["compare", *runs, "--to", str(to), "--samples", "99"]) == 0
    said = capsys.readouterr().out
    assert "| Dice | liver | b - a | 12 |" in said and said.count("| b |") > 3
    assert "rank 1.00  b" in said and said.rstrip().endswith("report.html")
    names = {path.name for path in to.iterdir() if not path.name.startswith(".")}
    assert names == {
        *("means.md", "means.tex", "pairs.md", "pairs.tex", "pairs.csv"),
        *("report.html", "pictures"),
    }
    page = (to / "report.html").read_text()
    assert "Runs compared" in page and "left kidney" in page and "no pictures" in page
    assert "http" not in page.replace("http://www.w3.org", "")  # it loads nothing from anywhere
    assert main(["compare", *runs, "--to", str(to)]) == 1
    assert "give another folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ([], "two runs or more"),
        (["A", "--metrics", "nsd"], "not all runs have nsd; all have: dice, hd95_mm"),
        (["A", "--samples", "0"], "--samples 0: give 1 or more"),
        (["A", "--seed", "-1"], "--seed -1: give 0 or more"),
        (["A", "--pictures", "-1"], "--pictures -1: give 0 or more"),
    ],
)
def test_what_cannot_be_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], text: str
) -> None:
    runs = [str(evaluation(tmp_path / name, 0.0)) for name in ("A", "B")]
    words = [runs[1], *(runs[0] if word == "A" else word for word in more)]
    assert main(["compare", *words]) == 1
    assert text in capsys.readouterr().err


def test_names_that_are_no_text_are_written_all_the_same(tmp_path: Path) -> None:
    """A label in Latin-1, as some spreadsheets write it."""
    runs = [evaluation(tmp_path / name, shift) for name, shift in (("a", 0.0), ("b", 0.03))]
    for run in runs:
        table = run / "metrics.csv"
        table.write_bytes(table.read_bytes().replace(b"liver", b"l\xe9ber"))
    to = tmp_path / "compared"
    assert main(["compare", *map(str, runs), "--to", str(to), "--samples", "99"]) == 0
    assert "l\\udce9ber" in (to / "means.md").read_text()


def test_regions_have_the_colours_of_their_values() -> None:
    values = {"whole": 1, "core": 2, "enhancing": 4}
    dice = {name: {"c": 0.5} for name in values}
    labels, known = comparison_page._labels_of(Run("a", Path("a"), {"dice": dice}, values))
    assert names_by_value(labels, known) == ["background", "whole", "core", "", "enhancing"]
    labels, known = comparison_page._labels_of(Run("b", Path("b"), {"dice": dice}))
    assert (labels[1:], known) == (list(values), None)
