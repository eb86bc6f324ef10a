"""A measurement in a process of its own: it may be killed, or take too long or too much memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ..process_settings import set_up_process

_KILLED = -9  # SIGKILL, a name that Windows does not have


def measured_in_process(wanted: Mapping[str, Any], *, timeout: float) -> Iterator[dict[str, Any]]:
    """What `measuring` finds out, as it is found; a "reason" where it ended too early.

    Args:
        wanted: of `measuring.measure`.
        timeout: seconds after which the process is ended.
    """
    environment = dict(os.environ)
    set_up_process(environment)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            f"{__package__}.measuring",
            json.dumps({**wanted, "parent": os.getpid()}),
        ],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    late = False
    try:
        said, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        late = True
        process.kill()
        said, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    for line in said.splitlines():
        found = json.loads(line) if line.startswith("{") else {}
        if found:
            yield found
    if late:
        yield {"reason": f"given up after {timeout:.0f} s"}
    elif process.returncode:
        yield {"reason": _how_it_ended(process.returncode, errors)}


def one_line(text: str) -> str:
    """A text without line breaks, at most 300 characters."""
    return " ".join(text.split())[:300]


def _how_it_ended(code: int, errors: str) -> str:
    if code == _KILLED:
        return "its process was killed: probably by the system, for lack of memory"
    last = errors.strip().splitlines()[-1:] or [f"code {code}"]
    return one_line(f"its process ended: {last[0]}")
