"""`gridgate attention`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError

_EPILOG = """examples:
  gridgate attention trained ct.nii.gz MAPS
  gridgate attention trained ct.nii.gz MAPS --checkpoints epoch_0010.pt epoch_0100.pt
  gridgate view ct.nii.gz MAPS/model/*.nii
"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "attention",
        help="a network's attention coefficients over a scan: maps and a picture",
        description="Write what the attention gates of a trained network let pass over a scan: a "
        "map per gate as NIfTI, for gridgate view and other viewers, and attention.png, in which "
        "checkpoints stand side by side. A training keeps checkpoints by --keep_every EPOCHS.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option("bundle", metavar="BUNDLE", help="a trained bundle, such as a training's folder")
    option("scan", metavar="SCAN", help="an image file, or a DICOM folder or zip with one series")
    option("output", metavar="OUTPUT", help="folder for the maps and attention.png")
    option(
        "--checkpoints",
        nargs="+",
        metavar="FILE",
        help="paths, or names in the bundle's models, in the order to show (default: those that "
        "the training kept, and model.pt)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the maps."""
    from ....data.output_folder import OutputFolder
    from ...plans.bundle_folders import bundle_path
    from ...reports.attention_maps import (
        found_checkpoint,
        kept_checkpoints,
        write_attention,
    )
    from ...reports.pictures.scans import find_scan
    from ...reports.viewer.opening import cases_to_show

    bundle = Path(bundle_path(options.bundle))
    given = options.checkpoints
    checkpoints = (
        kept_checkpoints(bundle)
        if given is None
        else [found_checkpoint(bundle, one) for one in given]
    )
    cases = cases_to_show(Path(options.scan), [])
    if len(cases) != 1:
        raise ConfigError(f"{options.scan} holds {len(cases)} scans; give one")
    with OutputFolder(options.output) as output:
        scan = find_scan(cases[0].scan)
        write_attention(bundle, checkpoints, scan, output, name=cases[0].name)
    print(Path(options.output) / "attention.png")
