"""fit.json: what may be another when a fit goes on, and what may not."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.data.output_folder import OutputFolder
from gridgate.pipeline.fitting.record import CHECK, FILE, TRAINED, FitRecord

ASKED: dict[str, Any] = {"seconds": 60.0, "seed": 0, "deterministic": False, "settings": {1: [2]}}


def begun(folder: Path, *steps: str, **asked: Any) -> None:
    """A fit in which these steps have begun."""
    with OutputFolder(folder) as output:
        record = FitRecord(output, ASKED | asked)
        for step in steps:
            with record.running(step):
                pass


def gone_on(folder: Path, **asked: Any) -> FitRecord:
    with OutputFolder(folder) as output:
        record = FitRecord(output, ASKED | asked)
        with record.running("more"):
            pass
    return record


def test_the_time_may_be_another(tmp_path: Path) -> None:
    begun(tmp_path, CHECK, "plan network", "train unet 0")
    assert gone_on(tmp_path, seconds=600.0).step("train unet 0").done
    assert json.loads((tmp_path / FILE).read_text())["asked"]["seconds"] == 600.0
    with pytest.raises(ConfigError, match="seed was 0 and is now 1"):
        gone_on(tmp_path, seed=1)


def test_of_a_deterministic_fit_it_may_until_a_training_begins(tmp_path: Path) -> None:
    begun(tmp_path, CHECK, "plan network", deterministic=True)
    gone_on(tmp_path, deterministic=True, seconds=90.0)
    begun(tmp_path, "train unet 0", deterministic=True, seconds=90.0)
    with pytest.raises(ConfigError, match=r"seconds was 90\.0 and is now 60\.0"):
        gone_on(tmp_path, deterministic=True)


def test_a_folder_in_which_only_the_check_was_is_free(tmp_path: Path) -> None:
    """As after an error of the check, whose mend changes the dataset."""
    begun(tmp_path, CHECK)
    assert gone_on(tmp_path).step(CHECK).done, "the same fit goes on"
    begun(tmp_path / "other", CHECK)
    assert not gone_on(tmp_path / "other", seed=1).step(CHECK).done, "another one begins"


def test_a_copy_without_times_goes_on(tmp_path: Path) -> None:
    begun(tmp_path, CHECK, "plan network")
    os.utime(tmp_path / FILE, (1, 1))
    assert gone_on(tmp_path).step("plan network").done


def test_other_training_lists_are_another_fit_but_where_none_were_told(tmp_path: Path) -> None:
    begun(tmp_path, CHECK, "plan network")
    assert gone_on(tmp_path, **{TRAINED: "abc"}).step("plan network").done, "a fit of before"
    assert json.loads((tmp_path / FILE).read_text())["asked"][TRAINED] == "abc"
    with pytest.raises(ConfigError, match="the cases that the dataset's folds train on are others"):
        gone_on(tmp_path, **{TRAINED: "def"})
