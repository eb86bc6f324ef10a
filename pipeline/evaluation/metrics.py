"""How good a predicted label map is, per label: Dice, IoU, HD95, ASSD, volumes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage

from ...data.errors import ConfigError, ImageError
from ...data.geometry.affines import voxel_ml
from .surface_distances import surface_distances, voxel_axes

METRICS = (
    "dice",
    "iou",
    "precision",
    "recall",
    "hd95_mm",
    "assd_mm",
    "volume_error_ml",
    "volume_error_percent",
    "volume_prediction_ml",
    "volume_reference_ml",
)
"""The measures of a LabelMetrics, in the order of its columns."""

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
    | hd95_mm, assd_mm     | NaN              | NaN: failed             | NaN: failed           |
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
    hd95_mm: float
    """Hausdorff distance, 95th percentile: `SurfaceDistances.hd95`."""
    assd_mm: float
    """Average symmetric surface distance, "S2S" of Attention U-Net: `SurfaceDistances.average`."""
    volume_error_ml: float
    """Prediction minus reference: positive when too much is predicted."""
    volume_error_percent: float
    """The same, in percent of the reference's volume."""
    volume_prediction_ml: float
    volume_reference_ml: float
    status: str = ""
    """NOT_ANNOTATED where the case cannot be measured: all measures are NaN then."""

    @property
    def annotated(self) -> bool:
        """Whether the label was annotated in the case."""
        return self.status != NOT_ANNOTATED

    def as_row(self) -> dict[str, str | int | float]:
        """Column name -> value, in the order of the fields.

        Undefined measures stay NaN; a label that was not annotated has empty cells.
        """
        row = asdict(self)
        return row if self.annotated else row | dict.fromkeys(METRICS, "")


def not_annotated(label: str, value: int) -> LabelMetrics:
    """The measures of a label that was not annotated in a case: none."""
    nothing = dict.fromkeys(METRICS, float("nan"))
    return LabelMetrics(label, value, **nothing, status=NOT_ANNOTATED)


def case_metrics(
    prediction: np.ndarray,
    reference: np.ndarray,
    *,
    labels: Mapping[str, int],
    spacing_mm: Sequence[float] | None = None,
    affine: np.ndarray | None = None,
) -> list[LabelMetrics]:
    """Compare a predicted label map with the reference, on the reference's grid.

    Args:
        prediction, reference: label maps (X, Y, Z) of integers (or bool), the same shape.
        labels: name -> value. Value 0, the background, gets no row; values of the maps that are not
            named here count as background of every named label.
        spacing_mm: voxel size along the three axes; or
        affine: (4, 4) voxel indices to mm (exact for oblique and sheared grids too).

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
    axes_mm = voxel_axes(spacing_mm=spacing_mm, affine=affine)
    highest = max(foreground.values())
    boxes = [_label_boxes(array, highest) for array in (prediction, reference)]
    rows = []
    for name, value in foreground.items():
        box = _union(boxes[0][value - 1], boxes[1][value - 1])
        rows.append(
            _label_metrics(name, value, prediction[box] == value, reference[box] == value, axes_mm)
        )
    return rows


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


def _label_metrics(
    name: str, value: int, prediction: np.ndarray, reference: np.ndarray, axes_mm: np.ndarray
) -> LabelMetrics:
    """Measures of two bool masks that hold all of the label's voxels."""
    predicted, expected = int(np.count_nonzero(prediction)), int(np.count_nonzero(reference))
    both = int(np.count_nonzero(prediction & reference))
    distances = surface_distances(prediction, reference, affine=axes_mm)
    ml = voxel_ml(axes_mm)
    return LabelMetrics(
        label=name,
        value=value,
        dice=_ratio(2 * both, predicted + expected),
        iou=_ratio(both, predicted + expected - both),
        precision=_ratio(both, predicted),
        recall=_ratio(both, expected),
        hd95_mm=distances.hd95(),
        assd_mm=distances.average(),
        volume_error_ml=(predicted - expected) * ml,
        volume_error_percent=100.0 * _ratio(predicted - expected, expected),
        volume_prediction_ml=predicted * ml,
        volume_reference_ml=expected * ml,
    )


def _ratio(numerator: int, denominator: int) -> float:
    """The quotient; NaN for 0/0 and for anything else over 0."""
    return numerator / denominator if denominator else float("nan")
