"""`gridgate export-dataset`."""

from __future__ import annotations

import argparse
from typing import Any

from ...console import add_console_options, say_last


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "export-dataset",
        help="a dataset for another tool: nnU-Net v2's raw layout, with our folds",
        epilog="nnU-Net looks for the folds in nnUNet_preprocessed: after "
        "nnUNetv2_plan_and_preprocess, copy splits_final.json there",
    )
    command.add_argument("dataset", metavar="D", help="the dataset folder")
    command.add_argument(
        "--nnunet",
        metavar="OUT",
        required=True,
        help="such as nnUNet_raw/Dataset501_Liver; any other folder gets a sub-folder of that form",
    )
    command.add_argument("--folds", type=int, default=5, help="where D has none (default: 5)")
    command.add_argument("--split_seed", type=int, default=0, help="of the folds that are made")
    command.add_argument("--splits", metavar="FILE", help="a file of folds to take instead")
    command.add_argument("--copy", action="store_true", help="copies in the place of links")
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Export; print the folder."""
    from .....data.datasets.sources.nnunet_export import export_nnunet

    folder = export_nnunet(
        options.dataset,
        options.nnunet,
        folds=options.folds,
        split_seed=options.split_seed,
        splits=options.splits,
        copy=options.copy,
    )
    say_last(str(folder))
