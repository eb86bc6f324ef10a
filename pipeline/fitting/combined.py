"""The bundle of a cross-validation: its networks as one, their weights in one file."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ... import __version__
from ...data.errors import CheckpointError
from ...data.output_folder import OutputFolder
from ..models.checkpoints import BEST, carried_plan, carry_plan, load_checkpoint
from ..models.ensemble import ENSEMBLE
from ..models.writing_weights import save_checkpoint
from ..plans.new_bundle import RECORDS
from ..plans.plan import Plan
from ..plans.writing import bundle_files
from .cross_validation import CrossValidation

WEIGHTS = f"models/{BEST}"


def trained_plan(training: Path) -> Plan:
    """The plan that a training's weights carry.

    Raises:
        CheckpointError: there are no weights, or they carry none.
    """
    carried = carried_plan(load_checkpoint(training))
    if carried is None:
        raise CheckpointError(f"{training}: its weights carry no plan; train with `gridgate train`")
    return Plan.from_dict(carried["plan"])


def plans_of(trainings: Sequence[Path]) -> list[Plan]:
    """The plans of trainings whose networks can be one.

    Args:
        trainings: output folders. All but the network must be the same in their plans.

    Raises:
        CheckpointError: weights are missing, or were made for other windows, labels or intensities.
    """
    plans = [trained_plan(training) for training in trainings]
    first = plans[0]
    for training, plan in zip(trainings[1:], plans[1:], strict=True):
        if plan.replace(network=first.network).fingerprint != first.fingerprint:
            raise CheckpointError(
                f"{training}: planned otherwise than {trainings[0]}, so their networks cannot be "
                "one ensemble"
            )
    return plans


def ensemble_of(trainings: Sequence[Path], name: str) -> tuple[Plan, OrderedDict[str, Any]]:
    """The plan and the weights of several trainings as one network.

    Args:
        trainings: see plans_of.
        name: of the bundle.

    Raises:
        CheckpointError: see plans_of.
    """
    plans = plans_of(trainings)
    first = plans[0]
    if len(plans) == 1:
        state = OrderedDict(load_checkpoint(trainings[0]))
        return first.replace(name=name), state
    network: dict[str, Any] = {"name": ENSEMBLE, "members": [plan.network for plan in plans]}
    if first.region_values is not None:
        network["regions"] = True
    state = OrderedDict(
        (f"networks.{index}.{key}", tensor)
        for index, training in enumerate(trainings)
        for key, tensor in load_checkpoint(training).items()
    )
    return first.replace(name=name, network=network), state


def write_combined(
    output: OutputFolder,
    trainings: Sequence[Path],
    *,
    name: str,
    results: str = "",
    **chosen: Any,
) -> Plan:
    """Write the bundle of several trainings: configs, page, and the weights in models/model.pt.

    Args:
        output: the bundle's folder, entered.
        trainings: output folders of trainings.
        name: of the bundle.
        results: text for the bundle's page.
        chosen: settings of the plan, such as keep_largest.

    Returns:
        Its plan.
    """
    plan, state = ensemble_of(trainings, name)
    plan = plan.replace(results=results or plan.results, **chosen)
    names = dict.fromkeys(str(trained_plan(training).network["name"]) for training in trainings)
    if len(names) > 1:
        plan = plan.replace(title=f"{plan.dataset}, {' and '.join(names)}")
    files = bundle_files(plan, trained=True)
    for name in RECORDS:
        if (trainings[0] / name).is_file():
            files[name] = (trainings[0] / name).read_text(encoding="utf-8")
    for name, text in files.items():
        output.write(name, partial(_write, text.encode()))
    content = carry_plan(state, plan)
    output.write(WEIGHTS, lambda stream: save_checkpoint(content, stream))
    return plan


def results_text(
    found: CrossValidation,
    summary: Mapping[str, Any],
    *,
    dataset: Path,
    iterations: Sequence[int],
    said: Sequence[str] = (),
) -> str:
    """What the bundle's page says of how it was made and how well it does.

    Args:
        summary: of the cross-validation.
        iterations: of each training that it is made of.
        said: more sentences, such as the candidates' results.
    """
    counts = ", ".join(f"{count:,}" for count in iterations)
    cases = len(found.cases)
    text = [
        f"Cross-validation on `{dataset.resolve().name}`: each of {cases} cases was segmented by "
        "the network that had not seen it in training, and measured in its label file's own grid.",
        "",
        "| label | Dice (SD) | lowest | HD95, mm | cases |",
        "|---|---|---|---|---|",
    ]
    for name, entry in summary["labels"].items():
        dice, distance = entry["dice"], entry["hd95_mm"]
        text.append(
            f"| {name} | {_number(dice['mean'], 3)} ({_number(dice['std'], 3)}) | "
            f"{_number(dice['min'], 3)} | {_number(distance['mean'], 1)} | {dice['count']} |"
        )
    text.append(f"| mean | {_number(summary['mean']['dice'], 3)} | | | |")
    if found.failed:
        text += ["", f"{len(found.failed)} cases failed: {', '.join(sorted(found.failed))}."]
    text += ["", *said, ""] if said else [""]
    text += [f"- {choice}" for choice in found.said]
    text += [
        "",
        f"{len(iterations)} trainings of {counts} iterations. Python "
        f"{'.'.join(map(str, sys.version_info[:3]))}, PyTorch {torch.__version__}, Gridgate "
        f"{__version__}.",
    ]
    return "\n".join(text)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)
