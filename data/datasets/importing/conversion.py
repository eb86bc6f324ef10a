"""One file of the dataset from what a source has: a link, a copy, or a conversion to NIfTI."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...dicom.series import DicomSeries
from ...dicom.volume import read_series
from ...errors import DatasetError, ImageError
from ...files import settled
from ...geometry.grids import Grid, same_grid
from ...geometry.label_grids import nearest_labels
from ...geometry.placement import why_elsewhere
from ...images.image import Image
from ...images.names import case_id, is_image
from ...images.parts import files_of
from ...images.reading import read_grid, read_image, read_labels
from ...images.writing import write_image, write_labels
from ...output_folder import OutputFolder
from ..label_values import count_values
from .archive import opened_member
from .flips import find_flips
from .record import Input, files_behind, sha256_of
from .segments import layers_of, names_segments, read_segmentation
from .source import LabelFile, Masks, Member

_LOG = logging.getLogger("gridgate.datasets")
NIFTI = ".nii.gz"
_PIECE = 1 << 20


def suffix_of(source: Input) -> str:
    """The suffix of a source's file as it will be in the dataset: its own, or that of NIfTI."""
    if isinstance(source, DicomSeries):
        return NIFTI
    name = Path(source.name).name
    suffix = name[len(case_id(name)) :].lower()
    if isinstance(source, Member):
        return suffix
    return suffix if suffix and is_taken_as_it_is(source) else NIFTI


def label_suffix(label: LabelFile | Masks) -> str:
    """The suffix of a label map in the dataset."""
    if isinstance(label, Masks) or label.values is not None or label.find_flips:
        return NIFTI
    return suffix_of(label.file)


def is_taken_as_it_is(path: Path) -> bool:
    """Whether a file can be read where it is and as it is, so that a link to it will do."""
    if not is_image(path) or files_of(path) != [path]:
        return False
    return not path.name.lower().endswith(".seg.nrrd") or layers_of(path) == 1


def take(output: OutputFolder, relative: str, path: Path, *, copy: bool) -> str:
    """A link to a file in the dataset, or its copy; how it was taken.

    Raises:
        OutputError: a file that Gridgate did not write is in its place, or the disk is full.
    """
    if not copy:
        try:
            output.link(relative, settled(path))
            return "link"
        except (OSError, NotImplementedError) as error:
            _LOG.warning(f"{output.folder}: no links can be made here ({error}); files are copied")

    def write(stream: BinaryIO) -> None:
        with open(path, "rb") as source:
            shutil.copyfileobj(source, stream, _PIECE)

    output.write(relative, write)
    return "copy"


def unpack(output: OutputFolder, relative: str, member: Member) -> str:
    """A member of a tar as a file of the dataset; its SHA-256.

    Raises:
        DatasetError: the archive is cut off or damaged.
    """
    digest = hashlib.sha256()

    def write(stream: BinaryIO) -> None:
        with opened_member(member) as source:
            left = member.size
            while left and (piece := source.read(min(_PIECE, left))):
                digest.update(piece)
                stream.write(piece)
                left -= len(piece)
        if left:
            raise DatasetError(
                f"{member.archive}: ends in the middle of {member.name}; get it again"
            )

    output.write(relative, write)
    return digest.hexdigest()


def make_image(output: OutputFolder, relative: str, source: Input, *, copy: bool) -> dict[str, Any]:
    """An image of the dataset; what is to be said of it in the record.

    Raises:
        GridgateError: it cannot be read, or not be written.
    """
    if isinstance(source, Member):
        return {"how": "unpacked", "sha256": unpack(output, relative, source)}
    facts: dict[str, Any] = {"sha256": sha256_of(files_behind(source))}
    kept = isinstance(source, Path) and relative.endswith(suffix_of(source))
    if kept and isinstance(source, Path) and is_taken_as_it_is(source):
        return {"how": take(output, relative, source, copy=copy), **facts}
    if isinstance(source, DicomSeries):
        image = read_series(source, keep_integers=True)
    else:
        image = read_image(source, keep_integers=True)
    path = output.path(relative)
    write_image(path, image.array, like=image, keep_integers=True, save=output.saver(relative))
    return {"how": "converted", **facts, **_told(image.notes)}


def make_label(
    output: OutputFolder,
    relative: str,
    label: LabelFile | Masks,
    *,
    image: str,
    copy: bool,
) -> dict[str, Any]:
    """A label map of the dataset; what is to be said of it in the record.

    Args:
        image: the case's image in the dataset, which is there already.

    Raises:
        GridgateError: it cannot be read or written, holds values that nobody named, segments
            overlap, or a DICOM SEG lies elsewhere than its image.
    """
    if isinstance(label, Masks):
        behind = [file for mask in label.files.values() for file in files_of(mask)]
        made = _composed(label, output.folder / image)
        facts = {"how": "composed", "sha256": sha256_of(behind)}
    else:
        if isinstance(label.file, Member):
            return {"how": "unpacked", "sha256": unpack(output, relative, label.file)}
        facts = {"sha256": sha256_of(files_of(label.file))}
        if label.values is None and not label.find_flips and is_taken_as_it_is(label.file):
            return {"how": take(output, relative, label.file, copy=copy), **facts}
        made = _converted(label, label.file, output.folder / image)
        facts["how"] = "converted"
    path = output.path(relative)
    write_labels(path, made.array, like=made, save=output.saver(relative))
    return {**facts, **_told(made.notes)}


def recipe_of(label: LabelFile | Masks) -> dict[str, Any]:
    """How a label map is made, in words that JSON has; a change makes it anew."""
    if isinstance(label, Masks):
        return {"masks": {str(value): str(file) for value, file in label.files.items()}}
    recipe: dict[str, Any] = {}
    if label.values is not None:
        recipe["values"] = {str(value): new for value, new in sorted(label.values.items())}
    if label.find_flips:
        recipe["flips"] = "found"
    return recipe


def _converted(label: LabelFile, file: Path, image: Path) -> Image:
    if not names_segments(file):
        read = read_labels(file)
    else:
        grid = read_grid(image)
        read = read_segmentation(file, image=grid)
        if not file.name.lower().endswith(".seg.nrrd"):
            read = _laid_into(read, grid, file, image)
    array = read.array
    if label.find_flips:
        scan = read_image(image, keep_integers=True)
        found = find_flips(array, scan, file)
        array = np.flip(array, found.axes) if found.axes else array
        read = Image(array, scan.grid, file, scan.header, (found.evidence,))
    if label.values is not None:
        array = mapped(array, label.values, file)
    return Image(array, read.grid, file, read.header, read.notes)


def _laid_into(read: Image, grid: Grid, file: Path, image: Path) -> Image:
    """A DICOM SEG, which has frames only where something is, in the grid of its image."""
    why = why_elsewhere(grid, read.grid)
    if why is not None:
        raise ImageError(f"{file}: it does not lie on its image {image}: {why}")
    laid = nearest_labels(read.array, read.grid, grid)
    if laid.any() or not read.array.any():
        return Image(laid, grid, file, None, read.notes)
    raise ImageError(f"{file}: none of its segments lies on its image {image}; check the pairing")


def mapped(
    array: NDArray[np.generic], values: Mapping[int, int], file: Path
) -> NDArray[np.generic]:
    """A label map's values -> those of the dataset; 0 stays 0.

    Raises:
        ImageError: a value that nobody named.
    """
    wanted = {0: 0, **values}
    unnamed = {value: count for value, count in count_values(array).items() if value not in wanted}
    if unnamed:
        told = ", ".join(f"{value:g} ({count} voxels)" for value, count in unnamed.items())
        raise ImageError(
            f"{file}: holds values without a name: {told}; name them by --label_names, or correct "
            "the file"
        )
    result = np.zeros(array.shape, dtype=np.uint16, order="F")
    for value, new in wanted.items():
        if new:
            result[array == value] = new
    return result


def _composed(label: Masks, image: Path) -> Image:
    """One label map of masks; they lie in the grid of the first, or are laid into the image's."""
    grid = read_grid(image)
    result, header, first = None, None, Path()
    for value, file in label.files.items():
        mask = read_labels(file)
        array = mask.array
        if result is None:
            grid = mask.grid if mask.grid.shape == grid.shape else grid
            result, header, first = np.zeros(grid.shape, np.uint16, order="F"), mask.header, file
        if not same_grid(mask.grid, grid):
            why = why_elsewhere(grid, mask.grid)
            if why is not None:
                raise ImageError(f"{file}: it does not lie on {first}: {why}")
            array = nearest_labels(array, mask.grid, grid)
            header = None
        result[array != 0] = value
    if result is None:
        result = np.zeros(grid.shape, np.uint16, order="F")
    return Image(result, grid, first, header, ())


def _told(notes: tuple[str, ...]) -> dict[str, Any]:
    return {"notes": list(notes)} if notes else {}
