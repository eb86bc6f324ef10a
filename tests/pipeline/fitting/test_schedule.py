"""How a fit divides its time: hand-computed."""

import json
from pathlib import Path

import pytest

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.pipeline.fitting.cases import (
    dataset_identity,
    training_identity,
    usual_folds,
    validated_cases,
)
from gridgate.pipeline.fitting.request import FitRequest
from gridgate.pipeline.fitting.schedule import (
    Remaining,
    corrected,
    ending,
    evaluation_seconds,
    first_guess,
    planning,
)
from gridgate.pipeline.planning.measures.pace import Pace

PACE = Pace(iteration=0.5, validation=20.0, reading=3.0, case=1.6)


def test_what_is_left_goes_into_the_trainings() -> None:
    # 3 s, and 10 cases of 1.6 + 0.4 s, in each of 5 folds: 23 s each; 10 + 50 x 0.25 s in the end
    left = Remaining(3622.5, trainings=5, evaluations=5, cases=50, folds=5, ending=ending(50))
    assert evaluation_seconds(PACE, 50, 5) == pytest.approx(23.0)
    assert ending(50) == pytest.approx(22.5)
    # 50 CTs of 512 x 512 x 160 with 6 labels: about 3 s more for each
    assert ending(50, 50 * 6 * 512 * 512 * 160) == pytest.approx(22.5 + 151, abs=0.5)
    assert left.training_seconds(PACE) == pytest.approx((3622.5 - 22.5 - 115) / 5)


def test_evaluations_count_as_they_went() -> None:
    left = Remaining(1022.5, trainings=2, evaluations=2, cases=50, folds=5, ending=ending(50))
    assert left.training_seconds(PACE, evaluated=[40.0, 60.0]) == pytest.approx(450.0)


def test_a_pace_follows_the_last_training() -> None:
    slower = corrected(PACE, expected=100.0, took=125.0)
    assert slower.iteration == pytest.approx(0.625) and slower.reading == pytest.approx(3.75)
    assert slower.case == PACE.case  # of the evaluations, which are counted as they went


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"folds": 1}, "--folds 1: give 2 or more.*gridgate train .* --folds 1"),
        ({"iterations": 0}, "--iterations 0"),
        ({"networks": ("unet", "unet")}, "unet is there twice"),
        ({"settings": {"training::patience": 5}}, "--training::patience: the cases that a fold"),
        ({"settings": {"training::epochs": 7}}, "--training::epochs: a fit makes .* --iterations"),
    ],
)
def test_impossible_requests_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FitRequest(dataset=Path("d"), seconds=60.0, **asked)  # type: ignore[arg-type]


def test_a_patience_of_0_is_none() -> None:
    FitRequest(dataset=Path("d"), seconds=60.0, settings={"training::patience": 0})


@pytest.mark.parametrize(("networks", "share"), [(1, 0.08), (2, 0.16), (3, 0.2), (20, 0.2)])
def test_check_and_plans_leave_time_for_the_trainings(networks: int, share: float) -> None:
    assert planning(1000.0, networks) == pytest.approx(1000 * share)
    guess = first_guess(1000.0, networks, folds=5)
    assert guess == pytest.approx(1000 * (1 - share) * 0.85 / (5 * networks))


def test_folds_of_the_dataset_that_hold_nothing_out_are_refused(tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
        for name in "abc":
            (tmp_path / part / f"{name}.nii.gz").touch()
    write_dataset_json(tmp_path, "D", {"background": 0, "liver": 1}, ("CT",), 3)
    folds = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["a", "b", "c"], "val": []}]
    (tmp_path / "splits.json").write_text(json.dumps(folds))
    with pytest.raises(DatasetError, match="fold 1 of its own folds holds no case out"):
        validated_cases(tmp_path, 2)


def test_a_datasets_own_folds_are_how_many_there_are(tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
        for name in "abcdef":
            (tmp_path / part / f"{name}.nii.gz").touch()
    write_dataset_json(tmp_path, "D", {"background": 0, "liver": 1}, ("CT",), 6)
    assert usual_folds(tmp_path) == 5
    folds = [
        {"train": sorted(set("abcdef") - set(held)), "val": [*held]} for held in ("ab", "cd", "ef")
    ]
    (tmp_path / "splits_final.json").write_text(json.dumps(folds))
    assert usual_folds(tmp_path) == 3 and validated_cases(tmp_path, 3) == 6
    assert usual_folds(tmp_path / "none") == 5


def test_a_case_that_a_fold_no_longer_trains_on_is_told(tmp_path: Path) -> None:
    for part in ("imagesTr", "labelsTr"):
        (tmp_path / part).mkdir()
        for name in "abcd":
            (tmp_path / part / f"{name}.nii.gz").touch()
    write_dataset_json(tmp_path, "D", {"background": 0, "liver": 1}, ("CT",), 4)
    found = []
    for train in ("cd", "c"):
        folds = [{"train": [*train], "val": ["a", "b"]}, {"train": ["a", "b"], "val": ["c", "d"]}]
        (tmp_path / "splits.json").write_text(json.dumps(folds))
        found.append((dataset_identity(tmp_path, 2), training_identity(tmp_path, 2)))
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]
