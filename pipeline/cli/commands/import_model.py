"""`gridgate import-model`."""

from __future__ import annotations

import argparse
from typing import Any

from ..completion import files
from ..console import add_console_options, say_last, silence_handlers_of

_FINAL = "checkpoint_final.pth"
_EPILOG = """examples:
  gridgate import-model Dataset009_Spleen/nnUNetTrainer__nnUNetPlans__3d_fullres spleen
  gridgate import-model RESULTS spleen --folds 0 1 --no-mirroring
  gridgate import-model Dataset291_* Dataset292_* whole --labels names.json --orientation RAS
  gridgate import-model spleen_ct_segmentation spleen     # a bundle of MONAI's model zoo
  gridgate import-model network.onnx liver --plan liver.yaml
  gridgate infer spleen CTS M

nnU-Net's own networks need: pip install 'gridgate[nnunet]'."""


def add(subparsers: Any) -> None:
    """Describe the command."""
    text = "a bundle of a model of nnU-Net, of the model zoo, or of a network's file"
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
        help="a result folder of nnU-Net v2, with plans.json, dataset.json and fold_x (of several "
        "one bundle is made, which runs them one after another and merges their masks); or a "
        "bundle of MONAI's model zoo; or a network in TorchScript (.ts, .pt) or ONNX (.onnx)",
    ).completer = files
    option("output", metavar="OUTPUT", help="new folder; the bundle").completer = files
    option(
        "--labels",
        metavar="FILE",
        help="a JSON of all labels, {name: value} or {value: name} (default: the model's own; of "
        "several, theirs in their order)",
    ).completer = files
    network = command.add_argument_group("of a network's file").add_argument
    network(
        "--plan",
        metavar="FILE",
        help="how scans are prepared for it: a YAML or JSON with labels, spacing, roi_size, "
        "intensity and other settings of a plan, or a bundle that has the same (default: as the "
        "TorchScript says, where MONAI or Gridgate wrote it)",
    ).completer = files
    _add_nnunet(command.add_argument_group("of models of nnU-Net"))
    add_console_options(command)


def _add_nnunet(group: Any) -> None:
    option = group.add_argument
    option("--folds", nargs="+", metavar="FOLD", help="of these folds (default: all, an ensemble)")
    option(
        "--checkpoint",
        metavar="FILE",
        default=_FINAL,
        help=f"the file's name in each fold (default: {_FINAL})",
    )
    option(
        "--orientation",
        metavar="RAS",
        help="turn scans to it before the network sees them (default: as nnU-Net, mostly as "
        "stored)",
    )
    option("--no-mirroring", action="store_true", help="one pass of each window, not up to eight")
    option(
        "--fast-resampling",
        action="store_true",
        help="trilinear, not nnU-Net's splines: less time, and masks that differ along borders",
    )


def run(options: argparse.Namespace) -> None:
    """Write the bundle; print its folder."""
    silence_handlers_of("monai")
    say_last(str(_imported(options)))


def _imported(options: argparse.Namespace) -> Any:
    from ....data.errors import ConfigError
    from ...models.importing.file_model import import_network_file
    from ...models.importing.label_names import read_label_names
    from ...models.importing.network_file import is_network_file
    from ...models.importing.nnunet.model import NnunetOptions, import_nnunet, import_parts
    from ...models.importing.zoo.folder import is_zoo_bundle
    from ...models.importing.zoo.model import import_zoo

    first, output = options.sources[0], options.output
    names = None if options.labels is None else read_label_names(options.labels)
    single = len(options.sources) == 1
    if single and is_network_file(first):
        _refuse_nnunet(options)
        return import_network_file(first, output, settings=options.plan, names=names)
    if options.plan is not None:
        raise ConfigError("--plan: is for a network's file; this model says its own")
    if single and is_zoo_bundle(first):
        _refuse_nnunet(options)
        return import_zoo(first, output, names=names)
    given = NnunetOptions(
        folds=options.folds,
        checkpoint=options.checkpoint,
        orientation=options.orientation,
        mirroring=not options.no_mirroring,
        fast_resampling=options.fast_resampling,
    )
    if not single:
        return import_parts(options.sources, output, given, names=names)
    if names is not None:
        raise ConfigError("--labels: the labels of one model of nnU-Net are its own")
    return import_nnunet(first, output, given)


def _refuse_nnunet(options: argparse.Namespace) -> None:
    from ....data.errors import ConfigError

    given = {
        "--folds": options.folds is not None,
        "--checkpoint": options.checkpoint != _FINAL,
        "--orientation": options.orientation is not None,
        "--no-mirroring": options.no_mirroring,
        "--fast-resampling": options.fast_resampling,
    }
    odd = [name for name, is_given in given.items() if is_given]
    if odd:
        raise ConfigError(f"{', '.join(odd)}: only models of nnU-Net have this")
