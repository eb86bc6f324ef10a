"""A worker that is started before its run: taken by the run, or ended with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.phantom.dataset import write_phantom_scans
from gridgate.pipeline.batch.workers import started
from gridgate.pipeline.batch.workers.started import (
    StartedProcess,
    end_ahead,
    start_ahead,
    started_process,
)
from gridgate.pipeline.cli import bundle_run
from gridgate.pipeline.cli.main import main

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="worker processes need Linux or macOS"),
]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(started, "usable_cores", lambda: 2)
    yield
    end_ahead()


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[StartedProcess]:
    """All processes that are started."""
    found: list[StartedProcess] = []
    wanted = StartedProcess.now.__func__  # type: ignore[attr-defined]

    def now(cls: type[StartedProcess], **options: Any) -> StartedProcess:
        found.append(wanted(cls, **options))
        return found[-1]

    monkeypatch.setattr(StartedProcess, "now", classmethod(now))
    return found


def test_it_is_taken_once_and_ended_if_nobody_takes_it(starts: list[StartedProcess]) -> None:
    start_ahead()
    start_ahead()
    assert len(starts) == 1
    assert started_process() is starts[0]
    assert started_process() is starts[1], "one process for two workers"
    for one in starts:
        one.end()
    start_ahead()
    end_ahead()
    assert starts[2].process.poll() is not None
    start_ahead()
    starts[3].process.kill()
    starts[3].process.wait()
    assert started_process() is starts[4], "a dead process was taken"
    starts[4].end()


def test_on_one_core_none_is_started(
    starts: list[StartedProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(started, "usable_cores", lambda: 1)
    start_ahead()
    assert not starts


def test_a_run_over_a_folder_computes_in_it(tmp_path: Path, starts: list[StartedProcess]) -> None:
    scans = write_phantom_scans(tmp_path / "scans", cases=2, broken=False)
    words = ["infer", "phantom_attention_unet", str(scans), str(tmp_path / "masks")]
    words += ["--device", "cpu", "--overlap", "0.1", "--report", "False", "--engine", "torch"]
    assert main(words) == 0
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 2
    assert len(starts) == 1, "the one that was started ahead was not used"
    assert starts[0].process.poll() is not None
    assert main([*words, "--overlap", "2", "--quiet"]) == 1
    assert starts[-1].process.poll() is not None, "it outlives a run that was refused"


@pytest.mark.parametrize(
    ("run", "words", "wanted"),
    [
        ("training", {"input_dir": "."}, False),
        ("evaluating", {"dataset_dir": "."}, True),
        ("inferring", {"input_dir": "."}, True),
        ("inferring", {"input_dir": "one.nii.gz"}, False),
        ("inferring", {"input_dir": ".", "isolate": "False"}, False),
        ("inferring", {"input_dir": ".", "ray": "local"}, False),
    ],
)
def test_only_a_run_over_several_cases_needs_one(
    run: str, words: dict[str, str], wanted: bool
) -> None:
    assert bundle_run._needs_worker(run, words) is wanted
