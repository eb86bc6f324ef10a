"""`gridgate quantise`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..arguments import read_settings, refuse_reserved
from ..bundle_run import settings_help
from ..completion import bundle_names, files
from ..console import add_console_options, say_last, silence_handlers_of

EXAMPLES = (
    "gridgate quantise trained dataset fast",
    "gridgate quantise trained dataset fast --fold 1 --windows 64",
    "gridgate quantise head_neck_attention_unet others fast --part all",
    "gridgate infer fast scans masks --engine int8",
)
_CONFIG = "evaluate.yaml"


def add(subparsers: Any) -> None:
    """Describe the command."""
    text = "a copy of a bundle that computes in 8 bits too, where that costs no Dice"
    command = subparsers.add_parser(
        "quantise",
        help=text,
        usage="gridgate quantise BUNDLE DATASET OUTPUT [--windows N] [--SETTING VALUE ...]",
        description=f"{text[0].upper()}{text[1:]}: for --engine int8, on CPUs. Dice of each label "
        "is measured in float32 and in INT8 on the fold's validation cases; where one changes by "
        "more than 0.002 nothing is written. Needs: pip install 'gridgate[int8]'.",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
        more_help=lambda words: settings_help(_CONFIG, words),
    )
    option = command.add_argument
    option(
        "bundle", metavar="BUNDLE", help="a bundle's name, or its folder"
    ).completer = bundle_names
    option("dataset", metavar="DATASET", help="the dataset folder").completer = files
    option("output", metavar="OUTPUT", help="new folder; the bundle's copy").completer = files
    option(
        "--windows",
        type=int,
        default=32,
        metavar="N",
        help="of training cases, by which ranges of numbers are chosen (default: 32)",
    )
    add_console_options(command)
    command.set_defaults(config=_CONFIG)


def run(options: argparse.Namespace) -> None:
    """Write the bundle; print what INT8 costs, and its folder."""
    settings = read_settings(options.settings)
    here = "the arguments BUNDLE, DATASET and OUTPUT"
    decided = dict.fromkeys(
        ("engine", "device", "load_pretrain", "roi_size", "shard", "ray"), "`gridgate quantise`"
    )
    refuse_reserved(
        settings,
        {
            **decided,
            **dict.fromkeys(("bundle_root", "dataset_dir", "output_dir", "checkpoint"), here),
        },
    )
    from ...plans.bundle_folders import bundle_path
    from ...quantising.quantise import quantise_bundle

    silence_handlers_of("monai")
    found = quantise_bundle(
        bundle_path(options.bundle),
        Path(options.dataset),
        Path(options.output),
        windows=options.windows,
        words=settings,
    )
    print("\n".join(found.lines()))
    say_last(str(found.folder))
