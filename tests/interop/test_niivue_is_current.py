"""Whether the vendored NiiVue is npm's latest; needs npm and its registry."""

import json
import shutil
import subprocess

import pytest

from gridgate.pipeline.reports.viewer.server import STATIC


def test_the_vendored_niivue_is_the_latest() -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    told = json.loads((STATIC / "niivue" / "vendored.json").read_text())
    command = ["npm", "view", told["package"], "version"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if found.returncode:
        pytest.skip(f"npm's registry does not answer: {found.stderr.strip()[-200:]}")
    assert found.stdout.strip() == told["version"], (
        f"take {told['package']} {found.stdout.strip()} as CONTRIBUTING.md says"
    )
