"""Running a script in the environment of another tool, on the checkout's Gridgate."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where the environment has not been made."""
    python = REPOSITORY / ".interop" / name / "bin" / "python"
    return pytest.mark.skipif(
        not python.is_file(), reason=f"no environment .interop/{name}: run `make interop`"
    )


def run_inside(name: str, script: str, *, cwd: Path, **arguments: Any) -> Any:
    """What a script of `inside` gives back: the JSON in the last line that it prints."""
    python = REPOSITORY / ".interop" / name / "bin" / "python"
    done = subprocess.run(
        [str(python), "-W", "ignore", str(HERE / "inside" / script), json.dumps(arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
