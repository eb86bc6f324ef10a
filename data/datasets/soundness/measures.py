"""One case, opened once: all that the families of findings ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ...errors import ImageError
from ...geometry.affines import spacing
from ...geometry.grids import Grid
from ...geometry.label_grids import nearest_labels
from ...geometry.placement import why_elsewhere
from ...images.formats.nifti_affine import choose_affine
from ...images.image import Image
from ...images.reading import read_axes, read_image
from ..label_values import count_values
from .body import find_body
from .intensities import Intensities, content_hash, is_ct, label_hash, measure_intensities
from .label_numbers import Edges, LabelNumbers, measure_labels


@dataclass(frozen=True)
class Job:
    """A case to be measured.

    Args:
        id: of the case.
        images: its files.
        label: its label map; None where there is none.
        channels: their names.
        test: it is one of those without label map.
        unannotated: values of the labels that it does not have annotated.
        ignore: the value that counts as no label.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None
    channels: tuple[str, ...]
    test: bool = False
    unannotated: frozenset[int] = frozenset()
    ignore: int | None = None


@dataclass(frozen=True)
class FileNumbers:
    """Of one file.

    Args:
        path: the file.
        grid: None where it cannot be read, and `error` says why.
        error: without the path.
        notes: what reading it mended or guessed.
        guessed: its header gives no orientation.
        disagree_mm: how far sform and qform lie apart, where that is too much.
        other: the grid of the qform then.
        channels: one per channel; of a label map none.
        non_finite: how many voxels are NaN or infinite.
        hash: of the voxels.
    """

    path: Path
    grid: Grid | None = None
    error: str = ""
    notes: tuple[str, ...] = ()
    guessed: bool = False
    disagree_mm: float = 0.0
    other: Grid | None = None
    channels: tuple[Intensities, ...] = ()
    non_finite: int = 0
    hash: str = ""


@dataclass(frozen=True)
class CaseNumbers:
    """Of one case.

    Args:
        job: what was measured.
        images: one per file.
        label: of the label map's file; None where there is none.
        counts: value in the label map -> voxels, the background included; fractions too.
        labels: value -> numbers, the background not included; whole values only.
        edges: how well borders and edges agree.
        air: share of a CT that is outside the body; 0 where it is no CT.
    """

    job: Job
    images: tuple[FileNumbers, ...]
    label: FileNumbers | None = None
    counts: Mapping[int | float, int] = field(default_factory=dict)
    labels: Mapping[int, LabelNumbers] = field(default_factory=dict)
    edges: Edges | None = None
    air: float = 0.0

    @property
    def id(self) -> str:
        """The case's id."""
        return self.job.id

    @property
    def grid(self) -> Grid | None:
        """The first image's grid."""
        return self.images[0].grid


def measure_case(job: Job) -> CaseNumbers:
    """Open a case's files once and measure them; what cannot be read is part of the answer."""
    first: Image | None = None
    files: list[FileNumbers] = []
    for number, path in enumerate(job.images):
        names = job.channels if len(job.images) == 1 else (job.channels[number],)
        numbers, image = _measure_image(path, names)
        files.append(numbers)
        first = image if number == 0 else first
        del image
    if job.label is None:
        return CaseNumbers(job, tuple(files))
    found, labels = _measure_label_file(job.label)
    if labels is None:
        return CaseNumbers(job, tuple(files), found)
    return _measure_labels(job, tuple(files), found, first, labels)


def towards_ras(array: NDArray[np.generic], grid: Grid) -> tuple[NDArray[np.generic], Grid]:
    """A view of an array with its axes towards RAS, as nearly as its affine is, and its grid."""
    order = nib.orientations.io_orientation(grid.affine)
    turned = nib.orientations.apply_orientation(array, order)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(order, array.shape)
    x, y, z = turned.shape
    return turned, Grid((x, y, z), affine)


def first_channel(image: Image) -> NDArray[np.generic]:
    """(X, Y, Z) of an image of one or more channels."""
    return image.array if image.array.ndim == 3 else image.array[0]


def _measure_image(path: Path, names: tuple[str, ...]) -> tuple[FileNumbers, Image | None]:
    try:
        image = _read(path, len(names))
    except ImageError as error:
        return FileNumbers(path, error=_without(path, error)), None
    planes = [image.array] if image.array.ndim == 3 else list(image.array)
    channels = tuple(
        measure_intensities(plane, is_ct=is_ct(name))
        for plane, name in zip(planes, names, strict=True)
    )
    content = content_hash(towards_ras(planes[0], image.grid)[0])
    return _file(path, image, channels=channels, hash=content), image


def _read(path: Path, channels: int) -> Image:
    try:
        return read_image(path, channels=channels, non_finite="replace", keep_integers=True)
    except ImageError:
        axes = read_axes(path)
        if channels == 1 or len(axes) > 3:
            raise
        raise ImageError(
            f"{path}: it has one channel, dataset.json names {channels}; add the others' files"
        ) from None


def _measure_label_file(path: Path) -> tuple[FileNumbers, NDArray[np.generic] | None]:
    try:
        image = read_image(path, non_finite="zero", keep_integers=True)
    except ImageError as error:
        return FileNumbers(path, error=_without(path, error)), None
    array = image.array
    if array.dtype.kind == "f":
        whole = np.rint(array)
        array = whole.astype(np.int32) if np.abs(whole - array).max() <= 1e-4 else array
    if array.dtype.kind == "i" and array.min() >= 0 and array.max() < 256:
        array = array.astype(np.uint8, order="K")
    content = label_hash(towards_ras(array, image.grid)[0]) if array.any() else ""
    return _file(path, image, hash=content), array


def _file(
    path: Path, image: Image, *, channels: tuple[Intensities, ...] = (), hash: str = ""
) -> FileNumbers:
    guessed, disagree, other = False, 0.0, None
    if image.header is not None:
        choice = choose_affine(image.header)
        guessed, disagree = choice.source == "pixdim", choice.disagree_mm
        other = Grid(image.grid.shape, choice.other) if choice.other is not None else None
    bad = next((int(note.split()[0]) for note in image.notes if "NaN or infinite" in note), 0)
    return FileNumbers(
        path, image.grid, "", image.notes, guessed, disagree, other, channels, bad, hash
    )


def _measure_labels(
    job: Job,
    files: tuple[FileNumbers, ...],
    found: FileNumbers,
    image: Image | None,
    labels: NDArray[np.generic],
) -> CaseNumbers:
    counts = count_values(labels)
    whole = {value: n for value, n in counts.items() if isinstance(value, int) and value > 0}
    assert found.grid is not None
    alone = {
        value: LabelNumbers(n, n * found.grid.voxel_ml) for value, n in list(whole.items())[:1024]
    }
    fits = image is not None and why_elsewhere(image.grid, found.grid) is None
    if image is None or not fits or labels.dtype.kind == "f" or len(whole) > 1024:
        return CaseNumbers(job, files, found, counts, alone)
    pixels, grid = towards_ras(first_channel(image), image.grid)
    turned, label_grid = towards_ras(labels, found.grid)
    del labels
    if turned.shape != grid.shape:  # else they are voxel on voxel, or nearly
        turned = nearest_labels(turned, label_grid, grid)
        counted = count_values(turned)
        whole = {value: counted[value] for value in whole if value in counted}
    body = find_body(pixels) if is_ct(job.channels[0]) else None
    numbers, edges = measure_labels(pixels, turned, whole, spacing(grid.affine), body)
    return CaseNumbers(
        job, files, found, counts, {**alone, **numbers}, edges, body.air if body else 0.0
    )


def _without(path: Path, error: Exception) -> str:
    """An error's text without the path in front."""
    return str(error).removeprefix(f"{path}: ")
