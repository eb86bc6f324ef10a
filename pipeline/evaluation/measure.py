"""One case measured: its mask file against its label file, wherever the two files begin and end."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...data.datasets.label_map import IGNORE, LabelMap
from ...data.datasets.label_values import check_values, map_values
from ...data.datasets.placement import check_placement
from ...data.geometry.grids import Grid
from ...data.geometry.label_grids import on_shared_grid
from ...data.images.reading import Image, case_id, read_labels
from ...data.label_tables.measured import Measured
from .metrics import AS_USUAL, LabelMetrics, case_metrics, not_annotated


def measure_files(
    mask: str | Path | Image,
    label: str | Path,
    labels: Sequence[str],
    *,
    label_map: Mapping[int, int] | None = None,
    case: str | None = None,
    unannotated: Collection[str] = (),
    measured: Measured = AS_USUAL,
) -> list[LabelMetrics]:
    """Metrics per foreground label of one mask file against one label file.

    Both are compared on the label file's lattice, continued as far as the mask has labels: how far
    either file reaches beyond its labels changes nothing. Where the two lattices differ (other
    axis order, other voxels) the mask is moved onto the label's by nearest neighbour, which is
    exact for flips and permutations. Voxels to ignore count in neither.

    Args:
        mask: a prediction, its values the network's channels; a file, or as `read_labels` gave it.
        label: the label file.
        labels: names of the channels in order, the background first.
        label_map: value in the label file -> channel, see `data.datasets.label_map`; None or empty
            when the values are channels already.
        case: the case's id, for errors; None takes the label file's name.
        unannotated: the dataset's labels that the case does not have annotated. What counts to them
            has no measures; where another label is predicted instead of one of them, that counts
            against the other label.
        measured: tolerances, and which labels are lesions.

    Raises:
        ImageError: one of the files cannot be read, or the label's voxels are too small to compare.
        DatasetError: the label file holds values that the label map does not name, or labels that
            the case does not declare as annotated.

    Example:
        >>> import nibabel, tempfile
        >>> voxels = np.zeros((8, 8, 8), np.uint8)
        >>> voxels[2:4, 2:4, 2:4] = 1
        >>> path = Path(tempfile.mkdtemp()) / "liver.nii.gz"
        >>> nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        >>> [(row.label, row.dice) for row in measure_files(path, path, ["background", "liver"])]
        [('liver', 1.0)]
    """
    known = LabelMap.of(label_map)
    prediction = _read(mask)
    told: dict[str, Any] = {"label_map": known, "unannotated": unannotated}
    told["case"] = case if case is not None else case_id(label)
    channels, grid, annotated = label_states(label, labels, **told)
    names = {name: value for value, name in enumerate(labels) if value and annotated[value]}
    rows = _compared(prediction, channels, grid, names, measured) if names else []
    found = {row.label: row for row in rows}
    return [
        found.get(name) or not_annotated(name, value) for value, name in enumerate(labels) if value
    ]


def measure_regions(
    masks: Sequence[str | Path | Image],
    label: str | Path,
    labels: Sequence[str],
    *,
    values: Sequence[int],
    label_map: LabelMap,
    case: str,
    unannotated: Collection[str] = (),
    measured: Measured = AS_USUAL,
) -> list[LabelMetrics]:
    """Metrics per region, of a mask each, against one label file; see `measure_files`.

    Args:
        masks: of each region, 0 and 1.
        labels: names of the regions, the background first.
        values: that each region is written as, for the rows.
        label_map: value in the label file -> bits of the regions that hold it.
        label, case, unannotated, measured: as for `measure_files`.

    Raises:
        ImageError: one of the files cannot be read, or the label's voxels are too small to compare.
        DatasetError: the label file holds values that the label map does not name, or regions that
            the case does not declare as annotated.
    """
    told: dict[str, Any] = {"label_map": label_map, "case": case, "unannotated": unannotated}
    rows: list[LabelMetrics] = []
    found = inside_of_each(label, labels, **told)
    for (name, inside, grid), mask, value in zip(found, masks, values, strict=True):
        if inside is None:
            rows.append(not_annotated(name, value))
            continue
        (row,) = _compared(_read(mask), inside, grid, {name: 1}, measured)
        rows.append(replace(row, value=value))
    return rows


def inside_of_each(
    label: str | Path,
    labels: Sequence[str],
    *,
    label_map: LabelMap,
    case: str,
    unannotated: Collection[str] = (),
) -> Iterator[tuple[str, NDArray[np.int8] | None, Grid]]:
    """Where each region is by the label file; or the one label, where there is one.

    Args:
        label, labels, label_map, case, unannotated: as for `measure_regions`.

    Returns:
        Of each its name, (X, Y, Z) 1 inside, 0 outside and IGNORE, None where it is not annotated,
        and the label file's grid.

    Raises:
        ImageError: the file cannot be read.
        DatasetError: as for `measure_regions`.
    """
    told: dict[str, Any] = {"label_map": label_map, "case": case, "unannotated": unannotated}
    bits, grid, annotated = label_states(label, labels, **told)
    for number, name in enumerate(labels[1:]):
        inside = None
        if annotated[number + 1]:
            inside = np.where(bits < 0, IGNORE, (bits >> number) & 1).astype(np.int8)
        yield name, inside, grid


def label_states(
    label: str | Path,
    labels: Sequence[str],
    *,
    label_map: LabelMap,
    case: str,
    unannotated: Collection[str] = (),
) -> tuple[NDArray[Any], Grid, tuple[bool, ...]]:
    """What a label file says of each voxel, see LabelMap.

    Args:
        label, labels, label_map, case, unannotated: as for `measure_files`.

    Returns:
        The states (X, Y, Z): channels, or bits of regions, or IGNORE; their grid; whether each
        channel is annotated.

    Raises:
        ImageError: the file cannot be read.
        DatasetError: as for `measure_files`.
    """
    reference = read_labels(label, lowest=min(label_map or (0,)))
    states = map_values(
        reference.array,
        label_map,
        case=case,
        source=str(label),
        channels=len(labels),
        unannotated=unannotated,
    )
    return states, reference.grid, label_map.annotated_channels(unannotated, len(labels))


def check_label(
    item: Mapping[str, Any], labels: Sequence[str], label_map: Mapping[int, int] | None
) -> None:
    """Refuse a case whose label file cannot be measured against.

    Args:
        item: {"id", "image", "label"}; paths, the image perhaps one per channel; perhaps
            "unannotated", see `measure_files`.
        labels: as for `measure_files`.
        label_map: as for `measure_files`.

    Raises:
        DatasetError: the label lies elsewhere than the image, or holds values that nobody named, or
            labels that the case does not declare as annotated.
        ImageError: a file cannot be read.
    """
    check_label_placement(item)
    reference = read_labels(item["label"], lowest=min(label_map or (0,)))
    check_values(
        reference.array,
        label_map or {},
        case=item["id"],
        source=str(item["label"]),
        channels=len(labels),
        unannotated=item.get("unannotated", ()),
    )


def check_label_placement(item: Mapping[str, Any]) -> None:
    """Refuse a case whose label file lies elsewhere than its image, by their headers.

    Args:
        item: {"id", "image", "label"}; paths, the image perhaps one per channel.

    Raises:
        DatasetError: it does.
        ImageError: a header cannot be read.
    """
    images = item["image"] if isinstance(item["image"], list | tuple) else [item["image"]]
    for image in images:
        check_placement(item["id"], Path(image), Path(item["label"]))


@dataclass(frozen=True)
class CheckedLabels:
    """A case's preprocessing, after a look at its label: what cannot be measured is not segmented.

    Args:
        transform: preprocessing, from {"id", "image", "label"} with paths.
        labels: as for `measure_files`.
        label_map: as for `measure_files`.
    """

    transform: Callable[[Any], Any]
    labels: Sequence[str]
    label_map: Mapping[int, int] | None

    def __call__(self, item: Mapping[str, Any]) -> Any:
        """The case preprocessed; raises as `check_label`."""
        check_label(item, self.labels, self.label_map)
        return self.transform(item)


def _compared(
    prediction: Image,
    expected: NDArray[np.generic],
    grid: Grid,
    names: Mapping[str, int],
    measured: Measured,
) -> list[LabelMetrics]:
    """Metrics of a prediction against labels on a grid, of which voxels that are IGNORE are out."""
    voxels = int(np.count_nonzero(expected != IGNORE))
    predicted, expected, affine = counted(prediction, expected, grid)
    voxels += _beyond(predicted, affine, grid)
    told: dict[str, Any] = {"affine": affine, "measured": measured, "voxels": voxels}
    return case_metrics(predicted, expected, labels=names, **told)


def _beyond(predicted: NDArray[Any], affine: NDArray[np.float64], grid: Grid) -> int:
    """Labelled voxels of a prediction beyond the label file's array.

    Args:
        affine: of the prediction's array, whose voxels are the grid's lattice.
    """
    start = np.rint(np.linalg.solve(grid.affine[:3, :3], affine[:3, 3] - grid.affine[:3, 3]))
    inside = tuple(
        slice(max(-int(first), 0), max(size - int(first), 0))
        for first, size in zip(start, grid.shape, strict=True)
    )
    return int(np.count_nonzero(predicted) - np.count_nonzero(predicted[inside]))


def counted(
    prediction: Image, expected: NDArray[np.generic], grid: Grid
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """A prediction and labels on one grid, both 0 where voxels are IGNORE.

    Returns:
        The prediction, the labels, and the affine of the grid that they share.
    """
    ignored = expected == IGNORE if expected.dtype.kind == "i" and expected.min() < 0 else None
    mark = int(expected.max()) + 1
    if ignored is not None:
        expected = _marked(expected, ignored, mark)
    predicted, expected, affine = on_shared_grid(prediction.array, prediction.grid, expected, grid)
    if ignored is not None:
        keep = expected != mark
        predicted, expected = predicted * keep, expected * keep
    return predicted, expected, affine


def _read(mask: str | Path | Image) -> Image:
    return mask if isinstance(mask, Image) else read_labels(mask)


def _marked(
    channels: NDArray[np.generic], ignored: NDArray[np.bool_], value: int
) -> NDArray[np.generic]:
    """The channels with another value where voxels are ignored."""
    dtype = np.promote_types(channels.dtype, np.min_scalar_type(value))
    return np.where(ignored, np.array(value, dtype), channels.astype(dtype, copy=False))
