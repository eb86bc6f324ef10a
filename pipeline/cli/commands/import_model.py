"""`gridgate import-model`."""

from __future__ import annotations

import argparse
from typing import Any

from ..completion import files
from ..console import add_console_options, say_last, silence_handlers_of

_EPILOG = """examples:
  gridgate import-model Dataset009_Spleen/nnUNetTrainer__nnUNetPlans__3d_fullres spleen
  gridgate import-model RESULTS spleen --folds 0 1 --no-mirroring
  gridgate infer spleen CTS M
  gridgate import-model Dataset291_* Dataset292_* whole --labels names.json --orientation RAS

nnU-Net's own networks need: pip install 'gridgate[nnunet]'."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    text = "a bundle of a model that nnU-Net trained"
    command = subparsers.add_parser(
        "import-model",
        help=text,
        description=f"{text[0].upper()}{text[1:]}: its weights, its preprocessing and its windows, "
        "in Gridgate's engine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a result folder of nnU-Net v2, with plans.json, dataset.json and fold_x; of several "
        "one bundle is made, which runs them one after another and merges their masks",
    ).completer = files
    option("output", metavar="OUTPUT", help="new folder; the bundle").completer = files
    option("--folds", nargs="+", metavar="FOLD", help="of these folds (default: all, an ensemble)")
    option(
        "--checkpoint",
        metavar="FILE",
        default="checkpoint_final.pth",
        help="the file's name in each fold (default: checkpoint_final.pth)",
    )
    option(
        "--orientation",
        metavar="RAS",
        help="turn scans to it before the network sees them (default: as nnU-Net, mostly as "
        "stored)",
    )
    option(
        "--labels",
        metavar="FILE",
        help="of several: a JSON of all labels, {name: value} or {value: name} (default: the "
        "parts' own, in their order)",
    ).completer = files
    option("--no-mirroring", action="store_true", help="one pass of each window, not up to eight")
    option(
        "--fast-resampling",
        action="store_true",
        help="trilinear, not nnU-Net's splines: less time, and masks that differ along borders",
    )
    add_console_options(command)


def run(options: argparse.Namespace) -> None:
    """Write the bundle; print its folder."""
    from ....data.errors import ConfigError
    from ...models.importing.label_names import read_label_names
    from ...models.importing.nnunet import NnunetOptions, import_nnunet, import_parts

    silence_handlers_of("monai")
    given = NnunetOptions(
        folds=options.folds,
        checkpoint=options.checkpoint,
        orientation=options.orientation,
        mirroring=not options.no_mirroring,
        fast_resampling=options.fast_resampling,
    )
    names = None if options.labels is None else read_label_names(options.labels)
    if len(options.sources) > 1:
        say_last(str(import_parts(options.sources, options.output, given, names=names)))
        return
    if names is not None:
        raise ConfigError("--labels: the labels of one model are its own; it is for several")
    say_last(str(import_nnunet(options.sources[0], options.output, given)))
