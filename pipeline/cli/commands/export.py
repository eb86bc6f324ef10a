"""`gridgate export`."""

from __future__ import annotations

import argparse
from typing import Any

from ..arguments import add_overwrite, may_overwrite, read_settings, refuse_reserved
from ..bundle_run import settings_help
from ..completion import bundle_names, files
from ..console import say_last, silence_handlers_of

EXAMPLES = (
    "gridgate export trained model.ts",
    "gridgate export trained trained/models/model.pt model.onnx",
    "gridgate export trained half.pt",
    "gridgate export phantom_attention_unet old/model.pt model.pt2 --architecture::norm batch",
)
_CONFIG = "inference.yaml"


def add(subparsers: Any) -> None:
    """Describe the command."""
    text = "a trained network as one file: TorchScript, torch.export, ONNX, or float16 weights"
    command = subparsers.add_parser(
        "export",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. A bundle that is not the one that the training "
        "wrote takes the settings that the training took.",
        usage="gridgate export BUNDLE [CHECKPOINT] OUTPUT [--depth D] [--SETTING VALUE ...]",
        epilog="examples:\n" + "\n".join(f"  {line}" for line in EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        takes_settings=True,
        more_help=lambda words: settings_help(_CONFIG, words),
    )
    add = command.add_argument
    add(
        "bundle", metavar="BUNDLE", help="a bundle's name, or its folder; that of a training is one"
    ).completer = bundle_names
    add(
        "checkpoint",
        metavar="CHECKPOINT",
        nargs="?",
        help="model.pt, or the folder of a training; by default the bundle's own weights",
    ).completer = files
    add(
        "output",
        metavar="OUTPUT",
        help="file to write: .ts (MONAI Deploy), .pt2 or .onnx; .pt: the weights in float16",
    ).completer = files
    add(
        "--depth",
        type=int,
        metavar="D",
        help="prune UNet++: only the nodes of its head D are written",
    )
    add_overwrite(command, "OUTPUT (never a .pt)")
    command.set_defaults(config=_CONFIG)


def run(options: argparse.Namespace) -> None:
    """Write the file; print its path."""
    settings = read_settings(options.settings)
    places = "the arguments BUNDLE, CHECKPOINT and OUTPUT"
    refuse_reserved(settings, dict.fromkeys(("bundle_root", "checkpoint", "output_dir"), places))
    from ...models.export import export_bundle
    from ...plans.bundle_folders import bundle_path

    silence_handlers_of("monai")
    folder = bundle_path(options.bundle)
    checkpoint = options.checkpoint or folder
    written = export_bundle(
        folder,
        checkpoint,
        options.output,
        depth=options.depth,
        words=settings,
        overwrite=may_overwrite(options),
    )
    say_last(str(written))
