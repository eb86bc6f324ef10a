"""`gridgate export`."""

from __future__ import annotations

import argparse
from typing import Any


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "export", help="a trained network as one file: TorchScript, torch.export or ONNX"
    )
    command.add_argument("bundle", metavar="BUNDLE")
    command.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="model.pt, or the folder of a training"
    )
    command.add_argument(
        "output", metavar="OUTPUT", help="file to write: .ts (MONAI Deploy), .pt2 or .onnx"
    )
    command.add_argument(
        "--depth",
        type=int,
        metavar="D",
        help="prune UNet++: only the nodes of its head D are written",
    )


def run(options: argparse.Namespace) -> None:
    """Write the file; print its path."""
    from ...models.export import export_bundle
    from ...plans.bundle_folders import bundle_path

    folder = bundle_path(options.bundle)
    print(export_bundle(folder, options.checkpoint, options.output, depth=options.depth))
