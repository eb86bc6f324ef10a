"""What a command says: in words, quietly, or as JSON; what of other libraries it hides."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data import progress
from gridgate.data.errors import ConfigError
from gridgate.data.events import emit
from gridgate.pipeline.cli.commands import infer
from gridgate.pipeline.cli.main import main

pytestmark = pytest.mark.usefixtures("elsewhere")
WORDS = ["infer", "phantom_attention_unet", "scans", "masks"]
SETTINGS = [
    *("--load_pretrain", "False", "--device", "cpu", "--amp", "False", "--isolate", "False"),
    *("--architecture::filters", "[2, 2, 2, 2, 2]", "--spacing", "null"),
    *("--roi_size", "[32, 16, 16]", "--keep_largest", "False", "--body_threshold", "null"),
]
LOGGED = ("gridgate.x", "ignite.engine", "monai.x")


def command(monkeypatch: pytest.MonkeyPatch, work: Any) -> None:
    monkeypatch.setattr(infer, "run", lambda options: work())


def busy() -> None:
    for name in LOGGED:
        logging.getLogger(name).info(f"info of {name}")
        logging.getLogger(name).warning(f"warning of {name}")
    warnings.warn("old\n  name", DeprecationWarning, stacklevel=2)
    warnings.warn("soon gone", FutureWarning, stacklevel=2)
    warnings.warn("odd\n  header", UserWarning, stacklevel=2)
    logging.getLogger("gridgate.failed").error("a: truncated")
    logging.getLogger("gridgate.progress").info("cases: 1 of 2")
    print("of some library")
    emit("epoch", dice_mean=float("nan"), dice={"liver": 0.5})


def scans(count: int, folder: Path = Path("scans")) -> None:
    folder.mkdir()
    for number in range(count):
        voxels = np.full((4, 4, 4), number % 50, np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / f"s{number:03d}.nii")


def test_in_words(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, busy)
    before = list(logging.getLogger().handlers), logging.getLogger().level
    assert main(WORDS) == 0
    told = capsys.readouterr()
    said = [line.partition(" ")[2] for line in told.err.splitlines()]  # without the time
    assert said[:4] == [
        "info of gridgate.x",
        *(f"warning: warning of {name}" for name in LOGGED),
    ]
    assert said[4].startswith("warning: odd header (UserWarning, cli/test_console.py:")
    assert said[5:] == ["error: a: truncated", "cases: 1 of 2"]
    assert told.out == "of some library\n"
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before


def test_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, busy)
    assert main([*WORDS, "--quiet"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(" error: a: truncated")


def test_as_json_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, busy)
    assert main(["infer", "--json-log", *WORDS[1:]]) == 0
    told = capsys.readouterr()
    events = [json.loads(line) for line in told.out.splitlines()]
    assert all(event.pop("time").endswith("+00:00") for event in events)
    assert events[0] == {
        "event": "start",
        "command": "infer",
        "arguments": ["infer", "--json-log", *WORDS[1:]],
    }
    assert events[1] == {"event": "info", "message": "info of gridgate.x", "logger": "gridgate.x"}
    assert [event["event"] for event in events[2:]] == [*["warning"] * 4, "epoch", "end"]
    assert events[-2] == {"event": "epoch", "dice_mean": None, "dice": {"liver": 0.5}}
    assert events[-1] == {"event": "end", "code": 0}
    assert told.err == "of some library\n"


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (ConfigError("fold 9: use 0 to 4"), 1, "fold 9: use 0 to 4"),
        (KeyboardInterrupt(), 130, "stopped; start the same command again to go on"),
    ],
)
def test_what_ends_a_command_as_json(
    error: BaseException,
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    command(monkeypatch, fail)
    assert main([*WORDS, "--json-log"]) == code
    *_, told, end = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (told["event"], told["message"]) == ("error", message)
    assert (end["event"], end["code"]) == ("end", code)


def test_the_two_styles_exclude_each_other() -> None:
    with pytest.raises(SystemExit) as ended:
        main([*WORDS, "--quiet", "--json-log"])
    assert ended.value.code == 2


def test_pythons_own_warning_options_stay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.warnoptions", ["default"])
    command(monkeypatch, lambda: warnings.warn("old name", DeprecationWarning, stacklevel=2))
    assert main(WORDS) == 0
    assert "warning: old name (DeprecationWarning" in capsys.readouterr().err


def test_the_events_of_a_run_and_its_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    scans(2)
    (Path("scans") / "broken.nii").write_bytes(b"no image")
    assert main([*WORDS, *SETTINGS, "--json-log"]) == 1
    told = capsys.readouterr()
    events = [json.loads(line) for line in told.out.splitlines()]
    cases = {event["case"]: event for event in events if event["event"] == "case"}
    keys = {"time", "event", "case", "input", "output", "status", "reason", "hints", "seconds"}
    assert all(set(event) == keys for event in cases.values())
    assert {name: event["status"] for name, event in cases.items()} == {
        "broken": "failed",
        "s000": "ok",
        "s001": "ok",
    }
    assert "broken.nii" in cases["broken"]["reason"] and cases["s000"]["output"] == "s000.nii.gz"
    (run,) = [event for event in events if event["event"] == "cases"]
    counts = {"cases": 3, "ok": 2, "failed": 1, "before": 0, "passed_over": 0}
    assert {name: run[name] for name in counts} == counts
    assert run["table"] == str(Path("masks", "cases.csv"))
    assert events[-1]["event"] == "end" and events[-1]["code"] == 1
    assert told.err == "", "nothing of MONAI's, and no bar"

    (Path("scans") / "broken.nii").unlink()
    assert main([*WORDS, *SETTINGS, "--quiet"]) == 0
    told = capsys.readouterr()
    assert told.err == "" and told.out == "masks: 2 masks, 2 of them made before; masks/cases.csv\n"


def test_the_log_of_a_hundred_cases_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scans(100)
    now = 0.0

    def clock() -> float:  # each time anybody looks, three seconds have passed
        nonlocal now
        now += 3.0
        return now

    monkeypatch.setattr(progress, "_now", clock)
    assert main([*WORDS, *SETTINGS]) == 0
    told = capsys.readouterr()
    lines = (told.err + told.out).splitlines()
    assert len(lines) < 200 and "\r" not in told.err
    assert now / 60 < len([line for line in lines if " cases: " in line]) <= now / 30
    assert now > 600
    assert lines[-1] == "masks: 100 masks; masks/cases.csv"
