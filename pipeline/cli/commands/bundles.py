"""`gridgate bundles`."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from ....data.errors import ConfigError
from ...plans.bundle_folders import bundle_path, shipped_bundles


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "bundles", help="list the bundles that come with Gridgate, or copy one out"
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
            print(f"{path.name:34s} {json.loads(text)['description']}")
        return
    source = bundle_path(options.copy)
    target = Path(options.to or source.name)
    if target.exists():
        raise ConfigError(f"{target} exists already; give another folder with --to")
    shutil.copytree(source, target)
    print(target)
