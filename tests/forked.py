"""Commands in processes forked from one that has imported PyTorch, MONAI and Gridgate already.

A command spends seconds on these imports, and most of the tests that need a process of its own, to
kill it or to fill its disk, are not about them. Everything else is as with `python -m MODULE`.
"""

import atexit
import ctypes
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

_IMPORTED = [
    "torch",
    "monai.bundle",
    "gridgate.pipeline.workflow",
    "gridgate.pipeline.training.engine",
    "gridgate.pipeline.batch.evaluator",
    "gridgate.transforms.load",
]
if sys.platform != "win32":
    _CONTEXT = get_context("forkserver")
    _CONTEXT.set_forkserver_preload(_IMPORTED)

_VERSION_3 = 0x20080522  # of Linux's capget and capset
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


class Forked:
    """A command that runs, with what subprocess.Popen has of it."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid = process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"still running after {timeout} s"
        return code

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True)
class Ended:
    """What subprocess.run gives."""

    returncode: int
    stdout: str
    stderr: str


def start(
    module: str,
    words: Sequence[str],
    *,
    cwd: Path,
    stdout: Path,
    stderr: Path,
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """`python -m MODULE WORDS` in a session of its own; what it says is appended to the files.

    Who may read every file, may not there.
    """
    if sys.platform == "win32":
        pytest.skip("nothing is forked here")
    given = dict(os.environ if environment is None else environment)
    arguments = (module, list(words), str(cwd), str(stdout), str(stderr), given)
    process = _CONTEXT.Process(target=_run, args=arguments)
    process.start()
    return Forked(process)


def run(
    module: str,
    words: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> Ended:
    """As `start`, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        out, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        where = Path.cwd() if cwd is None else cwd
        process = start(
            module, words, cwd=where, stdout=out, stderr=errors, environment=environment
        )
        return Ended(process.wait(timeout), out.read_text(), errors.read_text())


def _run(
    module: str,
    words: list[str],
    cwd: str,
    stdout: str,
    stderr: str,
    environment: dict[str, str],
) -> None:
    os.setsid()
    os.chdir(cwd)
    for number, name in ((1, stdout), (2, stderr)):
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    _give_up_reading_everything()
    sys.argv = [module, *words]
    sys.path[:] = ["", *(path for path in sys.path if path)]
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
        if isinstance(error, KeyboardInterrupt):  # as Python itself ends then
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            sys.stderr.flush()
            os.kill(os.getpid(), signal.SIGINT)
    atexit._run_exitfuncs()
    sys.exit(code)  # type: ignore[arg-type]


def _give_up_reading_everything() -> None:
    """Root's right to open what it has no permission for."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for index in range(3):
        sets[index] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH) & 0xFFFFFFFF
    # what a program that is started later gets is bounded, too
    for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
