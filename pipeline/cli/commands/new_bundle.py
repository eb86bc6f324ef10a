"""`gridgate new-bundle`."""

from __future__ import annotations

import argparse
from typing import Any

from ..arguments import parse_overrides


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "new-bundle",
        help="a bundle for any network and dataset",
        epilog="any setting of the plan: --roi_size '[64, 64, 64]' --network::norm instance "
        "--training::epochs 100",
        takes_settings=True,
    )
    command.add_argument("network", metavar="NETWORK", help="a name that `gridgate networks` lists")
    command.add_argument(
        "dataset",
        metavar="DATASET",
        help="a name (btcv, msd_hippocampus, ...) or a YAML file like those of bundles/datasets",
    )
    command.add_argument(
        "--to", metavar="FOLDER", help="new folder; by default DATASET_NETWORK[_2d]"
    )
    command.add_argument(
        "--size",
        choices=("small", "medium", "paper"),
        default="small",
        help="small trains on two CPU cores; paper is the paper's; few networks have a medium one",
    )
    command.add_argument(
        "--spatial-dims",
        type=int,
        choices=(2, 3),
        default=3,
        help="2: the 2D network, slice by slice (default: 3)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the bundle; print its folder."""
    from ...plans.new_bundle import new_bundle

    folder = new_bundle(
        options.network,
        options.dataset,
        options.to,
        size=options.size,
        spatial_dims=options.spatial_dims,
        settings=parse_overrides(options.settings),
    )
    print(folder)
