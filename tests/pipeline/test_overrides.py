"""Misspelt overrides of the shipped bundles' configs, and how an error of the user's ends a program."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow, run

from gridgate.data.errors import ConfigError, GridgateError, ImageError, user_error
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.workflow import begin, show_errors_plainly

CONFIGS = FOLDER / "phantom_attention_unet" / "configs"
TRAIN, INFERENCE = "train.yaml", "inference.yaml"

MISSPELT = [
    (TRAIN, "epoch", "epochs"),
    (TRAIN, "learning_rat", "learning_rate"),
    (TRAIN, "train::trainer::max_epoch", "train::trainer::max_epochs"),
    (TRAIN, "train::optimizer::lrr", "train::optimizer::lr"),
    (TRAIN, "train::optimizer::weight_decays", "train::optimizer::weight_decay"),
    (TRAIN, "train::dataloadr", "train::dataloader"),
    (TRAIN, "train::trainer::key_train_metrics", "train::trainer::key_train_metric"),
    (TRAIN, "validate::evaluator::val_handler", "validate::evaluator::val_handlers"),
    (TRAIN, "spacin", "spacing"),
    (INFERENCE, "input_dirs", "input_dir"),
    (INFERENCE, "inferer::overlaps", "inferer::overlap"),
    (
        INFERENCE,
        "inferer::mod",
        "inferer::mode",
    ),  # no key of the YAML, but a parameter of what is made
]
RIGHT = [
    (TRAIN, "epochs", 3),
    (TRAIN, "train::optimizer::lr", 0.1),
    (TRAIN, "train::optimizer::amsgrad", True),
    (TRAIN, "train::optimizer::_disabled_", True),
    (
        TRAIN,
        "train::optimizer",
        {"_target_": "torch.optim.SGD", "params": [], "lr": 0.1, "momentum": 0.9},
    ),
    (TRAIN, "train::trainer::max_gradient_norm", 1.0),
    (
        TRAIN,
        "train::trainer::key_train_metric",
        None,
    ),  # of MONAI's trainer, to which ours hands **options
    (
        TRAIN,
        "validate::evaluator::val_handlers",
        [],
    ),  # its _target_ names MONAI's class without the module
    (
        TRAIN,
        "train::loss::softmax",
        True,
    ),  # to a function that takes any and refuses the wrong ones itself
    (TRAIN, "augmentation::rotation_degrees", 5),  # what is made of it refuses wrong ones itself
    (TRAIN, "resume", True),
    (TRAIN, "resume", "$1 > 0"),
    (TRAIN, "merge_labels", {"tumour": "liver"}),
    (INFERENCE, "inferer::mode", "constant"),
    (INFERENCE, "inferer::sigma_scale", 0.2),
    (INFERENCE, "spacing", [8, 8, 8]),
    (INFERENCE, "architecture::filters", [4, 4, 8, 8, 8]),
    (
        INFERENCE,
        "intensity",
        {"mode": "ct_zscore", "low": 0, "high": 9, "mean": 3, "std": 2},
    ),
]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No dataset in the working directory; the hook and path that a run changes are put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def initialize(config: str | list[str], **options: Any) -> ConfigWorkflow:
    workflow = ConfigWorkflow(config_file=config, logging_file=False, workflow_type=None, **options)
    workflow.initialize()
    return workflow


def failure(call: Callable[[], Any]) -> GridgateError:
    """The error of ours behind whatever the call raises."""
    with pytest.raises(Exception) as caught:
        call()
    found = user_error(caught.value)
    assert found is not None, caught.value
    return found


@pytest.mark.parametrize(("config", "wrong", "right"), MISSPELT)
def test_a_misspelt_override_is_an_error_that_names_the_nearest(
    config: str, wrong: str, right: str
) -> None:
    error = failure(lambda: initialize(str(CONFIGS / config), **{wrong: 1}))
    assert isinstance(error, ConfigError)
    assert str(error) == f"--{wrong} is no setting of this bundle: did you mean --{right}?"


@pytest.mark.parametrize(("config", "name", "value"), RIGHT)
def test_what_can_be_set_is_accepted(config: str, name: str, value: Any) -> None:
    workflow = initialize(str(CONFIGS / config), **{name: value})
    assert workflow.parser[name] == value


@pytest.mark.parametrize("word", ["false", "true", "no", 0])
def test_a_word_for_a_switch_is_an_error(word: object) -> None:
    # python -m monai.bundle hands `--resume false` on as a word, which counts as true
    error = failure(lambda: initialize(str(CONFIGS / TRAIN), resume=word))
    assert str(error) == f"--resume {word}: write True or False"


def test_an_id_that_is_like_no_other_lists_some() -> None:
    error = failure(lambda: initialize(str(CONFIGS / INFERENCE), zzz=1))
    assert "--zzz is no setting of this bundle: known here: " in str(error)
    assert "batch_size, body_threshold, bundle_root, cache_rate, channels" in str(error)


def test_a_setting_of_another_workflow_of_the_bundle_is_no_error() -> None:
    # one settings file may serve all three
    initialize(str(CONFIGS / INFERENCE), epochs=3)


def test_the_bundles_overlay_is_accepted_and_checked_too() -> None:
    both = [str(CONFIGS / TRAIN), str(CONFIGS / "multi_gpu_train.yaml")]
    # its own `initialize` starts torch.distributed, which has nobody to talk to here
    assert "begin" in initialize(both, initialize=["$pipeline.begin()"]).parser["initialize"][0]
    error = failure(lambda: initialize(both, initialize=["$pipeline.begin()"], world_sizes=2))
    assert "--world_size?" in str(error)


def test_a_users_own_overlay_may_add_ids(tmp_path: Path) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("my_rate: 0.5\nlearning_rate: '@my_rate'\ntraining: ['$@learning_rate']\n")
    files = [str(CONFIGS / TRAIN), str(overlay)]
    run("training", config_file=files, logging_file=False)
    error = failure(lambda: run("training", config_file=files, logging_file=False, my_rat=1))
    assert "--my_rate?" in str(error)


def test_tracking_of_monais_is_no_misspelling(tmp_path: Path) -> None:
    workflow = initialize(str(CONFIGS / TRAIN), tracking="mlflow", output_dir=str(tmp_path / "out"))
    assert workflow.parser["experiment_name"] == "monai_experiment"
    error = failure(
        lambda: initialize(str(CONFIGS / TRAIN), **{"validate::evaluator::iteration_log": True})
    )
    assert "--validate::evaluator::iteration_log is no setting" in str(error)


def test_it_works_through_monais_run() -> None:
    error = failure(
        lambda: run("training", config_file=str(CONFIGS / TRAIN), logging_file=False, epoch=3)
    )
    assert "--epochs?" in str(error)


def test_without_a_workflow_nothing_is_checked() -> None:
    begin()  # MONAI Label parses a config by itself


def test_user_error_finds_ours_in_a_chain() -> None:
    ours = ImageError("scan.nii: broken")
    try:
        try:
            raise RuntimeError("transform failed") from ours
        except RuntimeError as error:
            raise ValueError("engine stopped") from error
    except ValueError as error:
        assert user_error(error) is ours
    try:
        try:
            raise ours
        except ImageError:
            raise KeyError("while handling it")  # noqa: B904
    except KeyError as error:
        assert user_error(error) is ours
    assert user_error(ours) is ours
    assert user_error(None) is None
    assert user_error(RuntimeError("a bug")) is None
    circle = RuntimeError("circle")
    circle.__cause__ = circle
    assert user_error(circle) is None


def test_the_hook_prints_ours_and_hands_on_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed_on: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: handed_on.append(error))
    show_errors_plainly()
    hook = sys.excepthook
    show_errors_plainly()
    assert sys.excepthook is hook
    bug = RuntimeError("a bug")
    hook(RuntimeError, bug, None)
    assert handed_on == [bug]
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = ConfigError("fold 9: use 0 to 4")
    hook(RuntimeError, wrapped, None)
    assert handed_on == [bug]
    assert capsys.readouterr().err == "error: fold 9: use 0 to 4\n"


def test_the_command_ends_with_one_plain_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", "training"]
    command += ["--config_file", str(CONFIGS / TRAIN), "--dataset_dir", "nowhere", "--epoch", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == "error: --epoch is no setting of this bundle: did you mean --epochs?"
    assert "Traceback" not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []
