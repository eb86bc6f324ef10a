"""Ray and submitit themselves: the tests of tests/pipeline that skip without them.

The environment lies in .interop/cluster at the repository's root; `make interop` makes it.
"""

import os
import subprocess
from pathlib import Path

import pytest
from environments import REPOSITORY, needs

TESTS = ["tests/pipeline/batch/test_ray_pool.py", "tests/pipeline/cli/test_submit.py"]


@needs("cluster")
@pytest.mark.slow
@pytest.mark.parametrize("tests", TESTS)
def test_cases_by_ray_and_by_submitit(tests: str, tmp_path: Path) -> None:
    program = REPOSITORY / ".interop/cluster/bin/python"
    done = subprocess.run(
        [str(program), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs", tests],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "skipped" not in done.stdout, done.stdout[-2000:]
