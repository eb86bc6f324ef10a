"""`gridgate fit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..arguments import parse_overrides
from ..console import add_console_options, say_last, silence_handlers_of

_EPILOG = """examples:
  gridgate fit dataset fitted --time 1h
  gridgate fit dataset fitted --time 8h --networks attention_unet unet_plus_plus
  gridgate fit dataset fitted --iterations 2000 --folds 3 --deterministic
  gridgate plan dataset --to planned && gridgate fit dataset again --plans planned --deterministic

The same command goes on where it was stopped. In the end `fitted` is a bundle: gridgate infer
fitted CTS MASKS. Any setting of the plan is taken as it is given, as by gridgate plan."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "fit",
        help="from a dataset to a cross-validated bundle, in the time that there is",
        description="Check a dataset, plan, train and evaluate each fold, choose the "
        "post-processing, and put the folds' networks together as one bundle.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
    )
    option = command.add_argument
    option("dataset", metavar="DATASET", help="the dataset folder")
    option("output", metavar="OUTPUT", help="folder for everything; it becomes the bundle")
    option("--time", metavar="T", default="1h", help="for everything: 20m, 1h or 2d (default: 1h)")
    option(
        "--folds", type=int, metavar="N", help="default: the dataset's own (splits.json), else 5"
    )
    option(
        "--networks",
        nargs="+",
        metavar="NAME",
        help="candidates, of which the best is taken; decided if not given",
    )
    option(
        "--plans",
        nargs="+",
        metavar="BUNDLE",
        help="bundles that gridgate plan wrote, in the place of --networks",
    )
    option("--iterations", type=int, metavar="N", help="of each training, whatever the time")
    option("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    option("--memory", metavar="M", help="for a training, such as 16GB (default: what is here)")
    option("--seed", type=int, default=0, help="of each training's draws (default: 0)")
    option(
        "--deterministic",
        action="store_true",
        help="the same weights from the same plan and lengths, however often it is stopped; slower "
        "on a GPU",
    )
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Fit."""
    from ...fitting.cases import usual_folds
    from ...fitting.fit import fit
    from ...fitting.request import FitRequest
    from ...planning.measures.machine import parse_time

    silence_handlers_of("monai")
    request = FitRequest.of(
        parse_overrides(options.settings),
        dataset=Path(options.dataset),
        seconds=parse_time(options.time),
        folds=usual_folds(Path(options.dataset)) if options.folds is None else options.folds,
        networks=options.networks or (None,),
        plans=[Path(bundle) for bundle in options.plans or ()],
        device=options.device,
        memory=options.memory,
        iterations=options.iterations,
        deterministic=options.deterministic,
        seed=options.seed,
    )
    say_last(str(fit(request, options.output)))
