"""How a user's error ends a program: one plain line, and no hook that stays behind."""

import gc
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from gridgate.data.errors import ConfigError, ImageError, user_error

from .workflows import CONFIGS, INFERENCE, TRAIN, initialize, started


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
