"""Real processes side by side, killed at any moment: 40 cases, 40 rows, none twice."""

import csv
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.files import is_temporary
from gridgate.data.output_folder import OutputFolder
from gridgate.data.phantom.phantom import make_phantom
from gridgate.pipeline.batch.results.table_file import read_case_table
from gridgate.pipeline.batch.shards.tables import merged_rows, shard_tables

from .... import forked
from ..test_stopped_runs import IN_PROCESS, command

pytestmark = pytest.mark.slow

CASES = [f"case_{number:02d}" for number in range(40)]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 tiny phantoms."""
    return tiny_phantoms(tmp_path_factory.mktemp("scans"), CASES)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 of them."""
    return tiny_phantoms(tmp_path_factory.mktemp("few"), CASES[:16])


def tiny_phantoms(folder: Path, names: list[str]) -> Path:
    phantom = make_phantom(0, shape=(40, 40, 36), spacing=(9.0, 9.0, 7.0))
    image = np.rint(phantom.image).astype(np.int16)
    for name in names:
        nib.save(nib.Nifti1Image(image, phantom.grid.affine), folder / f"{name}.nii.gz")
    return folder


def start(
    scans: Path, out: Path, which: str | None, *more: str, environment: dict[str, str] | None = None
) -> forked.Forked:
    log = out.parent / f"log_{which or 'slurm'}".replace("/", "_of_")
    words = command(scans, out, *IN_PROCESS, "--report", "False", *more)
    words += [] if which is None else ["--shard", which]
    return forked.start(
        "monai.bundle",
        words,
        cwd=out.parent,
        stdout=log,
        stderr=log,
        environment={**ENVIRONMENT, **(environment or {})},
    )


def rows_now(out: Path) -> int:
    return len(merged_rows(OutputFolder(out))) if out.is_dir() else 0


def wait_for_rows(count: int, out: Path, *processes: forked.Forked) -> None:
    until = time.monotonic() + 120
    while rows_now(out) < count and any(process.poll() is None for process in processes):
        assert time.monotonic() < until, logs(out)
        time.sleep(0.02)


def logs(out: Path) -> str:
    return "\n".join(
        f"{path.name}:\n{path.read_text()[-2000:]}" for path in sorted(out.parent.glob("log_*"))
    )


def check_all_there(scans: Path, out: Path) -> None:
    with open(out / "cases.csv", newline="") as file:
        found = list(csv.DictReader(file))
    wanted = sorted(path.name.removesuffix(".nii.gz") for path in scans.iterdir())
    assert sorted(row["case"] for row in found) == wanted, "none lost, none twice"
    assert {row["status"] for row in found} == {"ok"}
    for row in found:
        scan, mask = nib.load(scans / f"{row['case']}.nii.gz"), nib.load(out / row["output"])
        assert mask.shape == scan.shape and np.asarray(mask.dataobj).ndim == 3
    assert not shard_tables(OutputFolder(out)), "all are in cases.csv"
    assert not [path for path in out.rglob("*") if is_temporary(path.name)]
    assert all(OutputFolder(out).owns(row["output"]) for row in found)


def test_forty_cases_in_four_shards_two_of_them_killed_and_started_again(
    scans: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks"
    shards = {which: start(scans, out, which) for which in ("1/4", "2/4", "3/4", "4/4")}
    wait_for_rows(6, out, *shards.values())
    for which in ("2/4", "3/4"):
        shards[which].kill()
        shards[which].wait()
    done = {row["output"]: (out / row["output"]).stat().st_mtime_ns for row in before(out)}
    assert 0 < len(done) < 40
    for which in ("2/4", "3/4"):
        shards[which] = start(scans, out, which)
    codes = [process.wait(timeout=180) for process in shards.values()]
    assert codes == [0, 0, 0, 0], logs(out)
    check_all_there(scans, out)
    now = {name: (out / name).stat().st_mtime_ns for name in done}
    assert now == done, "what was done is not done again"


def before(out: Path) -> list[dict[str, str]]:
    return [row for row in merged_rows(OutputFolder(out)) if row["status"] == "ok"]


def test_shards_that_are_never_started_again_are_finished_by_the_others(
    few: Path, tmp_path: Path
) -> None:
    out = tmp_path / "masks"
    shards = {which: start(few, out, which) for which in ("1/3", "2/3", "3/3")}
    wait_for_rows(3, out, *shards.values())
    for which in ("1/3", "3/3"):
        shards[which].kill()
        shards[which].wait()
    assert shards["2/3"].wait(timeout=180) == 0, logs(out)
    begun = Counter(path.stem for path in (out / ".gridgate/shards").glob("*-of-3.json"))
    if len(begun) == 3:  # one that was killed before it began is no dead one
        check_all_there(few, out)
        assert "has died" in logs(out)


def test_killed_at_random_until_all_is_done(few: Path, tmp_path: Path) -> None:
    out, chance = tmp_path / "masks", random.Random(0)
    processes: list[forked.Forked] = []
    for _ in range(5):
        which = [f"{chance.randint(1, 4)}/4" for _ in range(2)]
        processes = [start(few, out, one) for one in dict.fromkeys(which)]
        wait_for_rows(rows_now(out) + chance.randint(1, 4), out, *processes)
        time.sleep(chance.random() * 0.2)
        for process in processes:
            process.kill()
            process.wait()
        cases = [row["case"] for row in merged_rows(OutputFolder(out))]
        assert len(cases) == len(set(cases))
    last = [start(few, out, f"{number}/4") for number in (1, 2, 3, 4)]
    assert [process.wait(timeout=180) for process in last] == [0, 0, 0, 0], logs(out)
    check_all_there(few, out)


def test_sigterm_leaves_a_shard_to_the_others(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    first = start(few, out, "1/2")
    wait_for_rows(3, out, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) != 0
    second = start(few, out, "2/2")
    assert second.wait(timeout=180) == 0, logs(out)
    check_all_there(few, out)


def test_slurms_array_says_which_shard_it_is(few: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    for task in ("10", "20"):  # --array=10,20
        array = {"ID": task, "COUNT": "2", "MIN": "10", "MAX": "20"}
        variables = {f"SLURM_ARRAY_TASK_{name}": text for name, text in array.items()}
        process = start(few, out, None, environment=variables)
        assert process.wait(timeout=120) == 0, logs(out)
    check_all_there(few, out)
    log = (tmp_path / "log_slurm").read_text()
    assert "shard 1/2, from SLURM_ARRAY_TASK_ID" in log
    assert len(read_case_table(out / "cases.csv")) == 16
