"""`gridgate networks`."""

from __future__ import annotations

import argparse
from typing import Any

from .....data.errors import ConfigError
from ...arguments import add_overwrite, may_overwrite, parse_overrides


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "networks", help="what each network costs: parameters, GFLOPs, memory, seconds"
    )
    option = command.add_argument
    option("names", nargs="*", metavar="NAME", help="networks to look at (default: all)")
    option("--window", nargs="+", type=int, metavar="N", help="voxels, one number or one per axis")
    option("--spatial-dims", type=int, choices=(2, 3), default=3)
    option("--channels", type=int, default=1, help="of the input (default: 1)")
    option("--classes", type=int, default=14, help="with the background (default: 14)")
    option("--batch", type=int, default=1, help="windows at once, when measuring (default: 1)")
    option("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    yes_or_no = argparse.BooleanOptionalAction
    option("--measure", action=yes_or_no, default=True, help="run the networks")
    option("--training", action=yes_or_no, default=True, help="run a training step of each, too")
    option("--timeout", type=float, default=1800.0, metavar="S", help="seconds for a network")
    option(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the networks; may come again",
    )
    option("--csv", metavar="FILE", help="where to write the table")
    add_overwrite(command, "the table")


def run(options: argparse.Namespace) -> None:
    """Print the table, as each network is done."""
    from ....costs.costs import WINDOWS, CostSettings, network_costs

    dims = options.spatial_dims
    window = tuple(options.window or WINDOWS[dims])
    if len(window) == 1:
        window *= dims
    if len(window) != dims:
        raise ConfigError(f"--window has {len(window)} numbers for {dims} spatial axes")
    settings = CostSettings(
        window=window,
        in_channels=options.channels,
        classes=options.classes,
        batch=options.batch,
        device=options.device,
        measured=options.measure,
        training=options.training,
        timeout=options.timeout,
        options=parse_overrides([f"--{setting}" for setting in options.set]),
    )
    rows = network_costs(
        options.names, settings, table=options.csv, overwrite=may_overwrite(options)
    )
    if all(row["parameters"] is None for row in rows):
        raise ConfigError("no network could be counted; the table says why")
