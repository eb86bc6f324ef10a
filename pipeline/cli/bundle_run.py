"""What train, evaluate and infer share: a bundle's workflow with settings of its config."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import read_settings, refuse_reserved


def add_bundle_run(
    subparsers: Any, name: str, text: str, *, source: tuple[str, str]
) -> argparse.ArgumentParser:
    """A command `name BUNDLE SOURCE OUTPUT [--SETTING VALUE ...]`.

    Args:
        source: name and description of the second argument.
    """
    command: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=text,
        epilog="any setting of the config: --SETTING VALUE, such as --num_workers 2",
        takes_settings=True,
    )
    command.add_argument(
        "bundle", metavar="BUNDLE", help="a bundle's name (see: gridgate bundles) or folder"
    )
    command.add_argument("source", metavar=source[0], help=source[1])
    command.add_argument("output", metavar="OUTPUT", help="folder to write to")
    return command


def run_bundle(options: argparse.Namespace, config: str, run_id: str, source_id: str) -> None:
    """Run a bundle's workflow on the options of a command made by `add_bundle_run`.

    Raises:
        GridgateError: whatever the user can mend.
    """
    settings = read_settings(options.settings)
    command = f"`gridgate {options.command}`"
    here = "the arguments BUNDLE, " + ("DATASET" if source_id == "dataset_dir" else "SCANS")
    refuse_reserved(
        settings,
        {
            "run_id": f"{command}; use python -m monai.bundle run",
            "config_file": f"{command}; use python -m monai.bundle run",
            "bundle_root": f"{here} and OUTPUT",
            source_id: f"{here} and OUTPUT",
            "output_dir": f"{here} and OUTPUT",
        },
    )
    from ..plans.bundle_folders import bundle_path
    from ..workflow import BundleRun

    words = {source_id: options.source, "output_dir": options.output, **settings}
    workflow = BundleRun(bundle_path(options.bundle), config, run_id, words)
    workflow.initialize()
    workflow.run()
    workflow.finalize()
