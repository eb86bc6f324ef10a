"""The command line of inference.py."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from contestants import ours

HERE = Path(__file__).resolve().parent


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """The options of inference.py."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(given=sys.argv[1:])
    scan = parser.add_argument_group("scan")
    scan.add_argument("--scan", metavar="FILE", help="a CT in HU; default: a phantom")
    scan.add_argument(
        "--shape", type=int, nargs=3, default=[488, 404, 269], help="of the phantom, in voxels"
    )
    scan.add_argument(
        "--spacing", type=float, nargs=3, default=[0.75, 0.75, 1.25], help="of the phantom, in mm"
    )
    _add_network(parser.add_argument_group("network"))
    _add_run(parser.add_argument_group("run"))
    return parser


def _add_network(network: argparse._ArgumentGroup) -> None:
    network.add_argument(
        "--classes", type=int, default=14, help="outputs, background among them; 7 or more"
    )
    network.add_argument(
        "--random-weights", action="store_true", help="masks are noise: the worst case for all"
    )
    network.add_argument(
        "--iterations",
        type=int,
        default=600,
        help="of the training (ten minutes on two cores, once)",
    )


def _add_run(run: argparse._ArgumentGroup) -> None:
    run.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    run.add_argument(
        "--contestants",
        nargs="+",
        choices=["ours", "zoo", "nnunet"],
        default=["zoo", "nnunet", "ours"],
    )
    run.add_argument(
        "--variants", nargs="+", choices=list(ours.VARIANTS), help="of ours; default: all"
    )
    run.add_argument(
        "--batch", type=int, default=4, help="windows a forward pass of the model zoo's chain"
    )
    run.add_argument(
        "--zoo-logits", action="store_true", help="also run the chain without its softmax"
    )
    run.add_argument(
        "--nnunet-python", default=sys.executable, help="interpreter that has nnunetv2"
    )
    run.add_argument(
        "--nnunet-network",
        choices=["shared", "plain"],
        default="shared",
        help="see contestants/nnunet_predictor.py",
    )
    run.add_argument(
        "--warm-only",
        action="store_true",
        help="ours: no run in a fresh process beside the warm one",
    )
    run.add_argument("--repeats", type=int, default=1, help="runs of each; the median is shown")
    run.add_argument(
        "--memory-limit-gb",
        type=float,
        help="a contestant that needs more is stopped; default: what is free",
    )
    run.add_argument("--time-limit-s", type=float, default=3600.0)
    run.add_argument(
        "--work",
        default=str(Path(tempfile.gettempdir()) / "gridgate-benchmarks"),
        help="cache and masks",
    )
    run.add_argument("--results", default=str(HERE / "results"))
    run.add_argument("--name", help="of the results' files")
