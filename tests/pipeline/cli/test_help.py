"""What --help lists: every setting, in groups, with true defaults, and examples that are valid."""

import shlex
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from gridgate.pipeline.cli.bundle_run import given_words
from gridgate.pipeline.cli.commands import evaluate, export, infer, train
from gridgate.pipeline.cli.main import main, parser
from gridgate.pipeline.cli.settings import settings_of
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.workflow import BundleRun

pytestmark = pytest.mark.usefixtures("elsewhere")
BUNDLE = "phantom_attention_unet"
CONFIGS = {"train.yaml": "training", "inference.yaml": "inferring", "evaluate.yaml": "evaluating"}
# What the command's words decide, what the processes of a training decide, and what is made.
NOT_LISTED = {"bundle_root", "dataset_dir", "input_dir", "output_dir", "rank", "world_size"}
MADE = {"imports", "initialize", "run", "passed_over", "train", "validate", *CONFIGS.values()}
each_config = pytest.mark.parametrize("config", CONFIGS)


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    return capsys.readouterr().out


def content(config: str, bundle: str = BUNDLE) -> dict[str, Any]:
    found = yaml.safe_load((FOLDER / bundle / "configs" / config).read_text())
    return {key: value for key, value in found.items() if key not in MADE | NOT_LISTED}


@each_config
def test_every_setting_of_a_config_is_listed_and_no_other(config: str) -> None:
    settable = {
        name
        for name, value in content(config).items()
        if name == "device" or not (isinstance(value, dict) and "_target_" in value)
    }
    listed = settings_of(config)
    assert {setting.name for setting in listed} == settable
    assert len({setting.name for setting in listed}) == len(listed)
    assert all(setting.group and len(setting.meaning.split()) > 1 for setting in listed)


@each_config
@pytest.mark.parametrize("bundle", [BUNDLE, "msd_spleen_unetr"])
def test_the_defaults_are_the_bundles(config: str, bundle: str) -> None:
    values = content(config, bundle)
    for setting in settings_of(config, bundle):
        value = values[setting.name]
        if setting.name in ("device", "checkpoint"):  # made by code
            assert setting.default == ""
        else:
            assert yaml.safe_load(setting.default) == value, setting.name


def test_a_new_user_finds_what_people_use(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(["infer", "--help"], capsys)
    wanted = ["checkpoint", "device", "mirror_axes", "overwrite", "dicom_seg", "probabilities"]
    for name in wanted:
        assert f"\n  --{name} " in text
    groups = [line for line in text.splitlines() if line in ("quality:", "speed and memory:")]
    assert sorted(groups) == ["quality:", "speed and memory:"]
    assert "(default: the bundle's)" in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= 100


def test_a_named_bundle_shows_its_own_numbers_wherever_help_stands(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(FOLDER / BUNDLE, mine)
    file = mine / "configs" / "inference.yaml"
    file.write_text(file.read_text().replace("overlap: 0.5 ", "overlap: 0.125 "))
    for words in (
        ["infer", "mine", "--help"],
        ["infer", "-h", "mine"],
        ["infer", "-i", "scans", "mine", "--amp", "False", "-h"],
    ):
        text = " ".join(shown(words, capsys).split())
        assert "their defaults (of mine)" in text
        assert "less is faster (default: 0.125)" in text
    text = " ".join(shown(["train", "msd_spleen_unetr", "--help"], capsys).split())
    assert "batches of an epoch (default: 100)" in text


@pytest.mark.parametrize("command", [train, evaluate, infer, export])
def test_the_examples_are_valid(
    command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = command.__name__.rpartition(".")[2]
    shutil.copytree(FOLDER / BUNDLE, tmp_path / "trained")
    text = shown([name, "--help"], capsys)
    assert len(command.EXAMPLES) >= 3
    for example in command.EXAMPLES:
        assert f"\n  {example}\n" in text
        first, *words = shlex.split(example)
        options = parser().parse_args(words)
        assert first == "gridgate" and options.command == name
        source = "input_dir" if command is infer else "dataset_dir"
        if command is export:
            given = dict(
                zip((w[2:] for w in options.settings[::2]), options.settings[1::2], strict=True)
            )
        else:
            given = given_words(options, source)
        folder = FOLDER / options.bundle if options.bundle == BUNDLE else Path(options.bundle)
        BundleRun(folder, options.config, CONFIGS[options.config], given).check()


@each_config
def test_a_setting_of_another_workflow_says_whose_it_is(config: str) -> None:
    own = {setting.name for setting in settings_of(config)}
    others = {
        setting.name: other
        for other in CONFIGS
        for setting in settings_of(other)
        if setting.name not in own
    }
    assert len(others) > 2
    for name, other in list(others.items())[::6]:
        run = BundleRun(FOLDER / BUNDLE, config, CONFIGS[config], {name: "1"})
        with pytest.raises(Exception, match=f"--{name} is no setting of this workflow") as caught:
            run.check()
        assert other in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["infer", BUNDLE, "s", "o", "--fold", "1"], "but of evaluate.yaml and train.yaml"),
        (["train", BUNDLE, "d", "o", "--checkpoint", "x"], "but of evaluate.yaml and inference"),
        (["evaluate", BUNDLE, "d", "o", "--epochs", "1"], "but of train.yaml"),
    ],
)
def test_the_command_refuses_it_before_it_begins(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(words) == 1
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
