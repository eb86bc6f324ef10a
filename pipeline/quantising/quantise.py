"""A copy of a bundle whose network is there in INT8 too, where that costs no Dice."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from ...data.errors import ConfigError
from ...data.new_folder import new_folder, refuse_existing
from ...networks.network_file import is_float32_only
from ..batch.evaluator import CasesFailedError
from ..evaluation.run import prepare_evaluation
from ..fitting.workflows import evaluate
from ..inference.sliding_window import SlidingWindow
from ..models.devices import autocast_dtype
from ..models.engines.by_int8 import FOLDER, Int8Facts
from ..models.engines.choice import seconds_per_window
from ..models.engines.engine import INT8, TORCH, make_engine, usable
from ..models.engines.network_key import weights_key
from ..models.engines.window_network import WindowKind
from ..models.run_weights import with_weights
from ..plans.bundle_folders import own_weights
from ..workflow import BundleRun
from .calibration import calibration_windows
from .comparison import Comparison, compare, refuse_failed
from .convert import SCHEMES, convert_to_int8, made_with, refuse_missing
from .copying import copy_bundle, tell_on_page

logger = logging.getLogger("gridgate.quantise")

MOST = 0.002
"""By how much a label's mean Dice may change."""
WINDOWS = 32


@dataclass(frozen=True)
class Quantised:
    """What was made.

    Args:
        folder: the bundle.
        comparison: of Dice.
        seconds: of a window on this machine, by engine and format, INT8 the last.
    """

    folder: Path
    comparison: Comparison
    seconds: Mapping[str, float]

    def lines(self) -> list[str]:
        """What it costs and brings, as Markdown."""
        *others, int8 = self.seconds.values()
        told = ", ".join(f"{name} {spent:.3g} s" for name, spent in self.seconds.items())
        said = f"Mean Dice over {self.comparison.cases} cases. A window takes {told}"
        if others:
            times = min(others) / int8
            said += f": INT8 is {times:.2f} times as fast as the fastest of the others"
        return [*self.comparison.lines(), "", f"{said}."]


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
    cases, in float32 and in INT8. Of several schemes the first is taken that costs no Dice.

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
    with tempfile.TemporaryDirectory(prefix="gridgate-") as name, new_folder(output) as made:
        work = Path(name)
        parser = _checked(bundle, dataset, work / "none", given)
        network = _network(bundle, parser)
        crops = calibration_windows(parser, str(dataset), windows)
        kind = WindowKind(tuple(crops[0].shape), None, torch.device("cpu"), torch.get_num_threads())
        copy_bundle(bundle, made)
        logger.info("the cases in float32")
        _evaluate(bundle, dataset, work / "float32", {**given, "amp": "false"})
        tried: list[Comparison] = []
        for scheme in SCHEMES:
            logger.info(f"{len(crops)} windows run, for the ranges of INT8 ({scheme})")
            convert_to_int8(network, kind, crops, made / FOLDER, scheme)
            facts = Int8Facts(
                kind.shape, weights_key(network), scheme, settings=given, made_with=made_with()
            )
            facts.write(made / FOLDER)
            logger.info(f"the same cases in INT8 ({scheme})")
            _evaluate(made, dataset, work / scheme, {**given, "engine": INT8})
            tried.append(compare(work / "float32", work / scheme))
            if tried[-1].most <= MOST:
                break
            logger.info(f"Dice changes: {tried[-1].changes(MOST)}")
        else:
            raise _refusal(tried, output)
        seconds = _seconds(network, kind, made / FOLDER, parser.get_parsed_content("amp"))
        found = Quantised(output, tried[-1], seconds)
        replace(facts, **asdict(found.comparison), seconds=seconds).write(made / FOLDER)
        tell_on_page(found.lines(), made)
    return found


def _checked(bundle: Path, dataset: Path, output: Path, words: Mapping[str, str]) -> ConfigParser:
    """The evaluation's config; what it would refuse is refused before anything is computed."""
    words = {**words, "dataset_dir": str(dataset), "output_dir": str(output)}
    run = BundleRun(bundle, "evaluate.yaml", "evaluating", words)
    run.check()
    parser = run.parser
    names = ("channels", "checkpoint", "part", "fold", "folds", "split_seed", "splits")
    prepare_evaluation(dataset, **{name: parser.get_parsed_content(name) for name in names})
    return parser


def _network(bundle: Path, parser: ConfigParser) -> torch.nn.Module:
    """With the bundle's own weights, in eval mode."""
    if not isinstance(parser.get_parsed_content("inferer"), SlidingWindow):
        raise ConfigError(f"{bundle}: INT8 is made of one network with sliding windows")
    weights, own = parser.get_parsed_content("checkpoint"), own_weights(bundle)
    if own is None or not isinstance(weights, str | Path) or Path(weights) != own:
        raise ConfigError(
            f"{bundle}: INT8 is made of a bundle's own weights, models/model.pt, and its "
            f"evaluate.yaml names {weights}"
        )
    plan = parser.get_parsed_content("plan")
    network = with_weights(parser.get_parsed_content("network_def"), weights, plan).eval()
    if is_float32_only(network):
        raise ConfigError(f"{bundle}: its network is a file, which its own library runs")
    return network


def _evaluate(bundle: Path, dataset: Path, output: Path, words: Mapping[str, str]) -> None:
    try:
        failed = evaluate(bundle, dataset, output, words)
    except CasesFailedError:  # none was measured
        refuse_failed(output)  # whose table goes with the folder
        raise
    if failed:
        refuse_failed(output)


def _refusal(tried: Sequence[Comparison], output: Path) -> ConfigError:
    best = min(tried, key=lambda one: one.most)
    return ConfigError(
        f"{output}: not written, as in INT8 Dice changes by more than {MOST}: "
        f"{best.changes(MOST)} (mean over {best.cases} cases). More --windows, or more cases "
        "to measure it on, may help; --engine auto is fast without it"
    )


def _seconds(
    network: torch.nn.Module, kind: WindowKind, folder: Path, amp: Any
) -> dict[str, float]:
    """What a window takes here, by engine and number format."""
    formats = {None, autocast_dtype(kind.device, amp)}
    kinds = [replace(kind, dtype=dtype) for dtype in sorted(formats, key=str)]
    ways = [(name, one) for one in kinds for name in (TORCH, *usable(one))]
    found = {}
    for name, one in ways:
        try:
            engine = make_engine(name, network, one)
            found[engine.in_words] = seconds_per_window(engine, one)
        except Exception as error:  # whatever a library does: it is only compared with
            logger.info(str(error))
    int8 = make_engine(INT8, network, kind, int8=folder)
    found[int8.in_words] = seconds_per_window(int8, kind)
    return found
