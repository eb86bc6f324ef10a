"""NiiVue lies here as npm has it, with its version and licences."""

import hashlib
import json
import re

from gridgate.pipeline.reports.viewer.server import STATIC

FOLDER = STATIC / "niivue"


def test_the_file_is_that_of_the_named_version_unchanged() -> None:
    told = json.loads((FOLDER / "vendored.json").read_text())
    content = (FOLDER / told["file"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == told["sha256"]
    assert f'"{told["version"]}"'.encode() in content


def test_the_licences_of_all_that_is_inside_are_here() -> None:
    told = json.loads((FOLDER / "vendored.json").read_text())
    text = (FOLDER / "LICENSES").read_text()
    assert f"{told['package']} {told['version']}" in text
    named = re.findall(r"^={80}\n(\S+) [\d.]+\n={80}$", text, flags=re.MULTILINE)
    assert {"@niivue/niivue", "gl-matrix", "fflate", "nifti-reader-js", "zarrita"} <= set(named)
    assert text.count("THE SOFTWARE IS PROVIDED") + text.count("THIS SOFTWARE IS") >= len(named) - 1
