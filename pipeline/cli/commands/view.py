"""`gridgate view`."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path
from typing import Any

_EPILOG = """examples:
  gridgate view ct.nii.gz mask.nii.gz other_mask.nii.gz
  gridgate view masks                      # of `gridgate infer`: its page, a button per case
  gridgate view scores --dataset dataset   # of `gridgate evaluate`, with the truth
  gridgate view dataset --case liver_003   # labelled scans
"""


def add(subparsers: Any) -> None:
    """Describe the command."""
    command = subparsers.add_parser(
        "view",
        help="look at scans and masks in the browser: three planes and 3D",
        description="Show scans and masks in the browser: three planes and 3D, labels with names "
        "and colours, several masks to compare, keys as in ITK-SNAP. The page comes from this "
        "machine, is seen on this machine only, and asks for nothing elsewhere. The command ends "
        "when the page is closed.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = command.add_argument
    option(
        "what",
        metavar="CASE",
        help="a scan, a DICOM folder or zip, a run's output folder, a dataset, a folder of scans",
    )
    option("masks", nargs="*", metavar="MASK", help="label maps over the one scan")
    option("--case", metavar="ID", help="of a folder: the case to begin with")
    option("--dataset", metavar="DATASET", help="of a run's folder: its labels are the truth")
    option("--port", type=int, default=0, help="to listen on, on 127.0.0.1 (default: a free one)")
    option("--no-browser", action="store_true", help="print the address, open nothing")


def run(options: argparse.Namespace) -> None:
    """View."""
    from ...reports.viewer.opening import cases_to_show, chosen, page_of
    from ...reports.viewer.server import Viewer

    what = Path(options.what)
    dataset = None if options.dataset is None else Path(options.dataset)
    found = cases_to_show(what, [Path(mask) for mask in options.masks], dataset=dataset)
    report = page_of(what) if options.case is None else None
    viewer = Viewer(chosen(found, options.case), report=report, port=options.port)

    def ready(url: str) -> None:
        opened = not options.no_browser and webbrowser.open(url)
        if opened:
            print(f"{url}\nends when the page is closed, or by Ctrl-C", flush=True)
            return
        print(
            f"{url}\nOpen it in a browser on this machine; from another one through `ssh -L "
            f"{viewer.port}:127.0.0.1:{viewer.port} HOST`. It ends when the page is closed, or by "
            "Ctrl-C.",
            flush=True,
        )

    viewer.serve(ready)
