"""`gridgate losses`."""

from __future__ import annotations

import argparse
from typing import Any

from .....data.errors import ConfigError


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "losses",
        help="list the losses of training: formula, when to use it, source",
        description="List the losses of training by family, with formula, use and source; of those "
        "that are named their options with the defaults as well. p is a label's probability at a "
        "voxel, y is 1 where it is the label, else 0. A bundle is trained with one by gridgate "
        "train B D O --train::loss::name NAME, and an option by --train::loss::OPTION VALUE.",
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="losses (default: all)")


def run(options: argparse.Namespace) -> None:
    """Print the losses."""
    from ....training.losses.catalogue import FAMILIES, LOSSES

    for name in options.names:
        if name not in LOSSES:
            raise ConfigError(f"no loss is named {name!r}; there are: {', '.join(LOSSES)}")
    for family in FAMILIES:
        chosen = [
            name
            for name, loss in LOSSES.items()
            if loss.family == family and (not options.names or name in options.names)
        ]
        if chosen:
            print(f"{family}:")
        for name in chosen:
            loss = LOSSES[name]
            print(f"  {name}")
            for word, text in (("formula", loss.formula), ("use", loss.use), ("from", loss.source)):
                print(f"    {word:8s} {text}")
            if options.names:
                print("    options  " + _options(loss.options))


def _options(options: dict[str, Any]) -> str:
    given = {name: value for name, value in options.items() if name != "sigmoid"}
    return ", ".join(f"{name} {_value(value)}" for name, value in given.items()) or "none"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
