"""Commands in processes forked from one that has imported PyTorch, MONAI and Gridgate already.

A command spends seconds on these imports, and most of the tests that need a process of its own, to
kill it or to fill its disk, are not about them. Everything else is as with `python -m MODULE`.
"""

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

_CHILD = Path(__file__).with_name("forked_command.py")


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
        if self.poll() is None:  # as subprocess: one that has ended gets none
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
    # a path, and not a function of here: that process need not find these tests by name
    child = (str(_CHILD), {"ARGUMENTS": arguments}, "forked")
    process = _CONTEXT.Process(target=runpy.run_path, args=child)
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
