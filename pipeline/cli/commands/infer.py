"""`gridgate infer`."""

from __future__ import annotations

import argparse
from typing import Any

from ....data.events import listening
from ..bundle_run import add_bundle_run, given_words, run_bundle
from ..console import say_last

EXAMPLES = (
    "gridgate infer trained ct.nii.gz mask.nii.gz",
    "gridgate infer trained scans masks --device cuda --mirror_axes '[1, 2]'",
    "gridgate infer trained -i scans -o masks --checkpoint '[a.pt, b.pt]' --overwrite True",
    "gridgate infer trained dicom masks --dicom_seg True --probabilities '[liver]'",
    "gridgate infer trained scans masks --json-log",
)


def add(subparsers: Any) -> None:
    """Describe the command."""
    about = ("SCANS", "a file, a folder, a .txt or .csv list, a DICOM folder, or a .zip of DICOM")
    add_bundle_run(
        subparsers,
        "infer",
        "a mask for each scan of a folder",
        config="inference.yaml",
        source=about,
        output="folder for the masks and cases.csv; or, for one scan, a file (.nii.gz, ...)",
        examples=EXAMPLES,
    )


def run(options: argparse.Namespace) -> None:
    """Infer."""
    from ..one_mask import infer_one, mask_ending

    words = given_words(options, "input_dir")
    ending = mask_ending(words["output_dir"])
    if ending is not None:
        infer_one(options, words, ending)
        return
    with listening(_say_last):
        run_bundle(options, "inferring", words)


def _say_last(event: str, facts: dict[str, Any]) -> None:
    if event == "cases" and not facts["failed"]:
        before = f", {facts['before']} of them made before" if facts["before"] else ""
        say_last(f"{facts['output']}: {facts['ok']} masks{before}; {facts['table']}")
