"""The `gridgate` command: what it reads, prints, refuses, and returns."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle  # noqa: F401  # here, as its log handler keeps the stdout of when it is imported
import pytest

import gridgate
from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli.arguments import parse_overrides
from gridgate.pipeline.cli.commands import bundles
from gridgate.pipeline.cli.main import COMMANDS, main
from gridgate.pipeline.plans.bundle_folders import bundle_path, shipped_bundles
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.process_settings import SPINS, set_up_process

STOPPED = "stopped; start the same command again to go on"
NAMES = [path.stem for path in sorted((FOLDER / "plans").glob("*.yaml"))]


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    # set first, so that what main() sets is taken back
    monkeypatch.setenv("GOMP_SPINCOUNT", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "0")


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


def test_bundles_lists_each_with_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(len(line.split()) > 5 for line in lines)


def test_copy_makes_a_whole_bundle_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundles", "--copy", NAMES[0]]) == 0
    assert capsys.readouterr().out == f"{NAMES[0]}\n"
    copied, source = tmp_path / NAMES[0], FOLDER / NAMES[0]
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    assert {path.relative_to(copied) for path in copied.rglob("*") if path.is_file()} == files
    assert all((copied / file).read_bytes() == (source / file).read_bytes() for file in files)

    (copied / "configs" / "train.yaml").write_text("mine")
    assert main(["bundles", "--copy", NAMES[0]]) == 1
    assert f"{NAMES[0]} exists already" in capsys.readouterr().err
    assert (copied / "configs" / "train.yaml").read_text() == "mine"
    # a copy is a bundle, by its path
    assert main(["bundles", "--copy", str(copied), "--to", str(tmp_path / "second")]) == 0
    assert (tmp_path / "second" / "configs" / "train.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    "words",
    [
        ["bundles", "--copy", "nothing"],
        ["train", "nothing", "D", "O"],
        ["infer", "nothing", "S", "O"],
    ],
)
def test_an_unknown_bundle_names_those_there_are(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: nothing: no such bundle")
    assert all(name in error for name in NAMES)
    assert error.count("\n") == 1


def test_bundle_path_knows_names_and_copies(tmp_path: Path) -> None:
    assert bundle_path(NAMES[0]).resolve() == FOLDER / NAMES[0]
    assert [path.name for path in shipped_bundles()] == NAMES
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty"):
        bundle_path(tmp_path / "empty")


def test_phantom_writes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "D", "--cases", "1", "--seed", "7"]) == 0
    assert capsys.readouterr().out == "D\n"
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == ["phantom_000"]
    assert dataset.cases[0].label == tmp_path / "D" / "labelsTr" / "phantom_000.nii.gz"
    assert main(["phantom", "D", "--cases", "2"]) == 1
    assert main(["phantom", "E", "--cases", "0"]) == 1


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


def test_inferring_a_folder_of_which_nothing_can_be_read_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    (tmp_path / "scans").mkdir()
    words = [
        "infer",
        "phantom_attention_unet",
        "scans",
        "masks",
        "--load_pretrain",
        "False",
        "--device",
        "cpu",
    ]
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: scans: no image in it")
    (tmp_path / "scans" / "broken.nii.gz").write_bytes(b"no image")
    assert main([*words, "--architecture::filters", "[2, 2, 2, 2, 2]"]) == 1
    error = capsys.readouterr().err
    assert "error: 1 of 1 cases failed" in error and "broken.nii.gz" in error
    assert "Traceback" not in error
    assert main([*words[:3], "scans", *words[4:]]) == 1
    assert "masks would overwrite the images" in capsys.readouterr().err


def test_export_wants_a_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", NAMES[0], "missing.pt", "model.ts"]) == 1
    assert capsys.readouterr().err.startswith("error: missing.pt: there is no such checkpoint")


@pytest.mark.parametrize(
    "words", [[], ["trian"], ["bundles", "--copi", "x"], ["phantom"], ["train", "x"]]
)
def test_a_wrong_command_line_is_exit_code_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "usage: gridgate" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["train", "--help"]])
def test_help_is_exit_code_0(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    assert "gridgate" in capsys.readouterr().out


def test_exit_codes_of_what_ends_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends_with(error: BaseException) -> None:
        def command(*_: object) -> None:
            raise error

        monkeypatch.setattr(bundles, "run", command)

    ends_with(KeyboardInterrupt())
    assert main(["bundles"]) == 130
    wrapped = RuntimeError("Failed to evaluate ConfigExpression")
    wrapped.__cause__ = ConfigError("fold 9: use 0 to 4")
    ends_with(wrapped)
    assert main(["bundles"]) == 1
    assert capsys.readouterr().err.splitlines() == [STOPPED, "error: fold 9: use 0 to 4"]
    ends_with(ZeroDivisionError("a bug of ours"))
    with pytest.raises(ZeroDivisionError):  # with its traceback
        main(["bundles"])


def test_waiting_threads_sleep_unless_the_user_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    main(["bundles"])
    assert os.environ["GOMP_SPINCOUNT"] == "1"
    monkeypatch.delenv("GOMP_SPINCOUNT")
    main(["bundles"])
    assert "GOMP_SPINCOUNT" not in os.environ, "OMP_WAIT_POLICY is set"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    main(["bundles"])
    assert os.environ["GOMP_SPINCOUNT"] == SPINS
    assert os.environ["THP_MEM_ALLOC_ENABLE"] == "0", "set by the user"
    environment = {"GOMP_SPINCOUNT": "7"}
    set_up_process(environment)
    assert environment == {"GOMP_SPINCOUNT": "7", "THP_MEM_ALLOC_ENABLE": "1"}


@pytest.mark.parametrize("words", [["bundles"], ["--help"], ["bundles", "--help"], ["--version"]])
@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_reader_that_has_gone_ends_the_command_quietly(
    words: list[str], flags: list[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *flags, "-m", "gridgate", *words]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.stderr == ""
    # 0 when all was said before any of it was written; argparse takes no notice
    assert done.returncode in ((0, 141) if words == ["bundles"] else (0,))


def test_another_pipe_that_breaks_is_no_end_of_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def command(*_: object) -> None:
        raise BrokenPipeError("of a worker")

    monkeypatch.setattr(bundles, "run", command)
    with pytest.raises(BrokenPipeError):
        main(["bundles"])


def test_each_command_is_a_file_and_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    files = {path.stem for path in Path(bundles.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in COMMANDS} == files
    assert all(re.search(rf"\n    {name}\s+\w+", shown) for name in COMMANDS)


def test_python_m_gridgate_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gridgate", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"gridgate {gridgate.__version__}\n"


def test_the_command_starts_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys, gridgate.pipeline, gridgate.pipeline.cli.main as cli; assert "
        "cli.main(['bundles']) == 0; "
        "print(sorted({'torch', 'monai', 'ignite'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_networks_tells_which_windows_fit_and_fails_when_all_do(
    capsys: pytest.CaptureFixture,
) -> None:
    assert main(["networks", "DynUNet", "--window", "50", "--no-measure"]) == 1
    told = capsys.readouterr()
    assert (
        "the window is no multiple of 32 32 32" in told.out
        and "no network could be counted" in told.err
    )
    assert main(["networks", "DynUNet", "unet", "--window", "50", "--no-measure"]) == 0
