"""`gridgate bundles`."""

from __future__ import annotations

import argparse
import json
import shutil
import stat
from pathlib import Path
from typing import Any

from .....data.new_folder import new_folder, refuse_existing
from .....data.sizes import bytes_in_words
from ....plans.bundle_folders import bundle_path, own_weights, shipped_bundles


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "bundles",
        help="list the bundles that come with Gridgate, or copy one out",
        description="List the bundles that come with Gridgate, which of them have weights, and "
        "their size; or copy one out, its weights included. One with weights runs by its name: "
        "gridgate infer NAME CTS MASKS.",
    )
    command.add_argument("--copy", metavar="BUNDLE", help="bundle to copy")
    command.add_argument(
        "--to", metavar="FOLDER", help="new folder for the copy; by default the bundle's name"
    )


def run(options: argparse.Namespace) -> None:
    """List the bundles, or copy one."""
    if options.copy is None:
        for path in shipped_bundles():
            text = (path / "configs" / "metadata.json").read_text(encoding="utf-8")
            print(f"{path.name:34s} {_weights(path):16s} {json.loads(text)['description']}")
        return
    source = bundle_path(options.copy)
    target = Path(options.to or source.name)
    refuse_existing(target, "give another folder with --to")
    with new_folder(target) as work:
        shutil.copytree(source, work, dirs_exist_ok=True)
        for path in (work, *work.rglob("*")):  # where the package is read-only, the copy is not
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    print(target)


def _weights(bundle: Path) -> str:
    path = own_weights(bundle)
    return "no weights" if path is None else f"weights {bytes_in_words(path.stat().st_size)}"
