"""A fit in which a case fails: the others make the bundle, and the ending says what is missing."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ImageError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.batch.evaluator import CasesFailedError
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.evaluation import evaluate as evaluating
from gridgate.pipeline.evaluation import measure
from gridgate.pipeline.evaluation.metrics import METRICS, LabelMetrics
from gridgate.pipeline.fitting import fit as fitting
from gridgate.pipeline.fitting.choices.components import MeasuredCase
from gridgate.pipeline.fitting.choices.masks import CaseMasks
from gridgate.pipeline.fitting.cross_validation import CrossValidation, compared
from gridgate.pipeline.fitting.record import FitRecord, Step
from gridgate.pipeline.plans.plan import Plan, example_plan

from .quick_fits import WORDS, known_steps

CASE = "phantom_000"


def fails(monkeypatch: pytest.MonkeyPatch, before: bool, cases: set[str]) -> None:
    """Cases fail when they are read for their evaluation, or when their mask is measured."""
    known_steps(monkeypatch)
    module: Any = measure if before else evaluating
    name = "check_label_placement" if before else "measure_files"
    real = getattr(module, name)

    def broken(*words: Any, **more: Any) -> Any:
        if (words[0]["id"] if before else more["case"]) in cases:
            raise ImageError("the label is torn")
        return real(*words, **more)

    monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize("before", [True, False], ids=["reading", "measuring"])
def test_the_others_make_the_bundle(
    before: bool,
    coarse_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "fitted"
    fails(monkeypatch, before, {CASE})
    words = ["fit", str(coarse_dataset), str(folder), *WORDS]
    assert main(words) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"1 cases failed and are left out, the fit goes on: {CASE}" in said
    assert f"but 1 cases failed and were not measured: {CASE}; first {CASE}" in said
    assert "torn" in said and "fold_1_cases" in said.rpartition("reasons:")[2].replace(" ", "")
    assert (folder / "models" / "model.pt").is_file()
    summary = json.loads((folder / "cross_validation" / "summary.json").read_text())
    assert summary["cases"] == 3 and list(summary["failed"]) == [CASE]
    with open(folder / "cross_validation" / "cases.csv", newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert {case for case, row in rows.items() if row["status"] != "ok"} == {CASE}
    assert "torn" in rows[CASE]["reason"]
    assert f"1 cases failed: {CASE}." in (folder / "docs" / "README.md").read_text()
    assert "torn" in (folder / "report.html").read_text()
    steps = json.loads((folder / "fit.json").read_text())["steps"]
    assert all(step["done"] for step in steps.values())
    assert list(steps["evaluate attention_unet 1"]["facts"]["failed"]) == [CASE]
    monkeypatch.setattr(fitting, "train", None)
    monkeypatch.setattr(fitting, "evaluate", None)
    assert main(words) == 1, "the same command does nothing more, and tells it again"
    assert f"not measured: {CASE}" in " ".join(capsys.readouterr().err.split())


def test_a_fold_without_any_measured_case_ends_the_fit(
    coarse_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails(monkeypatch, True, {f"phantom_{number:03}" for number in range(4)})
    folder = tmp_path / "fitted"
    assert main(["fit", str(coarse_dataset), str(folder), *WORDS]) == 1
    steps = json.loads((folder / "fit.json").read_text())["steps"]
    assert not steps["evaluate attention_unet 0"]["done"]
    assert not (folder / "models").exists()


def of_network(name: str, dice: dict[str, float]) -> CrossValidation:
    """Measured cases with their Dice of one label."""
    plan = Plan.from_dict({**example_plan(), "labels": ["background", "liver"]})
    cases = []
    for case, value in dice.items():
        numbers: dict[str, Any] = {**dict.fromkeys(METRICS, 1.0), "dice": value}
        metrics = {"liver": LabelMetrics("liver", 1, **numbers)}
        cases.append(MeasuredCase(case, CaseMasks(Path("m")), Path("l"), (), metrics, {}))
    return CrossValidation(name, plan, cases, {}, [], [], [])


def test_networks_are_compared_on_what_all_of_them_measured() -> None:
    """Of all cases the second has the higher mean: it failed at the hard one."""
    first = of_network("first", {"a": 0.9, "b": 0.8, "hard": 0.1})
    second = of_network("second", {"a": 0.8, "b": 0.8})
    assert second.dice > first.dice
    best, said = compared([second, first])
    assert best is first
    assert said[0] == "second: mean Dice 0.8000 on the 2 cases that all measured."
    assert compared([second]) == (second, [])


def test_the_ending_names_each_fold_with_a_failed_case(tmp_path: Path) -> None:
    record = FitRecord(OutputFolder(tmp_path / "O"), {})
    record.steps["evaluate unet 0"] = Step(1.0, True, {"failed": {"a": "torn", "b": "empty"}})
    record.steps["evaluate unet+unetr 1"] = Step(1.0, True, {"failed": {"c": "torn"}})
    record.steps["evaluate unet 1"] = Step(1.0, True)
    with pytest.raises(CasesFailedError, match=r"3 cases failed.*: a, b, c; first a") as caught:
        fitting.refuse_failed(record, tmp_path)
    where = str(caught.value).partition("reasons: ")[2]
    runs = tmp_path / "runs"
    assert str(runs / "unet" / "fold_0_cases" / "cases.csv") in where
    assert str(runs / "unet+unetr" / "fold_1_cases" / "cases.csv") in where
    assert "fold_1_cases" not in where.replace("unet+unetr/fold_1_cases", "")
