"""The `gridgate` command: short forms of the bundles' workflows, and the rest."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from ...data.errors import ConfigError, GridgateError
from ..plans.bundle_folders import bundle_path, shipped_bundles
from ..process_settings import set_up_process

_WORKFLOWS = {
    "train": ("training", "train.yaml", "dataset_dir"),
    "evaluate": ("evaluating", "evaluate.yaml", "dataset_dir"),
    "infer": ("inferring", "inference.yaml", "input_dir"),
}


_EXPONENT = re.compile(
    r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"
)  # for YAML 1.1 1e-3 is text, only 1.0e-3 a number


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; the exit code is 0, or 1 after an error that is the user's to mend."""
    set_up_process()
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command not in (*_WORKFLOWS, "new-bundle"):
        parser.error(f"unknown arguments: {' '.join(rest)}")
    try:
        options.function(options, rest)
    except GridgateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        from ...data.errors import user_error

        ours = user_error(error)
        if ours is None:
            raise
        print(f"error: {ours}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; start the same command again to go on", file=sys.stderr)
        return 130
    return 0


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """`--id value` and `--id=value` pairs of a command line; values are read as YAML.

    Raises:
        ConfigError: a value without an id, an id without a value, or a value that is no YAML.
    """
    overrides: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if not word.startswith("--") or len(word) == 2:
            raise ConfigError(f"{word!r}: expected --SETTING VALUE")
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise ConfigError(f"--{name} lacks its value")
        overrides[name] = _value(name, value)
    return overrides


def _value(name: str, text: str) -> Any:
    if text.startswith(("$", "@", "%")):
        return text
    if _EXPONENT.fullmatch(text):
        return float(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"--{name} {text}: cannot be read as YAML ({' '.join(str(error).split())})"
        ) from error


def _workflow(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from monai.bundle import run

    run_id, config, source = _WORKFLOWS[options.command]
    folder = bundle_path(options.bundle)
    settings = parse_overrides(rest)
    for reserved in {"run_id", "config_file"} & settings.keys():
        raise ConfigError(
            f"--{reserved} is decided by `gridgate {options.command}`; use python -m monai.bundle "
            "run"
        )
    overrides = {"bundle_root": str(folder), source: options.source, "output_dir": options.output}
    run(run_id=run_id, config_file=str(folder / "configs" / config), **(overrides | settings))


def _bundles(options: argparse.Namespace, rest: Sequence[str]) -> None:
    import json
    import shutil

    if options.copy is None:
        for path in shipped_bundles():
            described = json.loads((path / "configs" / "metadata.json").read_text())["description"]
            print(f"{path.name:34s} {described}")
        return
    source, target = bundle_path(options.copy), Path(options.to or options.copy)
    if target.exists():
        raise ConfigError(f"{target} exists already; give another folder with --to")
    shutil.copytree(source, target)
    print(f"{target}")


def _new_bundle(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from ..plans.new_bundle import (
        new_bundle,  # the only step up: the command line serves every room
    )

    folder = new_bundle(
        options.network,
        options.dataset,
        options.to,
        size=options.size,
        spatial_dims=options.spatial_dims,
        settings=parse_overrides(rest),
    )
    print(folder)


def _phantom(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from ...data.phantom.dataset import write_phantom_dataset

    print(write_phantom_dataset(options.folder, cases=options.cases, seed=options.seed))


def _export(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from ..models.export import export_bundle

    print(
        export_bundle(
            bundle_path(options.bundle), options.checkpoint, options.output, depth=options.depth
        )
    )


def _networks(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from ..costs.costs import WINDOWS, CostSettings, network_costs

    window = tuple(options.window or WINDOWS[options.spatial_dims])
    if len(window) == 1:
        window *= options.spatial_dims
    if len(window) != options.spatial_dims:
        raise ConfigError(
            f"--window has {len(window)} numbers for {options.spatial_dims} spatial axes"
        )
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
    rows = network_costs(options.names, settings, table=options.csv)
    if all(row["parameters"] is None for row in rows):
        raise ConfigError("no network could be counted; the table says why")


def _demo(options: argparse.Namespace, rest: Sequence[str]) -> None:
    from .demo import run_demo

    run_demo(options.folder)


def _version() -> str:
    try:
        return version("gridgate")
    except PackageNotFoundError:  # a checkout on the path, not installed
        return "(not installed)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gridgate", description="3D CT segmentation by MONAI bundles."
    )
    parser.add_argument("--version", action="version", version=f"gridgate {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    texts = {
        "train": (
            "train a bundle on a dataset folder",
            "DATASET",
            "folder with dataset.json, imagesTr, labelsTr",
        ),
        "evaluate": (
            "measure a checkpoint on a fold's validation cases",
            "DATASET",
            "the dataset folder",
        ),
        "infer": (
            "a mask for each scan of a folder",
            "SCANS",
            "a file, a folder, a .txt or .csv list, a DICOM folder, or a .zip of DICOM",
        ),
    }
    for name, (text, source, about) in texts.items():
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog="any setting of the config: --SETTING VALUE, such as --fold 1",
        )
        command.add_argument(
            "bundle", metavar="BUNDLE", help="a bundle's name (see: gridgate bundles) or folder"
        )
        command.add_argument("source", metavar=source, help=about)
        command.add_argument("output", metavar="OUTPUT", help="folder to write to")
        command.set_defaults(function=_workflow)

    command = commands.add_parser(
        "bundles", help="list the bundles that come with Gridgate, or copy one out"
    )
    command.add_argument("--copy", metavar="BUNDLE", help="bundle to copy")
    command.add_argument(
        "--to", metavar="FOLDER", help="new folder for the copy; by default the bundle's name"
    )
    command.set_defaults(function=_bundles)

    command = commands.add_parser(
        "new-bundle",
        help="a bundle for any network and dataset",
        epilog="any setting of the plan: --roi_size '[64, 64, 64]' --network::norm instance --training::epochs 100",
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
        choices=("small", "paper"),
        default="small",
        help="small trains on two CPU cores; paper is the paper's",
    )
    command.add_argument(
        "--spatial-dims",
        type=int,
        choices=(2, 3),
        default=3,
        help="2: the 2D network, slice by slice (default: 3)",
    )
    command.set_defaults(function=_new_bundle)

    command = commands.add_parser("phantom", help="write a dataset of synthetic abdominal CTs")
    command.add_argument("folder", metavar="FOLDER")
    command.add_argument("--cases", type=int, default=20)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(function=_phantom)

    command = commands.add_parser(
        "export", help="a trained network as one file: TorchScript, torch.export or ONNX"
    )
    command.add_argument("bundle", metavar="BUNDLE")
    command.add_argument("checkpoint", metavar="CHECKPOINT", help="model.pt")
    command.add_argument(
        "output", metavar="OUTPUT", help="file to write: .ts (MONAI Deploy), .pt2 or .onnx"
    )
    command.add_argument(
        "--depth",
        type=int,
        metavar="D",
        help="prune UNet++: only the nodes of its head D are written",
    )
    command.set_defaults(function=_export)

    command = commands.add_parser(
        "networks", help="what each network costs: parameters, GFLOPs, memory, seconds"
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME", help="networks to look at (default: all)"
    )
    command.add_argument(
        "--window", nargs="+", type=int, metavar="N", help="voxels, one number or one an axis"
    )
    command.add_argument("--spatial-dims", type=int, choices=(2, 3), default=3)
    command.add_argument("--channels", type=int, default=1, help="of the input (default: 1)")
    command.add_argument(
        "--classes", type=int, default=14, help="with the background (default: 14)"
    )
    command.add_argument(
        "--batch", type=int, default=1, help="windows at once, when measuring (default: 1)"
    )
    command.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    command.add_argument(
        "--measure", action=argparse.BooleanOptionalAction, default=True, help="run the networks"
    )
    command.add_argument(
        "--training",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="run a training step of each, too",
    )
    command.add_argument(
        "--timeout", type=float, default=1800.0, metavar="S", help="seconds for a network"
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the networks; may come again",
    )
    command.add_argument("--csv", metavar="FILE", help="where to write the table")
    command.set_defaults(function=_networks)

    command = commands.add_parser(
        "demo", help="phantoms, training, evaluation, masks and a report, in minutes"
    )
    command.add_argument("--folder", default="demo", help="where to write (default: ./demo)")
    command.set_defaults(function=_demo)
    return parser


if __name__ == "__main__":
    sys.exit(main())
