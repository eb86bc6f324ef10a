"""The process of the `gridgate` command: its start, exit codes, and broken pipes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gridgate
from gridgate.data.errors import ConfigError
from gridgate.pipeline.cli.commands.catalogues import bundles
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.process_settings import SPINS, set_up_process

pytestmark = pytest.mark.usefixtures("elsewhere")
STOPPED = "stopped; start the same command again to go on"


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


@pytest.mark.parametrize("words", [["bundles"], ["--help"], ["bundles", "--help"], ["--version"]])
@pytest.mark.parametrize("flags", [[], ["-u"]])
def test_a_reader_that_has_gone_ends_the_command_quietly(
    words: list[str], flags: list[str]
) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, *flags, "-m", "gridgate", *words]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=buffered
    )
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
