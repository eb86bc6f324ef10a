"""The pages that an evaluation and a run over scans leave: of the tables, and never in the way."""

from __future__ import annotations

import csv
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.output_folder import OutputFolder
from gridgate.data.phantom.dataset import write_phantom_dataset, write_phantom_scans
from gridgate.pipeline.batch.results.page_file import PAGE, remove_page
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.evaluation.results import read_results
from gridgate.pipeline.reports import run_pages
from gridgate.pipeline.reports.case_tables import (
    MOST_ROWS,
    measured_cases,
    row_anchor,
    segmented_cases,
)
from gridgate.pipeline.reports.run_pages import EvaluationPage, InferencePage

from ..small_bundle import evaluate, infer
from .fake_runs import NAMES, REASON, fake_evaluation, fake_predictions, small_phantoms
from .test_report import Html


class Anchors(HTMLParser):
    """Where links on the page lead, what can be led to, and which texts lead where."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[tuple[str, str]] = []
        self._to = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id"):
            self.ids.append(str(known["id"]))
        self._to = str(known.get("href")) if tag == "a" else ""

    def handle_data(self, data: str) -> None:
        if self._to:
            self.links.append((data, self._to))
            self._to = ""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_phantoms(monkeypatch)
        write_phantom_dataset(root / "D", cases=5, seed=5, progress=False)
        write_phantom_scans(root / "scans", cases=2, seed=9, broken=True)
    fake_evaluation(root / "E", root / "D")
    fake_predictions(root / "M", root / "scans")
    EvaluationPage("Phantoms <b>", NAMES, root / "D")(OutputFolder(root / "E"))
    InferencePage("Phantoms", NAMES)(OutputFolder(root / "M"))
    return root


@pytest.mark.parametrize("folder", ["E", "M"])
def test_each_link_leads_somewhere_on_the_page(runs: Path, folder: str) -> None:
    text = (runs / folder / PAGE).read_text()
    found = Anchors(text)
    assert found.links and len(set(found.ids)) == len(found.ids)
    assert {to for _, to in found.links} <= {f"#{one}" for one in found.ids}
    assert all(link.startswith(("data:image/", "#")) for link in Html(text).links)


def test_each_labels_lowest_dice_leads_to_the_row_of_its_case(runs: Path) -> None:
    with open(runs / "E" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = Anchors((runs / "E" / PAGE).read_text())
    for label in NAMES[1:]:
        of_label = {row["case"]: float(row["dice"]) for row in rows if row["label"] == label}
        case = min(of_label, key=lambda one: of_label[one])
        links = [to for text, to in found.links if text == f"{of_label[case]:.3f}"]
        assert f"#{row_anchor(case)}" in links


def test_pictures_go_from_the_worst_to_the_best_with_their_difference(runs: Path) -> None:
    text = (runs / "E" / PAGE).read_text()
    for rank in ("the worst of 5", "number 3 of 5", "the best of 5"):
        assert rank in text
    assert text.count("in three planes") == 3


def test_what_failed_comes_first(runs: Path) -> None:
    texts = [text.strip() for text in Html((runs / "M" / PAGE).read_text()).text]
    assert texts.index(REASON) < texts.index("Masks for a folder of scans")
    assert "Look at these first" not in (runs / "E" / PAGE).read_text()


def test_a_page_of_somebody_else_stays(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(runs / "M", tmp_path / "M")
    (folder / PAGE).write_text("mine")
    InferencePage("t", NAMES)(OutputFolder(folder))
    assert (folder / PAGE).read_text() == "mine" and "was changed since" in caplog.text


def test_the_page_of_a_bundle_stays(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a training or a fit into whose folder somebody lets masks be written."""
    folder = shutil.copytree(runs / "M", tmp_path / "M")
    (folder / "configs").mkdir()
    (folder / "configs" / "metadata.json").write_text("{}")
    with OutputFolder(folder) as output:
        output.write(PAGE, lambda stream: stream.write(b"of the training"))
    assert not InferencePage("t", NAMES)(OutputFolder(folder))
    remove_page(OutputFolder(folder))
    assert (folder / PAGE).read_bytes() == b"of the training" and "own page" in caplog.text


def test_a_page_that_cannot_be_made_is_told_and_stops_nobody(
    runs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(runs / "E", tmp_path / "E")
    (folder / PAGE).unlink()
    (folder / "summary.json").write_text("{")
    EvaluationPage("t", NAMES, runs / "D")(OutputFolder(folder))
    assert "summary.json" in caplog.text and not (folder / PAGE).exists()

    def fails(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(run_pages.sections, "predictions", fails)
    InferencePage("t", NAMES)(OutputFolder(folder))
    assert "a bug of ours" in caplog.text and not (folder / PAGE).exists()


def test_a_table_that_a_spreadsheet_has_saved_with_commas(runs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(runs / "M", tmp_path / "M")
    table = (folder / "cases.csv").read_text().replace("1234.5", '"1234,5"').replace("2.0", '"2,0"')
    (folder / "cases.csv").write_text(table)
    assert InferencePage("t", NAMES)(OutputFolder(folder))
    assert "1234,5" in (folder / PAGE).read_text()


def test_long_tables_end_with_how_many_there_are(runs: Path) -> None:
    rows = [{"case": f"c{n}", "status": "ok", "input": ""} for n in range(MOST_ROWS + 1)]
    table = segmented_cases(rows, NAMES, (), "M")
    assert len(table.rows) == MOST_ROWS
    assert f"{MOST_ROWS} of {MOST_ROWS + 1}" in table.caption
    assert not segmented_cases(rows[1:], NAMES, (), "M").caption


def test_many_labels_have_their_lowest_in_the_table(runs: Path) -> None:
    results = read_results(runs / "E")
    many = {
        case: {f"{name} {n}": row for n in range(2) for name, row in of.items()}
        for case, of in results.items()
    }
    for given, heads in ((results, 5 + len(NAMES) - 1), (many, 5 + 2)):
        table = measured_cases(given, [], (), "E")
        assert len(table.columns) == heads
        assert all(len(cells) == heads - 1 for _, cells in table.rows)


def test_an_evaluation_leaves_a_page_also_where_a_case_failed(tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path / "D", cases=3, seed=5, progress=False)
    broken = tmp_path / "D" / "imagesTr" / "phantom_001.nii.gz"
    broken.write_bytes(broken.read_bytes()[:3000])
    told: dict[str, Any] = {"load_pretrain": False, "part": "all"}
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        evaluate(tmp_path / "D", tmp_path / "E", **told, report=True)
    text = (tmp_path / "E" / PAGE).read_text()
    assert text.index("phantom_001") < text.index("phantom_000") and "cut off" in text
    (tmp_path / "E" / PAGE).unlink()
    # neither a page nor its lack makes masks anew
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        evaluate(tmp_path / "D", tmp_path / "E", **told, report=False)
    assert not (tmp_path / "E" / PAGE).exists()
    assert json.loads((tmp_path / "E" / "summary.json").read_text())["cases"] == 2


def test_a_run_over_scans_leaves_a_page_and_its_masks_stay_done(tmp_path: Path) -> None:
    scans = write_phantom_scans(tmp_path / "scans", cases=2, broken=True)
    told: dict[str, Any] = {"load_pretrain": False}
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        infer(scans, tmp_path / "M", **told, report=True, pictures=1)
    text = (tmp_path / "M" / PAGE).read_text()
    assert text.count("<figure") == 1 and "broken_scan" in text
    shutil.copy(scans / "scan_1000.nii.gz", scans / "third.nii.gz")
    with pytest.raises(RuntimeError, match="Failed to evaluate"):  # the old page is of other cases
        infer(scans, tmp_path / "M", **told, report=False)
    assert not (tmp_path / "M" / PAGE).exists()
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "M").glob("*.nii.gz")}
    with pytest.raises(RuntimeError, match="Failed to evaluate"):
        infer(scans, tmp_path / "M", **told, report=True, pictures=0)
    assert made == {path: path.stat().st_mtime_ns for path in made} and len(made) == 3
    assert (tmp_path / "M" / PAGE).read_text().count("<figure") == 0


def test_the_page_is_written_again_by_a_command(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("E", "M"):
        folder = shutil.copytree(runs / name, tmp_path / name)
        (folder / PAGE).unlink()
        labels = {label: value for value, label in enumerate(NAMES)}
        (folder / "labels.json").write_text(json.dumps({"labels": labels}))
    told = ["--dataset", str(runs / "D"), "--pictures", "2", "--title", "Again"]
    assert main(["report", str(tmp_path / "E"), *told]) == 0
    text = (tmp_path / "E" / PAGE).read_text()
    assert "<h1>Again</h1>" in text and text.count("in three planes") == 2
    renamed = shutil.copytree(runs / "D", tmp_path / "D")
    content = (renamed / "dataset.json").read_text()
    (renamed / "dataset.json").write_text(content.replace('"liver"', '"hepar"'))
    told = ["--dataset", str(renamed), "--pictures", "1"]
    for more, pictures in (([], 0), (["--merge_labels", "{hepar: liver}"], 1)):
        assert main(["report", str(tmp_path / "E"), *told, *more]) == 0
        text = (tmp_path / "E" / PAGE).read_text()
        assert text.count("in three planes") == pictures
        assert ("The truth is not drawn" in text) == (not pictures)
    assert main(["report", str(tmp_path / "M"), "--pictures", "0"]) == 0
    assert "<h1>M</h1>" in (tmp_path / "M" / PAGE).read_text()
    assert main(["report", str(tmp_path / "M"), "--dataset", str(runs / "D")]) == 1
    assert main(["report", str(tmp_path)]) == 1
    (tmp_path / "M" / PAGE).write_text("mine")
    assert main(["report", str(tmp_path / "M")]) == 1
    assert (tmp_path / "M" / PAGE).read_text() == "mine"
    assert "was not written" in capsys.readouterr().err
