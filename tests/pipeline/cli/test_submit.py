"""`gridgate submit`: by submitit's local executor, and by a SLURM of two small programs.

submitit is no part of the test environment; `make interop` tries these in one that has it.
"""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.output_folder import OutputFolder
from gridgate.data.phantom.phantom import make_phantom
from gridgate.pipeline.batch.shards.tables import merged_rows
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.cli.submission import JobOptions, submitit_module

CASES = [f"case_{number:02d}" for number in range(40)]
BUNDLE = "phantom_attention_unet"
# as small as a network may be
SMALL = [
    *("--architecture::filters", "[4, 4, 8, 8, 8]", "--spacing", "[10, 10, 10]"),
    *("--roi_size", "[32, 32, 32]", "--device", "cpu", "--amp", "False"),
    *("--load_pretrain", "False", "--isolate", "False", "--report", "False"),
]
SBATCH = """#!/bin/sh
# what SLURM would be given; the test runs it
cp "$1" "$FAKE_SLURM/script.sh"
echo "$@" > "$FAKE_SLURM/arguments"
echo "Submitted batch job 4711"
"""
SRUN = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do
    case $1 in --output|--error) shift ;; esac
    shift
done
exec "$@"
"""


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    phantom = make_phantom(0, shape=(40, 40, 36), spacing=(9.0, 9.0, 7.0))
    image = nib.Nifti1Image(np.rint(phantom.image).astype(np.int16), phantom.grid.affine)
    for name in CASES:
        nib.save(image, folder / f"{name}.nii.gz")
    return folder


@pytest.fixture
def submitit(elsewhere: None) -> Any:
    return pytest.importorskip("submitit", reason="submitit is not installed")


def cases(out: Path) -> list[str]:
    with open(out / "cases.csv", newline="") as file:
        return sorted(row["case"] for row in csv.DictReader(file) if row["status"] == "ok")


def logs(out: Path) -> str:
    return "\n".join(path.read_text()[-1500:] for path in sorted((out / "jobs").glob("*.err")))


def test_what_jobs_are_given() -> None:
    options = JobOptions(minutes=240, gpus=1, memory_gb=16, at_once=3, more={"partition": "gpu"})
    assert options.parameters() == {
        "name": "gridgate",
        "timeout_min": 240,
        "gpus_per_node": 1,
        "mem_gb": 16,
        "slurm_array_parallelism": 3,
        "slurm_partition": "gpu",
    }
    week = JobOptions(executor="local").parameters()["timeout_min"]
    assert week == 7 * 24 * 60, "submitit would end a job after five minutes"


def test_without_submitit_it_is_told(
    monkeypatch: pytest.MonkeyPatch, elsewhere: None, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["submit", "infer", BUNDLE, "scans", "masks", "--shards", "2"]) == 1
    assert "pip install 'gridgate[slurm]'" in capsys.readouterr().err
    assert not Path("masks").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--shards", "0"], "give 1 or more"),
        (["--shards", "2", "--shard", "1/2"], "--shard is decided by gridgate submit"),
        (["--shards", "2", "--overlapp", "0.5"], "overlap"),
        (["--shards", "2", "--slurm", "account"], "write it as"),
        (["--shards", "2", "--slurm", "{colour: red}"], "colour"),
        (["--shards", "2", "--time", "soon"], "a time is wanted"),
        (["--shards", "2", "--executor", "slurm"], "--executor slurm"),
    ],
)
def test_what_would_fail_is_refused_before_anything_is_submitted(
    words: list[str],
    why: str,
    scans: Path,
    submitit: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert shutil.which("sbatch") is None, "this test needs a machine without SLURM"
    given = words if "--executor" in words else [*words, "--executor", "local"]
    assert main(["submit", "infer", BUNDLE, str(scans), "masks", *given]) == 1
    assert why in capsys.readouterr().err
    assert not list(Path().glob("masks/*.nii.gz"))


@pytest.mark.slow
def test_forty_scans_in_four_local_jobs_two_of_them_killed(
    scans: Path,
    submitit: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "masks"
    words = ["submit", "infer", BUNDLE, str(scans), str(out), "--shards", "4"]
    words += ["--executor", "local", *SMALL]
    killed: list[int] = []

    def kill_two() -> None:
        """In another process: ends the processes of two shards when some cases are done."""
        until = time.monotonic() + 200
        while len(killed) < 2 and time.monotonic() < until:
            time.sleep(0.2)
            pids = [pid_of(out, number) for number in (2, 3)]
            if None not in pids and len(merged_rows(OutputFolder(out))) >= 4:
                for pid in pids:
                    os.kill(int(pid or 0), signal.SIGKILL)
                    killed.append(int(pid or 0))

    thread = threading.Thread(target=kill_two)
    thread.start()
    code = main(words)
    thread.join()
    said = capsys.readouterr()
    assert len(killed) == 2, logs(out)
    assert "2 jobs were killed" in said.err
    if code == 0:  # the other two have done it all
        assert cases(out) == CASES and "40 cases: 40 done; shards: 4 through" in said.out
    done = {path: path.stat().st_mtime_ns for path in out.glob("case_*.nii.gz")}
    assert main(words) == 0, logs(out)
    assert cases(out) == CASES, "those that were killed are started again"
    assert "40 cases: 40 done; shards: 4 through" in capsys.readouterr().out
    if code == 0:
        assert {path: path.stat().st_mtime_ns for path in done} == done


def pid_of(out: Path, number: int) -> int | None:
    path = out / ".gridgate/shards" / f"{number}-of-4.json"
    found = re.search(r"process (\d+)", path.read_text()) if path.is_file() else None
    return int(found[1]) if found else None


@pytest.mark.slow
def test_slurm_gets_one_array_whose_tasks_are_the_shards(
    scans: Path,
    submitit: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """SLURM's two programs are stand-ins: what is submitted is looked at, and run task by task."""
    out, fake = tmp_path / "masks", tmp_path / "slurm"
    fake.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN)):
        (fake / name).write_text(text)
        (fake / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(fake))
    words = ["submit", "infer", BUNDLE, str(scans), str(out), "--shards", "3", "--time", "4h"]
    words += ["--partition", "gpu", "--gpus", "1", "--slurm", "{account: lab}", *SMALL]
    assert main(words) == 0
    assert "job 4711: 3 shards" in capsys.readouterr().out
    script = (fake / "script.sh").read_text()
    for line in ("--partition=gpu", "--account=lab", "--time=240", "--gpus-per-node=1"):
        assert f"#SBATCH {line}" in script, script
    assert re.search(r"#SBATCH --array=0-2(%\d+)?$", script, re.M), script
    for task in (0, 2, 1):
        variables = {"JOB_ID": 4711 + task, "ARRAY_JOB_ID": 4711, "ARRAY_TASK_ID": task}
        variables |= {"ARRAY_TASK_COUNT": 3, "ARRAY_TASK_MIN": 0, "ARRAY_TASK_MAX": 2}
        variables |= {"NTASKS": 1, "JOB_NUM_NODES": 1, "NODEID": 0, "PROCID": 0, "LOCALID": 0}
        given = {f"SLURM_{name}": str(value) for name, value in variables.items()}
        done = subprocess.run(
            ["sh", str(fake / "script.sh")],
            env={**os.environ, **given, "SUBMITIT_EXECUTOR": "slurm"},
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert cases(out) == CASES


def test_the_module_is_found(submitit: Any) -> None:
    assert submitit_module() is submitit
