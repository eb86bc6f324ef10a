"""Values of overrides: null, switches, code, and words that their setting cannot take."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow, run, run_workflow

from gridgate.pipeline.config.values import settle

from ... import forked
from .workflows import CONFIGS, EVALUATE, INFERENCE, TRAIN, failure, initialize, started


@pytest.mark.parametrize("word", ["false", "true", "no", 0])
def test_a_word_for_a_switch_is_an_error(word: object) -> None:
    # python -m monai.bundle hands `--resume false` on as a word, which counts as true
    error = failure(lambda: initialize(str(CONFIGS / TRAIN), resume=word))
    assert str(error) == f"--resume {word}: write True or False"


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


@pytest.mark.parametrize("config", [INFERENCE, EVALUATE, TRAIN])
def test_what_is_null_as_it_comes_can_be_null_again(config: str) -> None:
    """A bundle of somebody's own may have a value there; null is still one of its values."""
    lines = re.findall(r"^(\w+): null\b", (CONFIGS / config).read_text(), re.MULTILINE)
    asked = [name for name in lines if name != "num_workers"]  # null in a training alone
    assert len(asked) > 5
    for own in (2, "text", [1]):
        given: dict[str, Any] = dict.fromkeys(asked, "null")
        settle(given, dict.fromkeys(asked, own))
        assert given == dict.fromkeys(asked)


def test_null_through_monais_run_and_its_command(tmp_path: Path) -> None:
    probe = tmp_path / "probe.yaml"
    files = [str(CONFIGS / INFERENCE), str(probe)]
    probe.write_text("seen: []\ninferring: ['$@seen.append(@body_threshold)', '$print(@seen)']\n")
    command = ["run", "inferring", "--config_file", str(files)]
    for word in ("None", "null"):
        done = forked.run("monai.bundle", [*command, "--body_threshold", word], cwd=tmp_path)
        assert "[None]" in done.stdout.splitlines(), done.stderr


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


def test_other_settings_may_be_code_and_text_stays_text() -> None:
    workflow = started(INFERENCE, overlap="$1 / 4", spacing="@roi_size", modality="007")
    parsed = workflow.parser.get_parsed_content
    assert (parsed("overlap"), parsed("spacing"), parsed("modality")) == (0.25, [48, 48, 32], "007")
