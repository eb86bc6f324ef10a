"""Overrides of the shipped bundles' configs, and how an error of the user's ends a program."""

import gc
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow, run, run_workflow

from gridgate.data.errors import ConfigError, GridgateError, ImageError, user_error
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.workflow import BundleRun, begin

CONFIGS = FOLDER / "phantom_attention_unet" / "configs"
TRAIN, INFERENCE, EVALUATE = "train.yaml", "inference.yaml", "evaluate.yaml"

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


def started(config: str, folder: Path = CONFIGS.parent, **words: str) -> BundleRun:
    """The workflow of the `gridgate` command, with words of its command line."""
    run_id = {TRAIN: "training", INFERENCE: "inferring", EVALUATE: "evaluating"}[config]
    workflow = BundleRun(folder, config, run_id, words)
    workflow.initialize()
    return workflow


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
    assert "body_threshold, bundle_root, channels, checkpoint, compile" in str(error)


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


# What of the config may be null, by the comments of its files and the functions that take it.
NULLABLE = {
    INFERENCE: [
        *("body_threshold", "foreground", "region", "isolate", "time_limit", "sw_batch_size"),
        *("checkpoint", "expected", "preprocessing::body_threshold", "inferer::sw_batch_size"),
    ],
    EVALUATE: ["body_threshold", "foreground", "region", "checkpoint", "evaluator::time_limit"],
    TRAIN: ["pretrained", "pretrained_encoders", "foreground", "train::trainer::key_train_metric"],
}


@pytest.mark.parametrize("config", list(NULLABLE))
@pytest.mark.parametrize("word", ["null", "None", "~", None])
def test_null_reaches_the_config_by_every_way(
    config: str, word: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(CONFIGS.parent, bundle)
    file = bundle / "configs" / config
    text = file.read_text().replace("foreground: null", "foreground: body")  # as others have it
    file.write_text(text)
    given: Any = dict.fromkeys(NULLABLE[config], word)
    seen: list[ConfigWorkflow] = []
    monkeypatch.setattr(ConfigWorkflow, "run", lambda self: seen.append(self))
    run("x", config_file=str(file), logging_file=False, **given)
    run_workflow(config_file=str(file), logging_file=False, **given)
    if word is not None:
        seen.append(started(config, bundle, **given))
        seen.append(initialize(str(file), **given))
    for workflow in seen:
        for name in given:
            assert workflow.parser.get_parsed_content(name) is None, name
            assert workflow.parser[name] is None


def test_null_through_monais_run_and_its_command(tmp_path: Path) -> None:
    probe = tmp_path / "probe.yaml"
    files = [str(CONFIGS / INFERENCE), str(probe)]
    probe.write_text("seen: []\ninferring: ['$@seen.append(@body_threshold)', '$print(@seen)']\n")
    command = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--config_file"]
    for word in ("None", "null"):
        words = [*command, str(files), "--body_threshold", word]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
        assert "[None]" in done.stdout.splitlines(), done.stderr


def test_monais_run_finds_the_bundles_own_weights_and_keeps_a_hash_in_a_path(
    tmp_path: Path,
) -> None:
    probe = tmp_path / "probe.yaml"
    files = [str(CONFIGS / INFERENCE), str(probe)]
    probe.write_text("inferring: ['$print([str(@checkpoint), str(@output_dir)])']\n")
    command = [sys.executable, "-m", "monai.bundle", "run", "inferring", "--config_file"]
    words = [*command, str(files), "--output_dir", "out#1"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    wanted = str([str(CONFIGS.parent / "models" / "model.pt"), "out#1"])
    assert wanted in done.stdout.splitlines(), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("config", "name", "word", "text"),
    [
        (TRAIN, "epochs", "null", "--epochs null: a number is needed here, such as 9"),
        (INFERENCE, "overwrite", "~", "--overwrite null: write True or False"),
        (INFERENCE, "labels", "null", "--labels null: a list is needed here"),
        (INFERENCE, "roi_size", "None", "--roi_size null: a list is needed here"),
        (INFERENCE, "mirror_axes", "null", "--mirror_axes null: a list is needed here"),
        (INFERENCE, "probabilities", "null", "--probabilities null: a list is needed here"),
        (INFERENCE, "device", "null", "--device null: a device is needed here"),
        (INFERENCE, "isolate", "yes", "--isolate yes: write True or False"),
        (INFERENCE, "postprocessing::fill_holes", "false", None),
        (INFERENCE, "keep_largest", "[liver]", None),
    ],
)
def test_words_that_mean_no_value_of_their_setting(
    config: str, name: str, word: str, text: str | None
) -> None:
    if text is not None:
        assert str(failure(lambda: started(config, **{name: word}))) == text
    elif word == "false":
        # a switch on the command line; python -m monai.bundle hands the word on, which is true
        assert started(config, **{name: word}).parser[name] is False
        error = failure(lambda: initialize(str(CONFIGS / config), **{name: word}))
        assert str(error) == f"--{name} false: write True or False"
    else:
        assert started(config, **{name: word}).parser[name] == ["liver"]


HARD = [
    "out#1",
    "$1/0",
    "$import os",
    "@labels",
    "%labels",
    "a::b, c",
    "a@::b",
    'it\'s "so"',
    "b\\n#",
    "[1, 2]",
    "{a: 1}",
    "null",
    "007",
    "a: b",
    "x # y",
    "Befund #3 \u00fc",
    "#\udcff",
]


@pytest.mark.parametrize("path", HARD)
def test_paths_reach_the_config_as_they_are(path: str) -> None:
    names = ["input_dir", "output_dir", "postprocessing::output_dir"]
    workflow = started(INFERENCE, **dict.fromkeys(names, path))
    parsed = workflow.parser.get_parsed_content
    assert [parsed(name) for name in ("input_dir", "dataset_dir", "output_dir")] == [path] * 3
    assert parsed("postprocessing", instantiate=False).get_config()["output_dir"] == path
    if path not in ("null", "[1, 2]"):
        workflow = started(INFERENCE, checkpoint=path, region=path)
        assert workflow.parser.get_parsed_content("checkpoint") == path
        assert workflow.parser.get_parsed_content("region") == path


def test_lists_of_paths_and_boxes() -> None:
    workflow = started(
        INFERENCE, checkpoint="[a#1.pt, 'b, $c.pt', 007]", region="[[0,0,0],[1,2,3]]"
    )
    parsed = workflow.parser.get_parsed_content
    assert parsed("checkpoint") == ["a#1.pt", "b, $c.pt", "007"]
    assert parsed("region") == [[0, 0, 0], [1, 2, 3]]
    workflow = started(TRAIN, pretrained_encoders="{resnet: r#1.pth, vit: $v.pth}")
    found = workflow.parser.get_parsed_content("pretrained_encoders")
    assert found == {"resnet": "r#1.pth", "vit": "$v.pth"}


@pytest.mark.parametrize("name", ["a#b", "$c", "@labels", "%x::y", "d, e"])
def test_a_bundle_whose_own_path_is_hard(name: str, tmp_path: Path) -> None:
    bundle = tmp_path / name
    shutil.copytree(CONFIGS.parent, bundle)
    workflow = started(INFERENCE, bundle)
    assert workflow.parser.get_parsed_content("checkpoint") == str(bundle / "models" / "model.pt")
    os.chdir(tmp_path)
    workflow = started(INFERENCE, Path(name))
    assert workflow.parser.get_parsed_content("bundle_root") == name


def test_other_settings_may_be_code_and_text_stays_text() -> None:
    workflow = started(INFERENCE, overlap="$1 / 4", spacing="@roi_size", modality="007")
    parsed = workflow.parser.get_parsed_content
    assert (parsed("overlap"), parsed("spacing"), parsed("modality")) == (0.25, [48, 48, 32], "007")


def test_a_command_of_monais_prints_plainly_until_its_workflow_is_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handed_on: list[BaseException] = []

    def before(kind: object, error: BaseException, trace: object) -> None:
        handed_on.append(error)

    monkeypatch.setattr(sys, "excepthook", before)
    monkeypatch.setattr("gridgate.pipeline.workflow._is_monai_command", lambda: True)
    workflow = initialize(str(CONFIGS / INFERENCE))
    hook = sys.excepthook
    assert hook is not before
    bug = RuntimeError("a bug")
    hook(RuntimeError, bug, None)
    assert handed_on == [bug]
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = ConfigError("fold 9: use 0 to 4")
    hook(RuntimeError, wrapped, None)
    assert handed_on == [bug]
    assert capsys.readouterr().err == "error: fold 9: use 0 to 4\n"
    del workflow
    gc.collect()
    assert sys.excepthook is before


def test_other_programs_keep_their_hook() -> None:
    hook = sys.excepthook
    workflows = [initialize(str(CONFIGS / INFERENCE)), started(INFERENCE)]
    assert sys.excepthook is hook
    del workflows
    # a program that runs MONAI's command inside itself, as a notebook's %run does
    words = ["monai.bundle", "run", "initialize", "--config_file", str(CONFIGS / INFERENCE)]
    before, sys.argv = sys.argv, words
    try:
        runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    gc.collect()
    assert sys.excepthook is hook


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
