"""Ids of the config that an override names: misspelt, of another workflow, of an overlay."""

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import run

from gridgate.data.errors import ConfigError
from gridgate.pipeline.workflow import begin

from .workflows import CONFIGS, INFERENCE, TRAIN, failure, initialize, started

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


def test_an_id_that_is_like_no_other_lists_some() -> None:
    error = failure(lambda: initialize(str(CONFIGS / INFERENCE), zzz=1))
    assert "--zzz is no setting of this bundle: known here: " in str(error)
    assert "body_threshold, bundle_root, channels, checkpoint, " in str(error)


@pytest.mark.parametrize(
    ("config", "name", "having"),
    [
        (TRAIN, "checkpoint", "evaluate.yaml and inference.yaml"),
        (TRAIN, "input_dir", "inference.yaml"),
        (INFERENCE, "epochs", "train.yaml"),
        (INFERENCE, "train::optimizer::lr", "train.yaml"),
        (INFERENCE, "part", "evaluate.yaml"),
    ],
)
def test_a_setting_of_another_workflow_is_an_error_that_names_it(
    config: str, name: str, having: str
) -> None:
    wanted = f"--{name} is no setting of this workflow, but of {having}"
    run_id = "training" if config == TRAIN else "inferring"
    assert str(failure(lambda: started(config, **{name: "3"}))) == wanted
    if "::" not in name:  # MONAI itself refuses to set an id below one that is not there
        by_monai = failure(lambda: run(run_id, config_file=str(CONFIGS / config), **{name: 3}))
        assert str(by_monai) == wanted
        assert str(failure(lambda: initialize(str(CONFIGS / config), **{name: 3}))) == wanted


def test_metadata_that_decide_nothing_are_no_setting() -> None:
    error = failure(lambda: started(INFERENCE, **{"_meta_::plan::spacing": "[1, 1, 1]"}))
    wanted = "--_meta_::plan::spacing: this workflow reads nothing of the metadata; give --spacing"
    assert str(error) == wanted


def test_the_bundles_overlay_is_accepted_and_checked_too() -> None:
    both = [str(CONFIGS / TRAIN), str(CONFIGS / "multi_gpu_train.yaml")]
    # its own `initialize` starts torch.distributed, which has nobody to talk to here
    assert "begin" in initialize(both, initialize=["$workflow.begin()"]).parser["initialize"][0]
    error = failure(lambda: initialize(both, initialize=["$workflow.begin()"], world_sizes=2))
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
