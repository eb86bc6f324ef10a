"""Segmentations that name what they hold: `.seg.nrrd` of 3D Slicer and DICOM SEG."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...dicom.listing.headers import is_dicom
from ...errors import ImageError
from ...geometry.grids import Grid
from ...images.compression import opened
from ...images.image import Image
from ...images.reading import read_labels

_HEADER = 1 << 20  # bytes of a NRRD header that are looked at
_FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer):=(.*)")
_FIRST = 132
_SEG = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage, and Label Map Segmentation Storage."""
_PARALLEL = 1e-3  # voxels that a frame may be off the planes of the others
_UNEVEN = 0.05  # of a step between slices that a frame may be off its place


@dataclass(frozen=True)
class Segment:
    """One label of a segmentation.

    Args:
        number: its value in what `read_segmentation` gives.
        name: as the file has it.
        value, layer: where its voxels are in a `.seg.nrrd` file.
    """

    number: int
    name: str
    value: int = 1
    layer: int = 0


def names_segments(path: Path) -> bool:
    """Whether a file is a `.seg.nrrd` or a DICOM file, by its name or its beginning."""
    return path.name.lower().endswith(".seg.nrrd") or _is_dicom_file(path)


def segments(path: Path) -> list[Segment]:
    """The segments of a `.seg.nrrd` or DICOM SEG file, from its header alone.

    Raises:
        ImageError: it cannot be read, or is DICOM of another kind.
    """
    if not path.name.lower().endswith(".seg.nrrd"):
        dataset = _dicom(path, pixels=False)
        if not dataset.get("SegmentSequence"):
            raise ImageError(f"{path}: it names no segments; export it again")
        return [
            Segment(int(one.SegmentNumber), _dicom_name(one))
            for one in dataset.SegmentSequence
            if int(one.SegmentNumber)  # 0 is the background of a LABELMAP
        ]
    fields: dict[int, dict[str, str]] = {}
    for line in _header(path):
        if match := _FIELD.fullmatch(line.strip()):
            fields.setdefault(int(match[1]), {})[match[2]] = match[3].strip()
    layers = _layers(path)
    found = []
    for index, said in sorted(fields.items()):
        layer = int(said.get("Layer", index if layers > 1 else 0))
        value = int(said.get("LabelValue", 1 if layers > 1 else index + 1))
        number = index + 1 if layers > 1 else value
        found.append(Segment(number, said.get("Name", f"segment_{index + 1}"), value, layer))
    return found


def read_segmentation(path: Path, *, image: Grid | None = None) -> Image:
    """The segments of a `.seg.nrrd` or DICOM SEG file as one label map.

    Args:
        image: the grid of the image that a DICOM SEG belongs to: how far its slices are apart
            where neither the file nor its frames say.

    Returns:
        Image, array (X, Y, Z) of unsigned integers: the segments' numbers.

    Raises:
        ImageError: it cannot be read, segments overlap.
    """
    if path.name.lower().endswith(".seg.nrrd"):
        return read_labels(path) if _layers(path) <= 1 else _layered(path)
    try:
        return _frames(path, image)
    except (AttributeError, KeyError, ValueError, RuntimeError, NotImplementedError) as error:
        # what pydicom raises for attributes that are missing and pixels that it cannot decode
        raise ImageError(
            f"{path}: cannot be used as DICOM SEG ({error}); export it again"
        ) from None


def layers_of(path: Path) -> int:
    """How many layers a `.seg.nrrd` file has: more than one where its segments may overlap."""
    return _layers(path)


def _layered(path: Path) -> Image:
    import SimpleITK as sitk

    from ...images.formats.itk import lps_affine

    try:
        read = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ImageError(f"{path}: its voxels cannot be read ({error}); export it again") from None
    layers = sitk.GetArrayFromImage(read)  # (Z, Y, X, layers)
    z, y, x = layers.shape[:3]
    merged = np.zeros((x, y, z), dtype=np.uint16)
    known = segments(path)
    for one in known:
        inside = (layers[..., one.layer] == one.value).transpose(2, 1, 0)
        _lay(merged, inside, one, known, path)
    affine = lps_affine(read.GetOrigin(), read.GetSpacing(), read.GetDirection())
    return Image(merged, Grid((x, y, z), affine), path, None, ())


def _lay(
    merged: NDArray[np.uint16],
    inside: NDArray[np.bool_],
    one: Segment,
    known: Sequence[Segment],
    path: Path,
) -> None:
    """Put a segment into a label map; two segments cannot have one voxel."""
    taken = merged[inside]
    if taken.any():
        other = int(taken[taken > 0][0])
        name = next(segment.name for segment in known if segment.number == other)
        raise ImageError(
            f"{path}: the segments {name!r} and {one.name!r} overlap in {np.count_nonzero(taken)} "
            "voxels, and a label map has one label per voxel; export them without overlap (in 3D "
            "Slicer: Masking, Modify other segments: Overwrite all), or one file per segment with "
            "--masks"
        )
    merged[inside] = one.number


def _frames(path: Path, image: Grid | None) -> Image:
    dataset = _dicom(path, pixels=True)
    known = segments(path)
    by_number = {one.number: one for one in known}
    if str(dataset.SegmentationType) == "FRACTIONAL":
        raise ImageError(
            f"{path}: its segments are fractions, not labels; export them as binary segments"
        )
    pixels = dataset.pixel_array
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    rows, columns = pixels.shape[1:]
    axes, positions, numbers = _geometry(dataset, path)
    normal = np.cross(axes[:, 0], axes[:, 1])
    normal /= np.linalg.norm(normal)
    heights = positions @ normal
    step = _step(dataset, heights, normal, image)
    first = int(heights.argmin())
    indices = (heights - heights[first]) / step
    if np.abs(indices - indices.round()).max() > _UNEVEN:
        raise ImageError(f"{path}: its frames are not evenly spaced; export it again")
    between = _between_slices(positions, indices.round(), normal * step, image)
    off = positions - positions[first] - indices.round()[:, None] * between
    if np.linalg.norm(off, axis=1).max() > _UNEVEN * max(step, *np.linalg.norm(axes, axis=0)):
        raise ImageError(
            f"{path}: its frames are shifted against each other, and not as the slices of a tilted "
            "gantry are; export it again"
        )
    merged = np.zeros((columns, rows, int(indices.round().max()) + 1), dtype=np.uint16)
    label_map = str(dataset.SegmentationType) == "LABELMAP"
    for frame, index, number in zip(pixels, indices.round().astype(int), numbers, strict=True):
        if label_map:
            merged[:, :, index] = frame.T
            continue
        _lay(merged[:, :, index], frame.T > 0, by_number[number], known, path)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = axes[:, 0], axes[:, 1], between
    affine[:3, 3] = positions[first]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    return Image(merged, Grid(merged.shape, affine), path, None, ())


def _geometry(
    dataset: Any, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[int]]:
    """Steps along columns and rows (3, 2), positions of the frames (N, 3), LPS mm, and segments."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    positions, numbers, axes = [], [], None
    for group in dataset.PerFrameFunctionalGroupsSequence:
        plane = _of("PlaneOrientationSequence", group, shared, path)
        measures = _of("PixelMeasuresSequence", group, shared, path)
        cosines = np.asarray(plane.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
        between_rows, between_columns = (float(one) for one in measures.PixelSpacing)
        own = np.stack([cosines[0] * between_columns, cosines[1] * between_rows], axis=1)
        if axes is not None and np.abs(own - axes).max() > _PARALLEL:
            raise ImageError(f"{path}: its frames lie in different planes; export it again")
        axes = own
        place = _of("PlanePositionSequence", group, shared, path)
        positions.append(np.asarray(place.ImagePositionPatient, dtype=np.float64))
        named = getattr(group, "SegmentIdentificationSequence", None) or getattr(
            shared, "SegmentIdentificationSequence", None
        )
        numbers.append(int(named[0].ReferencedSegmentNumber) if named else 0)
    if axes is None:
        raise ImageError(f"{path}: it has no frames; export it again")
    return axes, np.stack(positions), numbers


def _of(keyword: str, group: Any, shared: Any, path: Path) -> Any:
    found = getattr(group, keyword, None) or getattr(shared, keyword, None)
    if not found:
        raise ImageError(f"{path}: it lacks {keyword}, so it has no place; export it again")
    return found[0]


def _step(
    dataset: Any, heights: NDArray[np.float64], normal: NDArray[np.float64], image: Grid | None
) -> float:
    """Mm from slice to slice; empty slices have no frames, so frames may lie farther apart.

    What the file says, where its frames lie on such slices. Else the least distance of two frames,
    as nothing is drawn in every other slice alone, unless the frames are as thin as the image's
    slices: an image may be a thinner reconstruction than the one that was drawn on.
    """
    shared = dataset.SharedFunctionalGroupsSequence[0]
    first = dataset.PerFrameFunctionalGroupsSequence[0]
    measures = (
        getattr(shared, "PixelMeasuresSequence", None)
        or getattr(first, "PixelMeasuresSequence", None)
        or [None]
    )[0]
    between = float(getattr(measures, "SpacingBetweenSlices", 0) or 0)
    thickness = float(getattr(measures, "SliceThickness", 0) or 0)
    levels = np.unique(np.round(heights, 3))
    gap = float(np.diff(levels).min()) if len(levels) > 1 else 0.0
    if between > 0 and _is_multiple(gap, between):
        return between
    images = 0.0
    if image is not None:
        steps = np.abs(normal @ (np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3, :3]))
        images = float(steps.max())
    thin = abs(thickness - images) <= _UNEVEN * images
    if images and (not gap or (thin and _is_multiple(gap, images))):
        return images
    return gap or thickness or 1.0


def _between_slices(
    positions: NDArray[np.float64],
    indices: NDArray[np.float64],
    straight: NDArray[np.float64],
    image: Grid | None,
) -> NDArray[np.float64]:
    """LPS mm from a slice to the next one; not along their normal where the gantry was tilted.

    Args:
        positions: (N, 3) of the frames, LPS mm.
        indices: (N,) slices that they are on.
        straight: the step along the normal.
        image: says how it was tilted where all frames are on one slice.
    """
    lowest, highest = int(indices.argmin()), int(indices.argmax())
    if indices[highest] > indices[lowest]:
        count = indices[highest] - indices[lowest]
        return np.asarray((positions[highest] - positions[lowest]) / count)
    if image is None:
        return straight
    steps = np.diag([-1.0, -1.0, 1.0]) @ image.affine[:3, :3]
    along = straight @ steps  # of each of its axes
    axis = int(np.abs(along).argmax())
    return np.asarray(steps[:, axis] * (straight @ straight) / along[axis])


def _is_multiple(gap: float, step: float) -> bool:
    """Whether slices of a step have frames such a distance apart; 0: there is one level."""
    return abs(gap / step - round(gap / step)) <= _UNEVEN and (not gap or gap > step / 2)


def _dicom(path: Path, *, pixels: bool) -> Any:
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=not pixels)
    except (OSError, InvalidDicomError, ValueError, EOFError) as error:
        raise ImageError(f"{path}: cannot be read as DICOM ({error}); copy it again") from None
    if str(dataset.get("SOPClassUID", "")) not in _SEG:
        kind = str(dataset.get("Modality", "")) or "unknown"
        more = "; RTSTRUCT contours are not read, export them as label maps" * (kind == "RTSTRUCT")
        raise ImageError(f"{path}: it is DICOM of the kind {kind}, not SEG{more}")
    return dataset


def _dicom_name(one: Any) -> str:
    label = str(one.get("SegmentLabel", "")).strip()
    return label or f"segment_{int(one.SegmentNumber)}"


def _is_dicom_file(path: Path) -> bool:
    try:
        with open(path, "rb") as stream:
            return is_dicom(stream.read(_FIRST))
    except OSError:
        return False


def _header(path: Path) -> list[str]:
    try:
        with opened(path) as stream:
            text = stream.read(_HEADER)
    except (OSError, EOFError, zlib.error) as error:
        raise ImageError(f"{path}: cannot be read ({error}); copy it again") from None
    return text.partition(b"\n\n")[0].decode("utf-8", errors="replace").splitlines()


def _layers(path: Path) -> int:
    """The length of a `.seg.nrrd` file's first axis where it is one of layers, else 1."""
    fields = dict(line.split(":", 1) for line in _header(path) if ":" in line and ":=" not in line)
    sizes = fields.get("sizes", "").split()
    return int(sizes[0]) if fields.get("dimension", "").strip() == "4" and sizes else 1
