"""The real command over bad files: killed, interrupted, on a full and on a read-only disk."""

import csv
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.files import is_temporary
from gridgate.data.phantom.phantom import make_phantom

from ... import forked
from ..small_bundle import CONFIGS, NETWORK
from .threshold import TABLES

# a worker's start takes as long as the command's own; what a test does not need it for runs without
IN_PROCESS = ("--isolate", "False")
GOOD = [f"good_{number:02d}" for number in range(14)]
BAD = {
    "bad_cut_off": "cut off",
    "bad_nan": "NaN",
    "bad_four_axes": "axes",
    "bad_text": "not a NIfTI file",
    "bad_empty": "empty",
    "bad_forbidden": "permission",
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 small phantoms and 6 files that cannot be segmented."""
    folder = tmp_path_factory.mktemp("scans")
    for number, name in enumerate(GOOD):
        phantom = make_phantom(
            number,
            shape=(40, 40, 36),
            spacing=(9.0, 9.0, 7.0),
            orientation=("LPS", "RAS", "PIR")[number % 3],
        )
        nib.save(
            nib.Nifti1Image(np.rint(phantom.image).astype(np.int16), phantom.grid.affine),
            folder / f"{name}.nii.gz",
        )
    whole = (folder / "good_00.nii.gz").read_bytes()
    (folder / "bad_cut_off.nii.gz").write_bytes(whole[: len(whole) // 2])
    hole = np.zeros((9, 9, 9), np.float32)
    hole[3, 4, 5] = np.nan
    nib.save(nib.Nifti1Image(hole, np.eye(4)), folder / "bad_nan.nii.gz")
    nib.save(
        nib.Nifti1Image(np.zeros((9, 9, 9, 3), np.int16), np.eye(4)),
        folder / "bad_four_axes.nii.gz",
    )
    (folder / "bad_text.nii.gz").write_bytes(gzip.compress(b"no image " * 100))
    (folder / "bad_empty.nii.gz").touch()
    (folder / "bad_forbidden.nii.gz").write_bytes(whole)
    (folder / "bad_forbidden.nii.gz").chmod(0)
    return folder


def command(scans: Path, output: Path, *more: str) -> list[str]:
    settings = {**{key: value for key, value in NETWORK.items() if key != "device"}, "overlap": 0.5}
    words = ["run", "inferring", "--config_file", str(CONFIGS / "inference.yaml")]
    for key, value in settings.items():
        words += [f"--{key}", json.dumps(value) if not isinstance(value, bool) else str(value)]
    words += ["--input_dir", str(scans), "--output_dir", str(output)]
    return [*words, "--load_pretrain", "False", "--device", "cpu", *more]


def start(words: list[str], folder: Path) -> forked.Forked:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    log = folder / "log"
    return forked.start(
        "monai.bundle", words, cwd=folder, stdout=log, stderr=log, environment=environment
    )


def rows(output: Path) -> list[dict[str, str]]:
    path = output / "cases.csv"
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if row["case"]]


def wait_for(what: int, output: Path, process: forked.Forked) -> None:
    until = time.monotonic() + 120
    while len(rows(output)) < what:
        assert time.monotonic() < until and process.poll() is None, (
            output.parent / "log"
        ).read_text()
        time.sleep(0.02)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Path]:
    """An output folder in which every mask opens whenever it is looked at."""
    output, ended, broken = tmp_path / "masks", threading.Event(), []

    def watch() -> None:
        while not ended.is_set():
            for path in output.glob("**/*.nii.gz"):
                try:
                    np.asarray(nib.load(path).dataobj)
                except FileNotFoundError:
                    pass
                except Exception as error:
                    broken.append(f"{path.name}: {error}")
            time.sleep(0.005)

    thread = threading.Thread(target=watch)
    thread.start()
    yield output
    ended.set()
    thread.join()
    assert not broken


def check_all_there(scans: Path, output: Path) -> None:
    found = rows(output)
    assert sorted(row["case"] for row in found) == sorted([*GOOD, *BAD]), "none lost, none twice"
    for row in found:
        if row["case"] in BAD:
            assert (
                row["status"] == "failed"
                and BAD[row["case"]] in row["reason"]
                and row["case"] in row["reason"]
            )
        else:
            assert row["status"] == "ok" and row["reason"] == ""
            scan, mask = nib.load(scans / f"{row['case']}.nii.gz"), nib.load(output / row["output"])
            assert mask.shape == scan.shape and np.array_equal(mask.affine, scan.affine)
    left = sorted(path.name for path in output.iterdir())
    masks = [f"{name}.nii.gz" for name in GOOD]
    assert left == sorted([".gridgate", "cases.csv", "report.html", *TABLES, *masks])


@pytest.mark.slow
def test_killed_half_way_and_started_again(scans: Path, watched: Path, tmp_path: Path) -> None:
    process = start(command(scans, watched), tmp_path)
    wait_for(8, watched, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    early = {path.name: path.stat().st_mtime_ns for path in watched.glob("*.nii.gz")}
    done = {row["output"] for row in rows(watched) if row["status"] == "ok"}
    assert 0 < len(done) < len(GOOD)
    process = start(command(scans, watched, *IN_PROCESS), tmp_path)
    assert process.wait(timeout=120) == 1, (tmp_path / "log").read_text()
    check_all_there(scans, watched)
    again = {
        name for name, time_ns in early.items() if (watched / name).stat().st_mtime_ns != time_ns
    }
    assert not again & done, "what was done is not done again"
    assert "6 of 20 cases failed" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_next_run_goes_on(
    scans: Path, watched: Path, tmp_path: Path
) -> None:
    process = start(command(scans, watched), tmp_path)
    wait_for(8, watched, process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to every process of the command
    assert process.wait(timeout=30) in (130, -signal.SIGINT), (tmp_path / "log").read_text()
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log and "stopped" in log, log
    assert {f"{row['case']}.nii.gz" for row in rows(watched) if row["status"] == "ok"} == {
        path.name for path in watched.glob("*.nii.gz")
    }
    assert not [path for path in watched.rglob("*") if is_temporary(path.name)]
    process = start(command(scans, watched, *IN_PROCESS), tmp_path)
    assert process.wait(timeout=120) == 1
    check_all_there(scans, watched)


def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
    )
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "small", "size=36k")


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Path]:
    yield from mounted(tmp_path / "read_only", "size=1m,ro")


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_its_reason(
    scans: Path, small_disk: Path, tmp_path: Path
) -> None:
    process = start(command(scans, small_disk / "masks", *IN_PROCESS), tmp_path)
    assert process.wait(timeout=120) == 1
    log = (tmp_path / "log").read_text()
    assert "No space left on device" in log and "Traceback" not in log, log
    for path in (small_disk / "masks").glob("*.nii.gz"):
        np.asarray(nib.load(path).dataobj)
    for line in (small_disk / "masks" / "cases.csv").read_text().splitlines(keepends=True):
        assert line.endswith("\n"), "no half row"
    done = {row["output"] for row in rows(small_disk / "masks") if row["status"] == "ok"}
    assert done <= {path.name for path in (small_disk / "masks").iterdir()} and len(done) < len(
        GOOD
    )
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    process = start(command(scans, small_disk / "masks", *IN_PROCESS), tmp_path)
    assert process.wait(timeout=120) == 1
    check_all_there(scans, small_disk / "masks")


def test_a_read_only_folder_is_refused_at_once(
    scans: Path, read_only_disk: Path, tmp_path: Path
) -> None:
    process = start(command(scans, read_only_disk, *IN_PROCESS), tmp_path)
    assert process.wait(timeout=60) == 1
    log = (tmp_path / "log").read_text()
    assert (
        f"error: {read_only_disk}: cannot write here (Read-only file system)" in log
        and "Traceback" not in log
    )


def test_two_runs_do_not_write_into_one_folder(scans: Path, tmp_path: Path) -> None:
    first = start(command(scans, tmp_path / "masks", *IN_PROCESS), tmp_path)
    wait_for(1, tmp_path / "masks", first)
    (tmp_path / "second").mkdir()
    second = start(command(scans, tmp_path / "masks", *IN_PROCESS), tmp_path / "second")
    code = second.wait(timeout=60)
    if first.poll() is not None:
        pytest.skip("the first run ended before the second began")
    first.kill()
    first.wait()
    assert code == 1 and "another run is writing there" in (tmp_path / "second" / "log").read_text()
