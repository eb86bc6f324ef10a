"""A copy of a bundle whose network is there in INT8 too, where that costs no Dice."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...data.errors import ConfigError
from ...data.new_folder import new_folder, refuse_existing
from ...networks.network_file import is_float32_only
from ..fitting.workflows import evaluate
from ..inference.sliding_window import SlidingWindow
from ..models.engines.by_int8 import FOLDER, Int8Facts
from ..models.engines.choice import seconds_per_window
from ..models.engines.engine import INT8, TORCH, make_engine, usable
from ..models.engines.network_key import weights_key
from ..models.engines.window_network import WindowKind
from ..models.run_weights import with_weights
from ..plans.bundle_folders import own_weights
from ..workflow import BundleRun
from .calibration import calibration_windows
from .comparison import Comparison, compare
from .convert import convert_to_int8, made_with, refuse_missing

logger = logging.getLogger("gridgate.quantise")

MOST = 0.002
"""By how much a label's mean Dice may change."""
WINDOWS = 32
_README = Path("docs") / "README.md"


@dataclass(frozen=True)
class Quantised:
    """What was made.

    Args:
        folder: the bundle.
        comparison: of Dice.
        seconds: of a window on this machine, by engine.
    """

    folder: Path
    comparison: Comparison
    seconds: Mapping[str, float]

    def lines(self) -> list[str]:
        """What it costs and brings, as Markdown."""
        best = min(spent for name, spent in self.seconds.items() if name != INT8)
        told = ", ".join(f"{name} {spent:.3g} s" for name, spent in self.seconds.items())
        return [
            *self.comparison.lines(),
            "",
            f"Mean Dice over {self.comparison.cases} cases. A window takes {told}: "
            f"{best / self.seconds[INT8]:.2f} times as fast as the fastest of the others.",
        ]


def quantise_bundle(
    bundle: Path,
    dataset: Path,
    output: Path,
    *,
    windows: int = WINDOWS,
    words: Mapping[str, str] | None = None,
) -> Quantised:
    """Write a copy of a bundle with its network in INT8 beside its weights, for `--engine int8`.

    Ranges are those of windows of the fold's training cases; Dice is measured on its validation
    cases, in float32 and in INT8.

    Args:
        dataset: with labels.
        output: a new folder.
        windows: for the ranges.
        words: settings of the bundle's evaluate.yaml, id -> text, such as the fold.

    Raises:
        ConfigError: a package is missing; several networks, or one that NNCF does not know; a
            label's Dice changes by more than MOST: nothing is written then.
        DatasetError: a case cannot be read or measured.
    """
    refuse_missing()
    refuse_existing(output)
    if windows < 1:
        raise ConfigError(f"--windows {windows}: 1 or more are wanted")
    given = {"device": "cpu", **(words or {})}
    with tempfile.TemporaryDirectory(prefix="gridgate-") as work, new_folder(output) as made:
        network, kind, crops = _network_and_windows(bundle, dataset, Path(work), windows, given)
        _copy(bundle, made)
        logger.info(f"{len(crops)} windows run in float32, for the ranges of INT8")
        convert_to_int8(network, kind, crops, made / FOLDER)
        facts = Int8Facts(kind.shape, weights_key(network), made_with=made_with())
        facts.write(made / FOLDER)
        seconds = _seconds(network, kind, made / FOLDER)
        comparison = _compare(bundle, made, dataset, Path(work), given)
        found = Quantised(output, comparison, seconds)
        _refuse_worse(comparison, output)
        replace(facts, cases=comparison.cases, dice=comparison.dice, seconds=seconds).write(
            made / FOLDER
        )
        _tell(found, made / _README)
    return found


def _network_and_windows(
    bundle: Path, dataset: Path, work: Path, count: int, words: Mapping[str, str]
) -> tuple[torch.nn.Module, WindowKind, list[torch.Tensor]]:
    words = {**words, "dataset_dir": str(dataset), "output_dir": str(work / "none")}
    run = BundleRun(bundle, "evaluate.yaml", "evaluating", words)
    run.check()
    parser = run.parser
    inferer = parser.get_parsed_content("inferer")
    if not isinstance(inferer, SlidingWindow):
        raise ConfigError(f"{bundle}: INT8 is made of one network with sliding windows")
    if "int8" not in parser["inferer"]:
        raise ConfigError(
            f"{bundle}: its configs are of an earlier version, which knows no INT8; make the "
            "bundle again, with the same weights"
        )
    plan = parser.get_parsed_content("plan")
    weights = parser.get_parsed_content("checkpoint")
    network = with_weights(parser.get_parsed_content("network_def"), weights, plan).eval()
    if is_float32_only(network):
        raise ConfigError(f"{bundle}: its network is a file, which its own library runs")
    crops = calibration_windows(parser, str(dataset), count)
    kind = WindowKind(tuple(crops[0].shape), None, torch.device("cpu"), torch.get_num_threads())
    return network, kind, crops


def _copy(bundle: Path, made: Path) -> None:
    """The bundle's configs, docs, records and weights; not a training's other files."""
    for name in ("configs", "docs"):
        if (bundle / name).is_dir():
            shutil.copytree(bundle / name, made / name)
    for file in [bundle / "LICENSE", *sorted(bundle.glob("*.json"))]:
        if file.is_file():
            shutil.copyfile(file, made / file.name)
    weights = own_weights(bundle)
    assert weights is not None, "they were loaded"
    (made / "models").mkdir()
    shutil.copyfile(weights, made / "models" / weights.name)


def _seconds(network: torch.nn.Module, kind: WindowKind, folder: Path) -> dict[str, float]:
    """What a window takes here, by each engine."""
    made = {name: partial(make_engine, name, network, kind) for name in (TORCH, *usable(kind))}
    made[INT8] = partial(make_engine, INT8, network, kind, int8=folder)
    found = {}
    for name, make in made.items():
        try:
            found[name] = seconds_per_window(make(), kind)
        except ConfigError as error:
            if name == INT8:
                raise
            logger.info(str(error))
    return found


def _compare(
    bundle: Path, made: Path, dataset: Path, work: Path, words: Mapping[str, str]
) -> Comparison:
    """Both evaluated on the same cases."""
    logger.info("the cases in float32")
    evaluate(bundle, dataset, work / "float32", {**words, "amp": "false"})
    logger.info("the same cases in INT8")
    of_the_copy: dict[str, Any] = {**words, "engine": INT8}
    evaluate(made, dataset, work / "int8", of_the_copy)
    return compare(work / "float32", work / "int8")


def _refuse_worse(comparison: Comparison, output: Path) -> None:
    if comparison.most <= MOST:
        return
    worse = {
        label: one["int8"] - one["float32"]
        for label, one in comparison.dice.items()
        if abs(one["int8"] - one["float32"]) > MOST
    }
    told = ", ".join(f"{label} {change:+.4f}" for label, change in worse.items())
    raise ConfigError(
        f"{output}: not written, as in INT8 Dice changes by more than {MOST}: {told} (mean over "
        f"{comparison.cases} cases). More --windows, or more cases to measure it on, may help; "
        "--engine auto is fast without it"
    )


def _tell(found: Quantised, readme: Path) -> None:
    """A section of the bundle's page."""
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    lines = ["", "## INT8", "", "`--engine int8` computes in 8 bits, on CPUs.", "", *found.lines()]
    readme.parent.mkdir(exist_ok=True)
    readme.write_text(text.rstrip() + "\n" + "\n".join(lines) + "\n", encoding="utf-8")
