"""How long the trainings of a fit become: hand-computed, by a plan's pace."""

import json
import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.fitting.candidate import Candidate
from gridgate.pipeline.fitting.lengths import Lengths, iterations
from gridgate.pipeline.fitting.record import FitRecord, Step
from gridgate.pipeline.fitting.request import FitRequest

SECONDS_OF_A_STEP = 0.1


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    """Of 10 cases; an iteration takes 0.1 s, and nothing else takes long."""
    bundle = tmp_path / "unet" / "bundle"
    (bundle / "configs").mkdir(parents=True)
    learning = {"learning_rate": 0.003, "warmup_iterations": 10, "average_decay": 0.99}
    names = {"size": "small", **learning}
    decisions = [{"name": name, "value": value, "reason": "so"} for name, value in names.items()]
    pace = {"iteration": SECONDS_OF_A_STEP, "validation": 0.0, "reading": 0.0, "case": 0.0}
    (bundle / "plan.json").write_text(json.dumps({"pace": pace, "decisions": decisions}))
    config = "".join(f"{name}: {value}\n" for name, value in learning.items())
    (bundle / "configs" / "train.yaml").write_text(config)
    return Candidate("unet", tmp_path / "unet", cases=10, folds=2)


def lengths(candidate: Candidate, steps: dict[str, Step], **asked: Any) -> Lengths:
    request = FitRequest(Path("d"), **{"seconds": 100.0, "folds": 2, **asked})
    record = FitRecord(OutputFolder(candidate.folder), {})
    record.steps = steps
    return Lengths(request, record, [candidate])


def test_a_fit_whose_time_is_up_still_ends(
    candidate: Candidate, caplog: pytest.LogCaptureFixture
) -> None:
    """The others have half of the iterations of the longest, and the fit says what that costs."""
    asked = {"epochs": 30, "iterations_per_epoch": 10, "val_interval": 5, "validation_cases": 1}
    steps = {"train unet 0": Step(500.0, True, {"settings": asked})}
    caplog.set_level(logging.WARNING)
    found = lengths(candidate, steps).settings(candidate)
    assert iterations(found) == 150
    assert "the time is nearly up" in caplog.text and "half of the iterations" in caplog.text


def test_a_network_whose_turn_comes_after_the_time_is_trained_all_the_same(
    candidate: Candidate, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its iterations take three times as long: in half of the first one's 30 s there are 50."""
    second = replace(candidate, name="unetr", folder=tmp_path / "unetr")
    shutil.copytree(candidate.bundle, second.bundle)
    path = second.bundle / "plan.json"
    path.write_text(path.read_text().replace(f": {SECONDS_OF_A_STEP},", ": 0.3,"))
    assert second.pace().iteration == 0.3
    asked = {"epochs": 30, "iterations_per_epoch": 10, "val_interval": 5, "validation_cases": 1}
    steps = {f"train unet {fold}": Step(500.0, True, {"settings": asked}) for fold in (0, 1)}
    both = replace(lengths(candidate, steps), candidates=[candidate, second])
    caplog.set_level(logging.WARNING)
    found = iterations(both.settings(second))
    assert 45 <= found <= 50
    assert "half of the time of the other networks' longest" in caplog.text
    steps["train unetr 0"] = Step(0.0, False, {"settings": {**asked, "epochs": 20}})
    both = replace(lengths(candidate, steps), candidates=[candidate, second])
    assert iterations(both.settings(second)) == 100  # from then on half of its own


def test_a_time_that_was_too_short_from_the_start_is_an_error(candidate: Candidate) -> None:
    with pytest.raises(ConfigError, match="--time: 0 seconds are too short") as caught:
        lengths(candidate, {"check": Step(500.0, True)}).settings(candidate)
    assert "-" not in str(caught.value).partition("--time")[2].partition(";")[0]


def test_lengths_of_a_deterministic_fit_do_not_depend_on_the_clock(candidate: Candidate) -> None:
    found = [
        lengths(
            candidate,
            {"check": Step(took, True), "plan unet": Step(2 * took, True)},
            deterministic=True,
        ).settings(candidate)
        for took in (0.1, 5.0)
    ]
    assert found[0] == found[1]


def test_an_early_end_is_no_faster_machine(candidate: Candidate) -> None:
    """Ten of thirty epochs in a third of the time: the pace is as planned."""
    asked = {"epochs": 30, "iterations_per_epoch": 10, "val_interval": 5, "validation_cases": 1}
    table = candidate.training(0)
    table.mkdir()
    (table / "metrics_train.csv").write_text("epoch,iteration\n5,50\n10,100\n")
    steps = {"train unet 0": Step(10.0, True, {"settings": asked})}
    assert lengths(candidate, steps).pace(candidate).iteration == pytest.approx(SECONDS_OF_A_STEP)


@pytest.mark.parametrize("how", ["given", "edited"])
def test_how_a_network_learns_is_the_plan_s_where_somebody_said_so(
    candidate: Candidate, how: str
) -> None:
    pace = candidate.pace()
    assert candidate.length_of(pace, 300)["learning_rate"] == 0.003
    path = candidate.bundle / ("plan.json" if how == "given" else "configs/train.yaml")
    text = path.read_text()
    if how == "given":
        content = json.loads(text)
        for one in content["decisions"]:
            if one["name"] == "learning_rate":
                one["reason"] = "given on the command line"
        text = json.dumps(content)
    path.write_text(text.replace("learning_rate: 0.003", "learning_rate: 0.001"))
    for found in (candidate.length_of(pace, 300), candidate.length_for(pace, 60.0)):
        assert "learning_rate" not in found and "average_decay" in found
