"""`gridgate infer`."""

from __future__ import annotations

import argparse
from typing import Any

from ..bundle_run import add_bundle_run, run_bundle


def add(subparsers: Any) -> None:
    """Describe the command."""
    about = ("SCANS", "a file, a folder, a .txt or .csv list, a DICOM folder, or a .zip of DICOM")
    add_bundle_run(subparsers, "infer", "a mask for each scan of a folder", source=about)


def run(options: argparse.Namespace) -> None:
    """Infer."""
    run_bundle(options, "inference.yaml", "inferring", "input_dir")
