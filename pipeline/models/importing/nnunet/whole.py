"""The plan of several models of nnU-Net as one."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .....data.errors import ConfigError
from .....transforms.nnunet.part_settings import OWN
from ....plans.plan import Plan
from ...parts import PARTS
from ..label_names import whole_labels

logger = logging.getLogger("gridgate.importing")

_MIRROR = "mirror_axes"  # of a part; in a plan those of a test


def whole_plan(
    plans: Sequence[Plan], sources: Sequence[str | Path], names: Mapping[str, int] | None
) -> Plan:
    """The plan of a bundle that runs the models of several plans one after another.

    Args:
        plans: of each model, in their order.
        sources: their folders, for the names of the parts and the texts of errors.
        names: see nnunet.import_parts.

    Raises:
        ConfigError: regions, other channels, or a label that is not among the names.
    """
    first = plans[0]
    for plan, source in zip(plans, sources, strict=True):
        if plan.region_values is not None:
            raise ConfigError(f"{source}: its labels are regions, which overlap; import it alone")
        if plan.channels != first.channels:
            raise ConfigError(
                f"{source}: takes {plan.channels} channels, {sources[0]} {first.channels}; parts "
                "of one bundle see the same image"
            )
    if names is None:
        found = dict.fromkeys(name for plan in plans for name in plan.labels[1:])
        labels = ["background", *found]
    else:
        labels = whole_labels(names)
    _tell_of_names(plans, sources, labels)
    members = [{"architecture": plan.network, "out_channels": len(plan.labels)} for plan in plans]
    parts = [
        _part(plan, first, labels, source) for plan, source in zip(plans, sources, strict=True)
    ]
    listed = ", ".join(str(part["name"]) for part in parts)
    return first.replace(
        labels=labels,
        network={"name": PARTS, "members": members},
        parts=parts,
        title=f"{len(labels) - 1} labels of {len(parts)} models of nnU-Net",
        description=(
            f"{len(parts)} models of nnU-Net, one after another: {listed}. One mask is made of "
            "theirs, later ones over earlier ones."
        ),
        data_source=", ".join(dict.fromkeys(plan.data_source for plan in plans)),
        dataset="",
    )


def _tell_of_names(
    plans: Sequence[Plan], sources: Sequence[str | Path], labels: Sequence[str]
) -> None:
    """Warn of labels that two models have, and of those that none has."""
    by_label: dict[str, list[str]] = {}
    for plan, source in zip(plans, sources, strict=True):
        for label in plan.labels[1:]:
            by_label.setdefault(label, []).append(plan.dataset or Path(source).name)
    for label, places in by_label.items():
        if len(places) > 1:
            logger.warning(
                f"{label}: a label of {' and '.join(places)}, so it has one value, of which later "
                "models write over earlier ones"
            )
    strangers = [label for label in labels[1:] if label not in by_label]
    if strangers:
        logger.warning(
            f"no model has the label {', '.join(strangers)}, so no mask will; is a model missing?"
        )


def _part(plan: Plan, first: Plan, labels: list[str], source: str | Path) -> dict[str, Any]:
    for label in plan.labels[1:]:
        if label not in labels:
            near = get_close_matches(label, labels, n=1)
            hint = f"; the nearest there is {near[0]!r}" if near else ""
            raise ConfigError(f"{source}: its label {label!r} is not among those of --labels{hint}")
    values = [0, *(labels.index(label) for label in plan.labels[1:])]
    own = {name: value for name, value in _own(plan).items() if value != _own(first)[name]}
    return {"name": plan.dataset or Path(source).name, "values": values, **own}


def _own(plan: Plan) -> dict[str, Any]:
    return {name: plan.test_mirror_axes if name == _MIRROR else getattr(plan, name) for name in OWN}
