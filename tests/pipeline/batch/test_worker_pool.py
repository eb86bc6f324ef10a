"""Worker processes that crash, hang and are killed: each case has its row, once."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.errors import GridgateError
from gridgate.pipeline.batch.case import Case
from gridgate.pipeline.batch.workers import handle, pool
from gridgate.pipeline.batch.workers.pool import WorkerError, WorkerPool
from gridgate.pipeline.batch.workers.started import StartedProcess

pytestmark = pytest.mark.slow

STEPS = '''
"""Steps that do what their case says, and write down that they tried."""
import ctypes, logging, os, signal, time, warnings
from dataclasses import dataclass
from gridgate.pipeline.batch.case import CaseInProgress
from gridgate.pipeline.batch.results.case_result import CaseResult

@dataclass(eq=False)
class Result(CaseResult):
    pid: int = 0

@dataclass
class Steps:
    log: str
    device: str = "cpu"
    start: str = ""
    only: str = ""

    def prepare(self):
        if self.only in ("", self.device):
            self.act(self.start)

    def act(self, what):
        if what == "crash":
            ctypes.string_at(0)
        elif what == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "exit":
            os._exit(3)
        elif what == "hang":
            time.sleep(1000)
        elif what == "warn":
            warnings.warn("odd\\n header")
            warnings.warn("soon gone", FutureWarning)
            logging.getLogger("gridgate.x").info("not told")
            logging.getLogger("gridgate.x").warning("guessed")
        elif what == "error":
            raise ValueError("as the test wants it")
        elif what:
            time.sleep(float(what))

    def step(self, name, item):
        with open(self.log, "a") as file:
            file.write(f"{name} {item['id']} {self.device}\\n")
        self.act(item.get(name, ""))

    def read(self, case):
        self.step("read", case.item)
        return CaseInProgress(case)

    def segment(self, work, progress):
        self.step("compute", work.case.item)
        progress(1, 1)

    def finish(self, work):
        self.step("write", work.case.item)
        return Result(work.case.id, work.case.source, pid=os.getpid())
'''


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "steps_of_the_test.py").write_text(STEPS)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("steps_of_the_test", None)
    from steps_of_the_test import Steps

    return Steps(str(tmp_path / "log"))


def compute(steps: Any, items: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {}

    def report(kind: str, name: str, more: Any) -> None:
        if kind == "done":
            assert name not in rows, f"{name} twice"
            rows[name] = more

    items = [{"id": item["id"], "image": f"/scans/{item['id']}", **item} for item in items]
    cases = [Case.of(item) for item in items]
    WorkerPool(steps, report=report, **{"devices": ["cpu"], **options}).run(cases)
    return rows


def tried(steps: Any) -> list[str]:
    return Path(steps.log).read_text().splitlines()


def nobody_is_left() -> bool:
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    return not any(
        "gridgate.pipeline.batch.workers.main" in Path(f"/proc/{pid}/cmdline").read_text()
        for pid in children
    )


def test_a_worker_that_dies_takes_only_its_case(steps: Any) -> None:
    items: list[dict[str, Any]] = [{"id": f"good_{number}"} for number in range(6)]
    items[1:1] = [{"id": "segfault", "read": "crash"}, {"id": "oom", "compute": "killed"}]
    items[5:5] = [{"id": "gone", "write": "exit"}]
    rows = compute(steps, items)
    assert sorted(rows) == sorted(item["id"] for item in items)
    failed = {name: row.reason for name, row in rows.items() if row.status == "failed"}
    assert set(failed) == {"segfault", "oom", "gone"}
    assert "SIGSEGV" in failed["segfault"] and "'read'" in failed["segfault"]
    assert "SIGKILL" in failed["oom"] and "lack of memory" in failed["oom"]
    assert "code 3" in failed["gone"] and "'write'" in failed["gone"]
    # three at most are in hand when a worker dies, and come once more, alone
    assert max(Counter(line for line in tried(steps) if line.startswith("read")).values()) <= 4
    assert rows["good_0"].status == "ok"
    assert nobody_is_left()


def test_a_case_that_takes_too_long_is_ended_and_the_others_are_not(steps: Any) -> None:
    items = [
        {"id": "a"},
        {"id": "slow", "compute": "hang"},
        {"id": "b", "read": "0.3"},
        {"id": "c"},
    ]
    rows = compute(steps, items, time_limit=2.0)
    assert {name: row.status for name, row in rows.items()} == {
        "a": "ok",
        "b": "ok",
        "c": "ok",
        "slow": "failed",
    }
    assert "limit of 2 s" in rows["slow"].reason
    assert nobody_is_left()


def test_a_case_that_is_late_between_two_stages(steps: Any) -> None:
    """Its row names no stage, as it is in none."""
    rows: dict[str, Any] = {}
    made = WorkerPool(
        steps, report=lambda _, name, row: rows.update({name: row}), devices=[], time_limit=2.0
    )
    late = handle.AssignedCase(Case.of({"id": "a", "image": "/scans/a"}), spent=3.0, begun=True)

    class Told(handle.Worker):
        def tell(self, message: Any) -> None: ...
        def messages(self) -> list[Any]:
            return []

        def kill(self, why: str) -> None: ...
        def how_it_ended(self) -> str:
            return ""

        def leave(self) -> None: ...

    made.workers = [Told("cpu", cases={"a": late}, ready=True)]
    made._worker = lambda device: Told(device)  # type: ignore[assignment,method-assign]
    made._check_time()
    assert rows["a"].reason == "took longer than the limit of 2 s"


def test_waiting_is_not_counted_against_the_limit(steps: Any) -> None:
    items = [{"id": f"case_{number}", "compute": "0.7"} for number in range(5)]
    rows = compute(steps, items, time_limit=1.4, readers=3)
    assert {row.status for row in rows.values()} == {"ok"}


def test_cases_go_to_all_devices(steps: Any) -> None:
    items = [{"id": f"case_{number}", "compute": "0.2"} for number in range(8)]
    rows = compute(steps, items, devices=["cpu", "cpu:1"])
    assert len({row.pid for row in rows.values()}) == 2
    assert {line.split()[2] for line in tried(steps)} == {"cpu", "cpu:1"}
    assert len(tried(steps)) == 3 * 8, "each case once"


@pytest.mark.parametrize("start", ["crash", "error"])
def test_workers_that_do_not_get_ready_end_the_run(steps: Any, start: str) -> None:
    steps.start = start
    with pytest.raises(
        WorkerError, match="SIGSEGV" if start == "crash" else "as the test wants it"
    ):
        compute(steps, [{"id": "a"}])
    assert issubclass(WorkerError, GridgateError) and nobody_is_left()


def test_a_device_that_cannot_be_used_is_told(steps: Any, caplog: pytest.LogCaptureFixture) -> None:
    steps.start, steps.only = "error", "cuda:1"
    items = [{"id": f"case_{number}", "compute": "0.5"} for number in range(12)]
    rows = compute(steps, items, devices=["cpu", "cuda:1"])
    assert {row.status for row in rows.values()} == {"ok"} and len(rows) == 12
    (told,) = [record.getMessage() for record in caplog.records if "cuda:1" in record.getMessage()]
    assert told.startswith("cuda:1: not used any more, the others go on (")
    assert "as the test wants it" in told


def test_a_worker_that_we_end_is_not_reported_as_killed_by_the_system(
    steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_READY_SECONDS", 1.0)
    steps.start = "hang"
    with pytest.raises(WorkerError, match="did not start within 1 s") as caught:
        compute(steps, [{"id": "a"}])
    assert "memory" not in str(caught.value) and "SIGKILL" not in str(caught.value)
    assert nobody_is_left()


def sleeping() -> StartedProcess:
    """A process that never reads what it is told."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(["sleep", "1000"], pass_fds=[theirs.fileno()])
    theirs.close()
    return StartedProcess(process, Connection(ours.detach()))


def test_a_worker_that_hangs_before_it_reads_does_not_hold_its_parent(
    steps: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it is sent, the weights among it, is more than a connection takes by itself."""
    monkeypatch.setattr(pool, "_READY_SECONDS", 1.0)
    monkeypatch.setattr(handle, "started_process", sleeping)
    steps.log = "x" * 5_000_000
    began = time.monotonic()
    with pytest.raises(WorkerError, match="did not start within 1 s"):
        compute(steps, [{"id": "a"}])
    assert time.monotonic() - began < 60


def test_a_worker_that_was_killed_can_still_be_spoken_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C in the moment in which another takes its place."""
    monkeypatch.setattr(handle, "started_process", sleeping)
    worker = handle.ProcessWorker("cpu", payload=b"")
    worker.kill("it took too long")
    worker.tell(("stop", None))
    assert worker.messages() == [] and worker.how_it_ended() == "it took too long"


def test_ctrl_c_finishes_what_is_being_written_and_leaves_nobody(steps: Any) -> None:
    items = [
        {"id": "first", "write": "1.0"},
        *({"id": f"case_{number}", "compute": "0.2"} for number in range(200)),
    ]
    rows: dict[str, Any] = {}

    def report(kind: str, name: str, more: Any) -> None:
        if kind == "done":
            rows[name] = more
        if kind == "write":
            raise KeyboardInterrupt

    items = [{"image": "x", **item} for item in items]
    with pytest.raises(KeyboardInterrupt):
        WorkerPool(steps, devices=["cpu"], report=report).run([Case.of(item) for item in items])
    assert list(rows) == ["first"] and nobody_is_left()


def test_a_parent_that_is_killed_takes_its_workers_along(steps: Any, tmp_path: Path) -> None:
    import subprocess

    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from steps_of_the_test import Steps\n"
        "from gridgate.pipeline.batch.workers.pool import WorkerPool\n"
        "from gridgate.pipeline.batch.case import Case\n"
        "items = [Case.of({'id': str(n), 'image': 'x', 'compute': '0.2'}) for n in range(999)]\n"
        "steps = Steps(sys.argv[1] + '/log')\n"
        "WorkerPool(steps, devices=['cpu'], report=lambda *_: None).run(items)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    until = time.monotonic() + 60
    while not (Path(steps.log).exists() and len(tried(steps)) > 5):
        assert time.monotonic() < until
        time.sleep(0.05)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    assert children
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}/cmdline").exists() and _alive(pid) for pid in children):
        assert time.monotonic() < until
        time.sleep(0.05)


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_what_workers_log_is_the_parents_to_say(
    steps: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = compute(steps, [{"id": "a", "read": "warn"}])
    assert rows["a"].status == "ok"
    told = [(record.name, record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0][:2] == ("py.warnings", "WARNING")
    assert told[0][2].startswith("odd header (UserWarning, ")
    assert told[1:] == [("gridgate.x", "WARNING", "guessed")]
    assert capfd.readouterr().err == ""
