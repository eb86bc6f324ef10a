"""Cases computed by Ray: each has its row, once, also where its worker crashes or hangs.

Ray is no part of the test environment; `make interop` tries these in one that has it.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.batch.case import Case
from gridgate.pipeline.batch.computing import Computing
from gridgate.pipeline.batch.workers import ray_pool
from gridgate.pipeline.batch.workers.pool import WorkerError
from gridgate.pipeline.batch.workers.ray_pool import RayPool, Shares, shares_of

from .test_stopped_runs import command
from .test_worker_pool import steps, tried  # noqa: F401


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, Any]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9}}


def test_how_a_cluster_is_shared_out() -> None:
    assert shares_of([node(16, 2)]) == Shares(2, 8, 1)
    assert shares_of([node(16, 2), node(8, 4)]) == Shares(6, 2, 1), "the smallest share for all"
    assert shares_of([node(16, 2), node(64)]) == Shares(2, 8, 1), "GPUs do it where there are any"
    assert shares_of([node(16, 2), node(64)], gpus=False) == Shares(20, 4, 0)
    assert shares_of([node(2)]) == Shares(1, 2, 0)
    assert shares_of([node(2)], cores=1) == Shares(2, 1, 0)
    assert shares_of([node(10), node(10)], cores=8) == Shares(2, 8, 0), "none on two machines"
    assert shares_of([node(16, 2), node(16, 2, alive=False)]) == Shares(2, 8, 1)
    assert shares_of([node(4, 4)], cores=2) == Shares(2, 2, 1)
    with pytest.raises(ConfigError, match="--ray_cores 8: no machine"):
        shares_of([node(4), node(4)], cores=8)


def test_ray_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'gridgate\[ray\]'"):
        ray_pool.ray_module()


class FakeRay:
    """As much of Ray as a RayWorker asks for: an actor has said these things."""

    class exceptions:
        RayError = RuntimeError

    @staticmethod
    def wait(said: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return (said, []) if said[0] else ([], said)

    @staticmethod
    def get(said: list[Any]) -> list[Any]:
        return said


def said(*messages: tuple[str, str, Any]) -> Any:
    """A RayWorker whose actor says so, and nothing later."""
    later = iter([list(messages)])
    heard = SimpleNamespace(remote=lambda _: next(later, []))
    return ray_pool.RayWorker("cuda:0", actor=SimpleNamespace(heard=heard))


def test_a_worker_that_says_why_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "ray_module", lambda: FakeRay)
    worker = said(("broken", "", "out of memory"))
    assert worker.messages() == [("broken", "", "out of memory")]
    assert worker.ended and worker.how_it_ended() == "its Ray worker died: out of memory"


def test_a_worker_that_is_through_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "ray_module", lambda: FakeRay)
    worker = said(("done", "a", None), ("end", "", None))
    assert [kind for kind, _, _ in worker.messages()] == ["done", "end"]
    assert worker.ended and worker.messages() == []


def test_an_engine_is_refused_where_no_worker_can_use_it() -> None:
    def check(device: torch.device) -> str:
        if device.type not in able:
            raise ConfigError(f"not on {device}")
        return device.type

    computing = Computing([torch.device("cuda", 1)], ray="local")
    for able in (["cpu"], ["cuda"]):  # a cluster may have GPUs, or none
        assert computing.checked(check) == able[0]
    able = []
    with pytest.raises(ConfigError, match="not on"):
        computing.checked(check)
    able = ["cuda"]
    assert Computing([torch.device("cuda", 1)]).checked(check) == "cuda"
    with pytest.raises(ConfigError, match="not on cpu"):
        Computing([torch.device("cpu")], ray="local", gpus=False).checked(check)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A small one of this machine, with two cores."""
    ray = pytest.importorskip("ray", reason="Ray is no part of the test environment")
    ray.init(
        address="local",
        num_cpus=2,
        object_store_memory=200_000_000,
        include_dashboard=False,
        log_to_driver=False,
    )
    yield ray
    ray.shutdown()


def compute(steps: Any, items: list[dict[str, Any]], **options: Any) -> dict[str, Any]:  # noqa: F811
    rows: dict[str, Any] = {}

    def report(kind: str, name: str, more: Any) -> None:
        if kind == "done":
            assert name not in rows, f"{name} twice"
            rows[name] = more

    items = [{"image": f"/scans/{item['id']}", **item} for item in items]
    cases = [Case.of(item) for item in items]
    RayPool(steps, report=report, address="local", **{"cores": 1, **options}).run(cases)
    return rows


@pytest.mark.slow
def test_cases_go_to_all_workers(cluster: Any, steps: Any) -> None:  # noqa: F811
    items = [{"id": f"case_{number:02}", "compute": "0.1"} for number in range(40)]
    rows = compute(steps, items)
    assert sorted(rows) == [item["id"] for item in items]
    assert {row.status for row in rows.values()} == {"ok"}
    assert len({row.pid for row in rows.values()}) == 2 and os.getpid() not in {
        row.pid for row in rows.values()
    }
    assert len(tried(steps)) == 3 * 40, "each case once"


@pytest.mark.slow
def test_a_worker_that_dies_takes_only_its_case(cluster: Any, steps: Any) -> None:  # noqa: F811
    items: list[dict[str, Any]] = [{"id": f"good_{number}"} for number in range(6)]
    items[1:1] = [{"id": "segfault", "read": "crash"}, {"id": "oom", "compute": "killed"}]
    items[5:5] = [{"id": "gone", "write": "exit"}]
    rows = compute(steps, items)
    assert sorted(rows) == sorted(item["id"] for item in items)
    failed = {name: row.reason for name, row in rows.items() if row.status == "failed"}
    assert set(failed) == {"segfault", "oom", "gone"}
    assert all("its Ray worker died" in why for why in failed.values()), failed
    assert all("the other cases go on" in why for why in failed.values())


@pytest.mark.slow
def test_a_crash_before_a_word_is_heard_is_the_cases_fault(
    cluster: Any,
    steps: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a process says last may never arrive: here nothing of a case but its end does."""
    messages = ray_pool.RayWorker.messages

    def only_ends(worker: Any) -> list[Any]:
        return [one for one in messages(worker) if one[0] in ("ready", "done")]

    monkeypatch.setattr(ray_pool.RayWorker, "messages", only_ends)
    rows = compute(steps, [{"id": "gone", "read": "exit"}, {"id": "good"}])
    assert rows["good"].status == "ok" and rows["gone"].status == "failed"


@pytest.mark.slow
def test_a_case_that_takes_too_long_is_ended(cluster: Any, steps: Any) -> None:  # noqa: F811
    items = [{"id": "a"}, {"id": "slow", "compute": "hang"}, {"id": "b"}, {"id": "c"}]
    rows = compute(steps, items, time_limit=3.0)
    assert {name for name, row in rows.items() if row.status == "ok"} == {"a", "b", "c"}
    assert "limit of 3 s" in rows["slow"].reason


@pytest.mark.slow
@pytest.mark.parametrize("start", ["crash", "error"])
def test_workers_that_do_not_get_ready_end_the_run(
    start: str,
    cluster: Any,
    steps: Any,  # noqa: F811
) -> None:
    steps.start = start
    with pytest.raises(WorkerError, match="died" if start == "crash" else "as the test wants it"):
        compute(steps, [{"id": "a"}])


@pytest.mark.slow
def test_what_workers_log_is_said_here(
    cluster: Any,
    steps: Any,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert compute(steps, [{"id": "a", "read": "warn"}])["a"].status == "ok"
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert ("gridgate.x", "guessed") in told and ("gridgate.x", "not told") not in told


def test_no_cluster_is_an_error_that_says_so(steps: Any) -> None:  # noqa: F811
    ray = pytest.importorskip("ray", reason="Ray is no part of the test environment")
    ray.shutdown()
    with pytest.raises(ConfigError, match="--ray auto: there is no such cluster"):
        pool = RayPool(steps, report=lambda *_: None, address="auto")
        pool.run([])


@pytest.mark.slow
def test_the_command_on_forty_scans_one_of_them_bad(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is no part of the test environment")
    import nibabel as nib
    import numpy as np

    from gridgate.data.phantom.phantom import make_phantom

    scans, out = tmp_path / "scans", tmp_path / "masks"
    scans.mkdir()
    phantom = make_phantom(0, shape=(40, 40, 36), spacing=(9.0, 9.0, 7.0))
    image = nib.Nifti1Image(np.rint(phantom.image).astype(np.int16), phantom.grid.affine)
    for number in range(40):
        nib.save(image, scans / f"case_{number:02}.nii.gz")
    (scans / "case_07.nii.gz").write_bytes(b"no image")
    words = [*command(scans, out, "--report", "False"), "--ray", "local", "--ray_cores", "1"]
    program = [sys.executable, "-m", "monai.bundle", *words]
    log = tmp_path / "log"
    with open(log, "w") as stream:
        process = subprocess.Popen(program, stdout=stream, stderr=stream, cwd=tmp_path)
        until = time.monotonic() + 120
        while not out.is_dir() or sum(1 for _ in out.glob("case_*.nii.gz")) < 5:
            assert time.monotonic() < until and process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)  # as a batch system does before it kills
        assert process.wait(timeout=60) != 0
        early = rows(out)
        assert 5 <= len(early) < 40 and "Traceback" not in log.read_text(), log.read_text()[-3000:]
        done = subprocess.run(program, stdout=stream, stderr=stream, cwd=tmp_path, timeout=240)
    assert done.returncode == 1, log.read_text()[-3000:]
    found = rows(out)
    assert sorted(row["case"] for row in found) == [f"case_{number:02}" for number in range(40)]
    failed = [row["case"] for row in found if row["status"] != "ok"]
    assert failed == ["case_07"] and "Ray: 2 workers of 1 cores each" in log.read_text()


def rows(out: Path) -> list[dict[str, str]]:
    with open(out / "cases.csv", newline="") as file:
        return list(csv.DictReader(file))
