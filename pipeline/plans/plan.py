"""The plan of a bundle: every number that data and network decide, in one checked object."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...data.errors import ConfigError
from ...data.label_tables.measured import Measured
from ...data.label_tables.terminology import check_terminology
from ...transforms.nnunet.part_settings import check_parts
from ...transforms.pieces import check_smallest_piece
from ...transforms.restore.regions import check_region_values
from ...transforms.restore.thresholds import check_thresholds
from ...transforms.windows.sides import Sides, refuse_lost_sides
from ..config.code import refuse_code
from .windows import check_blend, check_grid, check_kinds, checked_padding, refuse_words

CARRIED = "gridgate"
"""The key of a plan in the `_metadata` of the state dict that carries it."""

WEIGHT_FIELDS = (
    "channels",
    "foreground",
    "intensity",
    "labels",
    "network",
    "nnunet",
    "orientation",
    "output_channels",
    "parts",
    "region_values",
    "roi_size",
    "spacing",
)
"""What weights are made for: with another value of one of these they give other labels."""

_AXES = (frozenset("LR"), frozenset("PA"), frozenset("IS"))


@dataclass(frozen=True)
class Plan:
    """A bundle's plan, complete; the only place where its numbers are said by hand.

    Args:
        modality: of the images; None is any.
        labels: names of the network's output channels in order, the background first.
        channels: of the input image.
        output_channels: of the network: one per label, or 1 for a single foreground label, whose
            probability is then a sigmoid; None is one per label. Regions have one each, and the
            background none.
        region_values: of labels that overlap (regions, as a kidney and the tumour in it): the value
            that each is written as in the one map of them, in the order of the labels, later ones
            over earlier ones; each has a sigmoid of its own. None: labels exclude each other.
        orientation: three letters, the direction towards which each index increases; None where
            nnU-Net's plans order the axes.
        spacing: mm along each axis of that orientation; None keeps the scan's own.
        roi_size: voxels of a window along each axis.
        overlap: share of a window that its neighbour covers again, one number or one per axis.
        blend, padding, interpolate_probabilities: how windows are blended, what lies around scans
            smaller than one, and what is brought back to the scan's grid, see SlidingWindow.
            Weights do not depend on them.
        intensity: see transforms.intensity_transforms.
        foreground: crop to image > foreground, in units after `intensity`; None does not crop.
        mirror_axes: axes along which training windows are mirrored.
        test_mirror_axes: axes along which windows are mirrored when the trained bundle is run.
        side_pairs: pairs of labels' values that are exchanged where a window is mirrored from left
            to right, such as those of the two kidneys; None: those whose names differ in left and
            right alone.
        thresholds: of regions, or of a single output channel, the probability above which a voxel
            is each; None is a half. Weights do not depend on them.
        keep_largest: labels of which only the largest component is kept: True is all of them.
        smallest_piece: label -> ml; its smaller pieces are removed. None: all stay.
        nnunet: of a model that nnU-Net trained: how it orders axes and resamples, see
            transforms.nnunet.grid.NnunetGrid; None: Gridgate's own preprocessing.
        parts: of a model of several networks, see part_settings.check_parts; None: it is one.
        fast_resampling: of such a model: trilinear, not nnU-Net's splines. Weights do not depend on
            it, masks do a little.
        body_threshold: HU; windows without anything denser are not run; None runs all.
        expected: label -> what is plausible, for the hints.
        measured: label -> {"tolerance_mm", "lesions", "least_iou"}: how an evaluation measures it,
            see Measured. Weights do not depend on it.
        merge_labels: dataset's label -> the label of ours that it is counted as.
        terminology: label -> {"category", "type", "modifier", "region"}, each [scheme, value,
            meaning], which DICOM SEG and 3D Slicer's segments carry; labels that are left out, and
            None, have the codes of their names. Weights do not depend on it.
        network: its name in networks.registry, under "name", and its options.
        training: settings of the training configuration.
        imported: of a model that another tool trained: what it was, for the page; such bundles are
            not trained further. None: it is of Gridgate.
        results: what was measured, in Markdown.

    Raises:
        ConfigError: a value is impossible; the text says what is wanted.

    Example:
        >>> plan = Plan.from_dict(example_plan())
        >>> plan.fingerprint == plan.replace(overlap=0.25).fingerprint
        True
        >>> plan.fingerprint == plan.replace(spacing=[1.0, 1.0, 1.0]).fingerprint
        False
    """

    name: str
    labels: list[str]
    spacing: list[float] | None
    roi_size: list[int]
    intensity: dict[str, Any]
    network: dict[str, Any]
    title: str = ""
    description: str = ""
    version: str = "0.1.0"
    changelog: dict[str, str] = field(default_factory=dict)
    task: str = ""
    data_source: str = ""
    dataset: str = ""
    references: list[str] = field(default_factory=list)
    modality: str | None = "CT"
    value_range: list[float] = field(default_factory=lambda: [0, 1])
    channels: int = 1
    output_channels: int | None = None
    region_values: list[int] | None = None
    orientation: str | None = "RAS"
    overlap: float | list[float] = 0.5
    blend: str = "gaussian"
    padding: float | str | None = None
    interpolate_probabilities: bool = False
    foreground: float | None = None
    mirror_axes: list[int] = field(default_factory=list)
    test_mirror_axes: list[int] = field(default_factory=list)
    side_pairs: list[list[int]] | None = None
    thresholds: list[float] | None = None
    keep_largest: bool | list[int] = False
    smallest_piece: dict[str, float] | None = None
    nnunet: dict[str, Any] | None = None
    parts: list[dict[str, Any]] | None = None
    fast_resampling: bool = False
    body_threshold: float | None = None
    expected: dict[str, Any] | None = None
    measured: dict[str, Any] | None = field(default_factory=dict)
    merge_labels: dict[str, str] = field(default_factory=dict)
    terminology: dict[str, Any] | None = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    imported: str | None = None
    results: str = "Not measured yet."

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Plan:
        """The plan that a mapping says.

        Raises:
            ConfigError: a setting is missing, unknown or impossible.
        """
        name = values.get("name", "")
        fields = {one.name: one for one in dataclasses.fields(cls)}
        unknown = sorted(set(values) - set(fields))
        if unknown:
            raise ConfigError(f"plan {name}: {', '.join(map(repr, unknown))} is no setting of it")
        missing = [key for key in fields if key not in values and _is_required(fields[key])]
        if missing:
            raise ConfigError(f"plan {name}: lacks {', '.join(map(repr, missing))}")
        return cls(**dict(values))

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def replace(self, **changes: Any) -> Plan:
        """The plan with other values."""
        return dataclasses.replace(self, **changes)

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits of what weights are made for (WEIGHT_FIELDS)."""
        values = self.weight_values()
        for name in (
            "region_values",
            "nnunet",
            "parts",
        ):  # plans from before there were such keep theirs
            if values[name] is None:
                del values[name]
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def is_foreign(self) -> bool:
        """Whether another tool trained its weights: it is run, and not trained further."""
        return self.nnunet is not None or self.imported is not None

    @property
    def has_thresholds(self) -> bool:
        """Whether each output channel has a sigmoid: regions, and a single foreground label."""
        return self.region_values is not None or self.output_channels == 1

    def weight_values(self) -> dict[str, Any]:
        """The values of WEIGHT_FIELDS, so written that equal numbers are equal text."""
        return _weight_values(self.to_dict())


def channel_count(labels: Sequence[str], region_values: Sequence[int] | None) -> int:
    """The output channels of a network of some labels; of regions the background has none."""
    return len(labels) - (0 if region_values is None else 1)


def plan_differences(made_for: Mapping[str, Any], now: Plan) -> list[str]:
    """What weights were made for and a plan has otherwise, a text per value.

    Args:
        made_for: the settings of the plan that the weights were trained with.
    """
    before, after = _weight_values(made_for), now.weight_values()
    changed = [name for name in WEIGHT_FIELDS if before[name] != after[name]]
    return [f"{name} {_shown(before[name])} (now {_shown(after[name])})" for name in changed]


def example_plan() -> dict[str, Any]:
    """The settings of a small plan, for examples and tests."""
    return {
        "name": "example",
        "labels": ["background", "liver"],
        "spacing": [1.5, 1.5, 2.0],
        "roi_size": [64, 64, 64],
        "intensity": {"mode": "window", "low": -175, "high": 250},
        "network": {"name": "unet", "feature_scale": 8},
    }


def _is_required(one: dataclasses.Field[Any]) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING


def _weight_values(settings: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _canonical(settings.get(name)) for name in WEIGHT_FIELDS}
    if found["output_channels"] is None:
        labels, regions = settings.get("labels") or [], settings.get("region_values")
        found["output_channels"] = float(channel_count(labels, regions))
    return found


def _canonical(value: Any) -> Any:
    """Plain values in which 1 and 1.0, lists and tuples, and keys' order make no difference."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [_canonical(one) for one in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return f"[{', '.join(_shown(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_shown(one)}' for key, one in value.items())}}}"
    return "null" if value is None else str(value)


_WORDS = frozenset(
    {
        *("name", "title", "description", "version", "changelog", "task", "data_source", "dataset"),
        *("references", "imported", "results"),
    }
)
"""Of a plan's fields those that its page and metadata tell, and no config runs."""


def _check(plan: Plan) -> None:
    labels = plan.labels
    for one in dataclasses.fields(plan):
        if one.name not in _WORDS:
            refuse_code(getattr(plan, one.name), of=one.name)
    check_kinds(vars(plan))
    refuse_words(plan.network, of="network")
    refuse_words(plan.training, of="training")
    check_blend(plan.blend)
    checked_padding(plan.padding)
    if not isinstance(labels, list) or len(labels) < 2 or len(set(labels)) < len(labels):
        raise ConfigError(f"labels {labels}: names in order, each once, the background first")
    _check_orientation(plan)
    if plan.parts is not None:
        check_parts(plan.parts, labels)
        if plan.nnunet is None or plan.region_values is not None:
            raise ConfigError("parts: only nnU-Net's models are several, without regions")
    if plan.region_values is not None:
        check_region_values(plan.region_values, labels[1:])
    outputs, usual = plan.output_channels, channel_count(labels, plan.region_values)
    if outputs not in (None, usual) and (outputs, len(labels)) != (1, 2):
        raise ConfigError(
            f"output_channels {outputs}: {usual}, one per label, are wanted, or 1 for a "
            "background and one foreground label"
        )
    channels = usual if outputs is None else outputs
    check_thresholds(plan.thresholds, channels=channels, regions=plan.region_values is not None)
    check_smallest_piece(plan.smallest_piece, labels)
    check_grid(plan.spacing, plan.roi_size)
    sides = Sides.of(plan.side_pairs, labels=labels, orientation=plan.orientation)
    sides.order_of_labels(len(labels))
    for axes in (plan.mirror_axes, plan.test_mirror_axes):
        refuse_lost_sides(labels, sides, axes)
    if not isinstance(plan.network, Mapping) or "name" not in plan.network:
        raise ConfigError(
            f"network {plan.network!r}: a mapping with a network's name is wanted, as "
            "'{name: unet, feature_scale: 8}'"
        )
    if not isinstance(plan.intensity, Mapping) or "mode" not in plan.intensity:
        raise ConfigError(f"plan {plan.name}: intensity lacks 'mode'")
    strangers = sorted(set(plan.expected or {}) - set(labels))
    if strangers:
        raise ConfigError(
            f"plan {plan.name}: expected speaks of {', '.join(strangers)}, which are not among the "
            "labels"
        )
    try:
        Measured.of(plan.measured, labels)
        check_terminology(plan.terminology, labels)
    except ConfigError as error:
        raise ConfigError(f"plan {plan.name}: {error}") from error


def _check_orientation(plan: Plan) -> None:
    if plan.nnunet is not None and plan.orientation is None:
        return
    if plan.nnunet is not None:
        raise ConfigError(
            f"orientation {plan.orientation!r}: nnU-Net's plans order the axes, give null; for "
            "scans that are to be turned first nnunet::orientation"
        )
    letters = str(plan.orientation).upper()
    if len(letters) != 3 or any(len(axis & set(letters)) != 1 for axis in _AXES):
        raise ConfigError(
            f"orientation {plan.orientation!r}: three letters, one each of L/R, P/A, I/S"
        )
