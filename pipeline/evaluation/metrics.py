"""How good a predicted label map is, per label: overlap, surface distances, volumes, centres."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy import ndimage

from ...data.errors import ConfigError, ImageError
from ...data.geometry.affines import voxel_ml
from ...data.label_tables.measured import Measured
from .lesions import LesionMetrics, lesion_metrics
from .surfaces.distances import surface_distances, voxel_axes
from .tolerances import tolerance

METRICS = (
    "dice",
    "iou",
    "precision",
    "recall",
    "specificity",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "nsd",
    "centre_distance_mm",
    "volume_error_ml",
    "volume_error_percent",
    "volume_prediction_ml",
    "volume_reference_ml",
)
"""The measures of a LabelMetrics, in the order of its columns."""

AS_USUAL = Measured()
"""Tolerances of the literature, and no lesions."""

NOT_ANNOTATED = "not annotated"
"""The status of a label that a case has no measures of, as it was not annotated there."""


@dataclass(frozen=True)
class LabelMetrics:
    """One case's measures of one label. A measure that is not defined is NaN.

    | empty:               | both masks       | the prediction only     | the reference only    |
    |----------------------|------------------|-------------------------|-----------------------|
    | dice, iou            | NaN: not counted | 0                       | 0                     |
    | precision            | NaN              | NaN (nothing predicted) | 0                     |
    | recall               | NaN              | 0                       | NaN (nothing to find) |
    | specificity          | 1                | 1                       | below 1               |
    | nsd                  | NaN: not counted | 0                       | 0                     |
    | distances            | NaN              | NaN: failed             | NaN: failed           |
    | volume_error_ml      | 0                | minus the reference     | the prediction        |
    | volume_error_percent | NaN              | -100                    | NaN                   |

    A missed organ has no distance, neither 0 nor infinity, so a mean distance is over the cases
    where both masks have voxels; read it together with `summary`'s counts of the others.
    """

    label: str
    value: int
    dice: float
    """2 |P and R| / (|P| + |R|), 0..1."""
    iou: float
    """|P and R| / |P or R|, 0..1 (Jaccard)."""
    precision: float
    """|P and R| / |P|, 0..1."""
    recall: float
    """|P and R| / |R|, 0..1 (sensitivity)."""
    specificity: float
    """Share of the voxels outside R that P leaves out, 0..1: near 1 for all small organs. The
    voxels are those of the label file, and those beyond it that the mask labels; it says more of
    the field of view than of the mask."""
    hd_mm: float
    """Hausdorff distance: `SurfaceDistances.hausdorff`."""
    hd95_mm: float
    """Hausdorff distance, 95th percentile: `SurfaceDistances.hd95`."""
    assd_mm: float
    """Average symmetric surface distance, "S2S" of Attention U-Net: `SurfaceDistances.average`."""
    nsd: float
    """Normalised surface Dice at `tolerance_mm`: `SurfaceDistances.within`, 0..1."""
    centre_distance_mm: float
    """Distance of the two centres of mass."""
    volume_error_ml: float
    """Prediction minus reference: positive when too much is predicted."""
    volume_error_percent: float
    """The same, in percent of the reference's volume."""
    volume_prediction_ml: float
    volume_reference_ml: float
    tolerance_mm: float = float("nan")
    """Of `nsd`."""
    lesions: LesionMetrics | None = None
    """Of a label that is lesions."""
    status: str = ""
    """NOT_ANNOTATED where the case cannot be measured: all measures are NaN then."""

    @property
    def annotated(self) -> bool:
        """Whether the label was annotated in the case."""
        return self.status != NOT_ANNOTATED

    def as_row(self) -> dict[str, str | int | float]:
        """Column name -> value, in the order of the fields; without lesions.

        Undefined measures stay NaN; a label that was not annotated has empty cells.
        """
        row = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "lesions"}
        return row if self.annotated else row | dict.fromkeys((*METRICS, "tolerance_mm"), "")


def not_annotated(label: str, value: int) -> LabelMetrics:
    """The measures of a label that was not annotated in a case: none."""
    nothing: dict[str, Any] = dict.fromkeys(METRICS, float("nan"))
    return LabelMetrics(label, value, **nothing, status=NOT_ANNOTATED)


def case_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Mapping[str, int],
    spacing_mm: Sequence[float] | None = None,
    affine: np.ndarray | None = None,
    measured: Measured = AS_USUAL,
    voxels: int | None = None,
) -> list[LabelMetrics]:
    """Compare a predicted label map with the reference, on the reference's grid.

    Args:
        prediction, reference: label maps (X, Y, Z) of integers (or bool), the same shape.
        labels: name -> value. Value 0, the background, gets no row; values of the maps that are not
            named here count as background of every named label.
        spacing_mm: voxel size along the three axes; or
        affine: (4, 4) voxel indices to mm (exact for oblique and sheared grids too).
        measured: tolerances of surface Dice, others have `tolerances.tolerance`; and which labels
            are lesions.
        voxels: of the field of view, for specificity; None for those of the maps.

    Returns:
        One row per foreground label, in the order of `labels`. MONAI's metrics give the same Dice,
        IoU and distances, but want one-hot (classes, X, Y, Z) arrays of full size and pass over
        them once per metric. Here each label is compared inside its own bounding box.

    Example:
        >>> mask = np.zeros((4, 4, 4), np.uint8)
        >>> mask[1:3, 1:3, 1:3] = 1
        >>> truth = np.roll(mask, 1, axis=0)
        >>> (liver,) = case_metrics(mask, truth, labels={"liver": 1}, spacing_mm=(1, 1, 2.5))
        >>> liver.dice, liver.hd95_mm
        (0.5, 1.0)

    Raises:
        ImageError: shapes differ, or a map does not hold integers.
        ConfigError: labels names no foreground label, a negative value, or one value twice.
        ValueError: neither or both of spacing_mm and affine are given.
    """
    foreground = _foreground(labels)
    _check_maps(prediction, reference)
    axes_mm = voxel_axes(spacing_mm=spacing_mm, affine=affine)
    origin_mm = np.zeros(3) if affine is None else np.asarray(affine, np.float64)[:3, 3]
    highest = max(foreground.values())
    boxes = [_label_boxes(array, highest) for array in (prediction, reference)]
    rows = []
    for name, value in foreground.items():
        box = _union(boxes[0][value - 1], boxes[1][value - 1])
        start = origin_mm + axes_mm @ [side.start for side in box]
        masks = _Masks(prediction[box] == value, reference[box] == value, axes_mm, start)
        whole = prediction.size if voxels is None else voxels
        rows.append(_label_metrics(name, value, masks, measured=measured, voxels=whole))
    return rows


def _check_maps(prediction: np.ndarray, reference: np.ndarray) -> None:
    """Refuse arrays that are no label maps of one shape."""
    for name, array in (("prediction", prediction), ("reference", reference)):
        if array.dtype.kind not in "uib":
            raise ImageError(
                f"the {name} holds {array.dtype}, not integers; read label maps with read_labels"
            )
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise ImageError(
            f"the prediction's shape {prediction.shape} and the reference's {reference.shape} must "
            "be the same, (X, Y, Z); resample the prediction onto the reference's grid first"
        )


def _foreground(labels: Mapping[str, int]) -> dict[str, int]:
    """The labels without the background, checked."""
    foreground = {name: int(value) for name, value in labels.items() if value != 0}
    if not foreground:
        raise ConfigError(
            f"no foreground label among {dict(labels)}: name at least one value above 0"
        )
    if min(foreground.values()) < 0:
        raise ConfigError(f"label values must not be negative: {dict(labels)}")
    if len(set(foreground.values())) < len(foreground):
        raise ConfigError(f"two labels have the same value: {dict(labels)}")
    return foreground


def _label_boxes(array: np.ndarray, highest: int) -> list[tuple[slice, ...] | None]:
    """Bounding box of each value 1..highest, in one pass; None for a value that is not there."""
    return ndimage.find_objects(
        array.view(np.uint8) if array.dtype == bool else array, max_label=highest
    )


def _union(first: tuple[slice, ...] | None, second: tuple[slice, ...] | None) -> tuple[slice, ...]:
    """The box around two boxes; an empty box when neither exists."""
    if first is None or second is None:
        return first or second or (slice(0, 0),) * 3
    return tuple(
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )


@dataclass(frozen=True, eq=False)
class _Masks:
    """Two bool masks that hold all voxels of a label, and their grid in mm: steps and origin."""

    prediction: np.ndarray
    reference: np.ndarray
    axes_mm: np.ndarray
    origin_mm: np.ndarray

    def lesions(self, least_iou: float) -> LesionMetrics:
        """The lesions of both, one by one."""
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = self.axes_mm, self.origin_mm
        return lesion_metrics(self.prediction, self.reference, affine=affine, least_iou=least_iou)

    def centre_distance(self) -> float:
        """Between the centres of mass, mm; NaN where one has no voxel."""
        if not (self.prediction.any() and self.reference.any()):
            return float("nan")
        apart = _centre(self.prediction) - _centre(self.reference)
        return float(np.linalg.norm(self.axes_mm @ apart))


def _label_metrics(
    name: str, value: int, masks: _Masks, *, measured: Measured, voxels: int
) -> LabelMetrics:
    """Measures of two masks."""
    tolerance_mm = tolerance(name, measured.tolerances_mm)
    lesions = measured.lesions.get(name)
    predicted = int(np.count_nonzero(masks.prediction))
    expected = int(np.count_nonzero(masks.reference))
    both = int(np.count_nonzero(masks.prediction & masks.reference))
    distances = surface_distances(masks.prediction, masks.reference, affine=masks.axes_mm)
    one_empty = (predicted == 0) != (expected == 0)
    outside = max(voxels, predicted + expected - both) - expected
    ml = voxel_ml(masks.axes_mm)
    return LabelMetrics(
        label=name,
        value=value,
        dice=_ratio(2 * both, predicted + expected),
        iou=_ratio(both, predicted + expected - both),
        precision=_ratio(both, predicted),
        recall=_ratio(both, expected),
        specificity=_ratio(outside - (predicted - both), outside),
        hd_mm=distances.hausdorff(),
        hd95_mm=distances.hd95(),
        assd_mm=distances.average(),
        nsd=0.0 if one_empty else distances.within(tolerance_mm),
        centre_distance_mm=masks.centre_distance(),
        volume_error_ml=(predicted - expected) * ml,
        volume_error_percent=100.0 * _ratio(predicted - expected, expected),
        volume_prediction_ml=predicted * ml,
        volume_reference_ml=expected * ml,
        tolerance_mm=tolerance_mm,
        lesions=None if lesions is None else masks.lesions(lesions),
    )


def _centre(mask: np.ndarray) -> np.ndarray:
    """The mean index (3,) of a mask's voxels."""
    found = []
    for axis in range(3):
        counts = mask.sum(axis=tuple(other for other in range(3) if other != axis))
        found.append(float(counts @ np.arange(len(counts)) / counts.sum()))
    return np.array(found)


def _ratio(numerator: int, denominator: int) -> float:
    """The quotient; NaN for 0/0 and for anything else over 0."""
    return numerator / denominator if denominator else float("nan")
