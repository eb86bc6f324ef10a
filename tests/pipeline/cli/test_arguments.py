"""The words of a `gridgate` command line: overrides, and what the workflows get of them."""

from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli.arguments import parse_overrides
from gridgate.pipeline.cli.main import main, parser
from gridgate.pipeline.plans.planning import FOLDER

pytestmark = pytest.mark.usefixtures("elsewhere")
NAMES = [path.stem for path in sorted((FOLDER / "plans").glob("*.yaml"))]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the workflow was asked for; nothing runs."""
    calls: list[dict[str, Any]] = []

    class Asked:
        def __init__(self, folder: Path, config: str, run_id: str, words: dict[str, str]) -> None:
            calls.append({"folder": folder, "config": config, "run_id": run_id, **words})

        def __getattr__(self, name: str) -> Any:
            return lambda: calls[-1].setdefault("called", []).append(name)

    monkeypatch.setattr("gridgate.pipeline.workflow.BundleRun", Asked)
    return calls


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([], {}),
        (["--fold", "1"], {"fold": 1}),
        (["--fold=1"], {"fold": 1}),
        (["--fold", "-1"], {"fold": -1}),
        (["--learning_rate", "0.001"], {"learning_rate": 0.001}),
        (["--learning_rate", "1e-3"], {"learning_rate": 0.001}),
        (["--learning_rate=2.5E-4"], {"learning_rate": 0.00025}),
        (["--resume", "True", "--overwrite", "false"], {"resume": True, "overwrite": False}),
        (["--pretrained", "null"], {"pretrained": None}),
        (["--spacing", "[2, 2, 3]"], {"spacing": [2, 2, 3]}),
        (["--intensity", "{mode: zscore}"], {"intensity": {"mode": "zscore"}}),
        (["--train::optimizer::lr", "1"], {"train::optimizer::lr": 1}),
        (["--checkpoint", "runs/a b/model.pt"], {"checkpoint": "runs/a b/model.pt"}),
        (["--device", "$torch.device('cpu')"], {"device": "$torch.device('cpu')"}),
        (["--spacing", "@spacing"], {"spacing": "@spacing"}),
        (["--network_def", "%other.yaml::net"], {"network_def": "%other.yaml::net"}),
        (["--a=b=c"], {"a": "b=c"}),
        (["--fold", "1", "--fold=1"], {"fold": 1}),
        (["--a=--b"], {"a": "--b"}),
        (["--seed", "-1", "--b", "-.5e3"], {"seed": -1, "b": -500.0}),
        (
            ["--a", "007", "--b", "2024-01-02", "--c", "no"],
            {"a": "007", "b": "2024-01-02", "c": "no"},
        ),
    ],
)
def test_parse_overrides(words: list[str], wanted: dict[str, Any]) -> None:
    found = parse_overrides(words)
    assert found == wanted
    assert [type(value) for value in found.values()] == [type(value) for value in wanted.values()]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["1"], "'1'"),
        (["--fold", "1", "2"], "'2'"),
        (["-f", "1"], "'-f'"),
        (["--"], "'--'"),
        (["--fold"], "--fold lacks its value"),
        (["--resume", "--fold", "1"], "--resume lacks its value"),
        (["--resume", "--fold=1"], "--resume lacks its value"),
        (["--spacing", "[1, 2"], r"--spacing \[1, 2: cannot be read"),
        (["--fold", "1", "--fold", "2"], "--fold is given twice: 1 and 2"),
        (["--fold="], "--fold lacks its value"),
        (["--=1"], "'--=1'"),
        (["--a", "--b"], "--a lacks its value .one that begins with -- is written --a=VALUE"),
    ],
)
def test_parse_overrides_refuses(words: list[str], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        parse_overrides(words)


@pytest.mark.parametrize(
    ("command", "run_id", "config", "source"),
    [
        ("train", "training", "train.yaml", "dataset_dir"),
        ("evaluate", "evaluating", "evaluate.yaml", "dataset_dir"),
        ("infer", "inferring", "inference.yaml", "input_dir"),
    ],
)
def test_workflows_get_their_words_wherever_they_stand(
    command: str, run_id: str, config: str, source: str, asked: list[dict[str, Any]]
) -> None:
    three = [NAMES[0], "in folder", "-out"]
    settings = ["--fold", "-1", "--checkpoint", "m#1.pt", "--spacing=[1, 2, 3]"]
    lines = [
        [command, *three[:2], *settings, "--", three[2]],
        [command, *settings, "--", *three],
        [command, three[0], *settings[:2], three[1], *settings[2:], "--", three[2]],
        [command, *settings[:4], *three[:2], settings[4], "--", three[2]],
    ]
    for words in lines:
        assert main(words) == 0
        call = asked.pop()
        assert call.pop("folder").resolve() == FOLDER / NAMES[0]
        assert call.pop("called") == ["initialize", "run", "finalize"]
        given = {"fold": "-1", "checkpoint": "m#1.pt", "spacing": "[1, 2, 3]"}
        where = {source: "in folder", "output_dir": "-out"}
        assert call == {"config": config, "run_id": run_id, **where, **given}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ([NAMES[0], "in", "out"], None),
        (["--profile", NAMES[0], "in", "out"], "True"),
        ([NAMES[0], "in", "out", "--profile"], "True"),
        ([NAMES[0], "in", "--profile", "--fold", "1", "out"], "True"),
        ([NAMES[0], "--profile", "False", "in", "out"], "False"),
        ([NAMES[0], "in", "out", "--profile=true"], "true"),
    ],
)
def test_a_profile_is_asked_for_by_a_word_that_may_stand_alone(
    words: list[str], wanted: str | None, asked: list[dict[str, Any]]
) -> None:
    assert main(["train", *words]) == 0
    (call,) = asked
    assert call.get("profile") == wanted
    assert (call["dataset_dir"], call["output_dir"]) == ("in", "out")


@pytest.mark.parametrize(
    "words",
    [
        ["-i", "in", "-o", "out", NAMES[0], "--amp", "False"],
        [NAMES[0], "-o", "out", "--amp=False", "--input", "in"],
        ["--amp", "False", "-oout", "-iin", NAMES[0]],
        [NAMES[0], "in", "--amp", "False", "--output=out"],
        ["-i", "in", "--amp", "False", NAMES[0], "out"],
        ["--quiet", NAMES[0], "--amp", "False", "in", "out"],
    ],
)
def test_input_and_output_by_name_or_by_place(
    words: list[str], asked: list[dict[str, Any]]
) -> None:
    assert main(["infer", *words]) == 0
    (call,) = asked
    assert call["folder"].resolve() == FOLDER / NAMES[0]
    wanted = {"input_dir": "in", "output_dir": "out", "amp": "False"}
    assert {name: call[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["B"], "missing: what to read (-i), OUTPUT (-o)"),
        (["B", "-o", "O"], "missing: what to read (-i)"),
        (["-i", "S", "-o", "O"], "missing: BUNDLE"),
        (["B", "S", "-i", "S", "-o", "O"], "one word too many: S"),
        (["B", "S", "O", "more"], "unrecognized arguments: more"),
    ],
)
def test_words_missing_or_too_many_are_told_with_the_usage(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], asked: list[dict[str, Any]]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *words])
    assert ended.value.code == 2 and asked == []
    error = capsys.readouterr().err
    assert told in error and error.startswith("usage: gridgate evaluate BUNDLE DATASET OUTPUT")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["infer", "B", "S", "O", "--output_dir", "x"], "--output_dir is decided by"),
        (["infer", "B", "S", "O", "--input_dir=x"], "--input_dir is decided by"),
        (["train", "B", "S", "O", "--bundle_root", "x"], "--bundle_root is decided by"),
        (["train", "B", "S", "O", "--run_id", "x"], "`gridgate train`; use python -m monai"),
    ],
)
def test_what_the_arguments_decide_is_no_setting(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str], asked: list[dict[str, Any]]
) -> None:
    assert main(words) == 1 and asked == []
    assert text in capsys.readouterr().err


def test_workflow_settings_are_checked_before_anything_runs(
    asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", NAMES[0], "D", "O", "--resume"]) == 1
    assert capsys.readouterr().err.startswith("error: --resume lacks its value (")
    assert asked == []


def test_an_option_of_several_words_ends_at_the_next_option() -> None:
    words = ["fit", "--networks", "unet", "unetr", "--folds", "3", "D", "O", "--roi_size", "[8]"]
    options = parser().parse_args(words)
    assert options.networks == ["unet", "unetr"] and options.folds == 3
    assert (options.dataset, options.output) == ("D", "O")
    assert options.settings == ["--roi_size", "[8]"]
    options = parser().parse_args(["fit", "D", "O", "--networks", "unet"])
    assert (options.dataset, options.output, options.networks) == ("D", "O", ["unet"])
