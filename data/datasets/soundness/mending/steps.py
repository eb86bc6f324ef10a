"""How each kind of fault is mended, in memory; kinds without a step need a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ....errors import DatasetError
from ....geometry.affines import Affine
from ....geometry.grids import Grid, voxel_map
from ....geometry.label_grids import nearest_labels
from ....geometry.placement import centre_mm, misplacement
from ..findings import Finding

_OFFSET = 1024
_AS_IT_IS = [[0, 1], [1, 1], [2, 1]]
"""nibabel's orientation of axes that run as the other's do."""


@dataclass(eq=False)
class Volume:
    """One file in memory, to be mended.

    Args:
        array: (X, Y, Z).
        affine: (4, 4), voxel index to RAS+ mm.
        other: the affine of the qform, where it disagrees.
        done: what was mended, in words.
    """

    array: NDArray[Any]
    affine: Affine
    other: Affine | None = None
    done: list[str] = field(default_factory=list)

    @property
    def grid(self) -> Grid:
        """Shape and affine as they are now."""
        x, y, z = self.array.shape
        return Grid((x, y, z), self.affine)


@dataclass(eq=False)
class Opened:
    """A case's files in memory; the first image is the one the label map lies on."""

    images: list[Volume]
    label: Volume | None


Step = Callable[[Opened, Finding, list[int]], None]


def mends(kind: str) -> str:
    """What is done about a kind of finding, in words; "" where nothing can be done.

    >>> mends("label-shifted")
    "the image's affine is copied into the label map"
    >>> mends("image-constant")
    ''
    """
    if kind in STEPS:
        return STEPS[kind][0]
    return WHOLE.get(kind, "")


def mend(case: Opened, finding: Finding, declared: list[int]) -> None:
    """Mend one fault of a case in memory.

    Args:
        case: is changed.
        finding: of a kind in STEPS.
        declared: the values of the dataset's labels.

    Raises:
        DatasetError: it cannot be mended after all.
    """
    STEPS[finding.kind][1](case, finding, declared)


def _copy_affine(case: Opened, finding: Finding, declared: list[int]) -> None:
    """As the label map's voxels are the image's: its affine is another for no reason."""
    _take_affine(_label(case), case.images[0], finding)


def _copy_near_affine(case: Opened, finding: Finding, declared: list[int]) -> None:
    """Of a label map that lies nearly right, so that the order and sense of its axes are true."""
    label, image = _label(case), case.images[0]
    turning = nib.io_orientation(voxel_map(image.grid, label.grid))
    if not np.array_equal(turning, _AS_IT_IS):
        label.array = np.ascontiguousarray(nib.apply_orientation(label.array, turning))
        label.done.append(f"voxels in the order of the image's ({finding.kind})")
    _take_affine(label, image, finding)


def _copy_affine_of_same_axes(case: Opened, finding: Finding, declared: list[int]) -> None:
    """Of a label map that lies elsewhere, if its axes run as the image's: else who knows?"""
    label, image = _label(case), case.images[0]
    turning = nib.io_orientation(voxel_map(image.grid, label.grid))
    if not np.array_equal(turning, _AS_IT_IS):
        raise DatasetError(
            f"the label map's axes run to {label.grid.orientation}, the image's to "
            f"{image.grid.orientation}, and it lies elsewhere, so nothing tells whether their "
            "voxels are in one order"
        )
    _take_affine(label, image, finding)


def _take_affine(label: Volume, image: Volume, finding: Finding) -> None:
    if label.array.shape != image.array.shape:
        raise DatasetError(
            f"the label map's shape {label.array.shape} is not the image's {image.array.shape}, so "
            "their voxels are not the same"
        )
    label.affine = image.affine.copy()
    label.done.append(f"the image's affine ({finding.kind})")


def _copy_to_image(case: Opened, finding: Finding, declared: list[int]) -> None:
    label = _label(case)
    for image in case.images:
        if label.array.shape != image.array.shape:
            raise DatasetError("image and label map have other shapes")
        image.affine = label.affine.copy()
        image.done.append(f"the label map's affine ({finding.kind})")


def _transpose(case: Opened, finding: Finding, declared: list[int]) -> None:
    label, image = _label(case), case.images[0]
    shape = image.array.shape
    orders = [
        order
        for order in ((2, 1, 0), *permutations(range(3)))
        if order != (0, 1, 2) and tuple(label.array.shape[axis] for axis in order) == shape
    ]
    if not orders:
        raise DatasetError(f"no order of its axes gives the image's shape {shape}")
    label.array = np.ascontiguousarray(label.array.transpose(orders[0]))
    label.affine = image.affine.copy()
    label.done.append(f"axes in the order {orders[0]}, the image's affine ({finding.kind})")


def _use_other_form(case: Opened, finding: Finding, declared: list[int]) -> None:
    volumes = [_label(case)] if finding.kind == "label-form" else case.images
    for volume in volumes:
        if volume.other is not None:
            volume.affine, volume.other = volume.other, None
            volume.done.append(f"both forms are the qform ({finding.kind})")


def _one_form(case: Opened, finding: Finding, declared: list[int]) -> None:
    for volume in (*case.images, *([case.label] if case.label else [])):
        if volume.other is not None:
            volume.other = None
            volume.done.append(f"both forms are the sform ({finding.kind})")


def _resample(case: Opened, finding: Finding, declared: list[int]) -> None:
    label, image = _label(case), case.images[0]
    label.array = np.array(nearest_labels(label.array, label.grid, image.grid))
    label.affine = image.affine.copy()
    label.done.append(f"on the image's grid by nearest neighbour ({finding.kind})")


def _round(case: Opened, finding: Finding, declared: list[int]) -> None:
    label = _label(case)
    wanted = np.array(declared)
    middles = (wanted[1:] + wanted[:-1]) / 2
    label.array = wanted[np.searchsorted(middles, label.array)]
    label.done.append(f"values rounded to the declared labels ({finding.kind})")


def _divide(case: Opened, finding: Finding, declared: list[int]) -> None:
    label, factor = _label(case), float(finding.numbers["factor"])
    label.array = np.rint(label.array / factor).astype(np.int32)
    label.done.append(f"values divided by {factor:.6g} ({finding.kind})")


def _swap(case: Opened, finding: Finding, declared: list[int]) -> None:
    label = _label(case)
    array = label.array.copy()
    for first, second in finding.numbers["swap"]:
        array[label.array == first] = second
        array[label.array == second] = first
        label.done.append(f"values {first} and {second} exchanged ({finding.kind})")
    label.array = array


def _flip_label(case: Opened, finding: Finding, declared: list[int]) -> None:
    label = _label(case)
    axes = _index_axes(label.affine, finding)
    label.array = np.flip(label.array, axes)
    label.done.append(f"voxels flipped along {finding.numbers['axes']} ({finding.kind})")


def _mirror_case(case: Opened, finding: Finding, declared: list[int]) -> None:
    axes = ["xyz".index(axis) for axis in finding.numbers["axes"]]
    # about the image's centre, so that the image stays where it is, and the label map on it
    mirror = np.eye(4)
    mirror[axes, axes] = -1
    mirror[axes, 3] = 2 * centre_mm(case.images[0].grid)[axes]
    for volume in (*case.images, _label(case)):
        volume.affine = mirror @ volume.affine
        volume.done.append(f"affine mirrored along {finding.numbers['axes']} ({finding.kind})")


def _exchange_files(case: Opened, finding: Finding, declared: list[int]) -> None:
    label, image = _label(case), case.images[0]
    image.array, label.array = label.array, image.array
    image.affine, label.affine = label.affine, image.affine
    for volume in (image, label):
        volume.done.append(f"image and label map exchanged ({finding.kind})")


def _not_finite(case: Opened, finding: Finding, declared: list[int]) -> None:
    label = _label(case)  # reading it has put 0 there
    label.done.append(f"voxels that are no numbers are background ({finding.kind})")


def _add_offset(case: Opened, finding: Finding, declared: list[int]) -> None:
    image = _image(case, finding)
    image.array = image.array.astype(np.promote_types(image.array.dtype, np.int16))
    image.array = image.array - image.array.dtype.type(_OFFSET)
    image.done.append(f"{_OFFSET} subtracted ({finding.kind})")


def _replaced(case: Opened, finding: Finding, declared: list[int]) -> None:
    image = _image(case, finding)  # reading it has done it already
    image.done.append(f"voxels that are no numbers have the lowest value ({finding.kind})")


def _scale_header(case: Opened, finding: Finding, declared: list[int]) -> None:
    factor = np.diag([*[float(finding.numbers["factor"])] * 3, 1.0])
    first, *others = case.images
    first.affine = factor @ first.affine
    first.done.append(f"affine times {factor[0, 0]:g} ({finding.kind})")
    for volume in (*others, *([case.label] if case.label is not None else [])):
        scaled = Grid(volume.grid.shape, factor @ volume.affine)
        if misplacement(first.grid, scaled) is None:
            volume.affine = scaled.affine
            volume.done.append(f"affine times {factor[0, 0]:g} ({finding.kind})")


def _image(case: Opened, finding: Finding) -> Volume:
    """The one of several channels' files that the finding is about."""
    return case.images[finding.numbers["file"]]


def _label(case: Opened) -> Volume:
    if case.label is None:
        raise DatasetError("the case has no label map")
    return case.label


def _index_axes(affine: Affine, finding: Finding) -> tuple[int, ...]:
    """The voxel axes along the patient's axes that a finding names."""
    order = nib.orientations.io_orientation(affine)[:, 0].astype(int).tolist()
    return tuple(order.index("xyz".index(axis)) for axis in finding.numbers["axes"])


_COPIED = "the image's affine is copied into the label map"
_COPY = (_COPIED, _copy_affine)
_NEAR = (_COPIED, _copy_near_affine)
_SAME_AXES = (_COPIED, _copy_affine_of_same_axes)
_GRID = ("the label map is resampled to the image's grid by nearest neighbour", _resample)
STEPS: dict[str, tuple[str, Step]] = {
    # in the order in which they are done: values, then what places the image, then the label map
    "files-swapped": ("image and label map are exchanged", _exchange_files),
    "label-not-finite": ("NaN and infinity become background", _not_finite),
    "image-not-finite": ("NaN and infinity become the lowest value", _replaced),
    "image-hu-offset": ("1024 is subtracted from the image", _add_offset),
    "label-scaled": ("the values are divided", _divide),
    "label-fractions": ("the values are rounded to the declared labels", _round),
    "spacing-unit": ("the affine is scaled to mm", _scale_header),
    "image-form": ("the image's sform becomes its qform", _use_other_form),
    "image-no-geometry": ("the label map's affine is copied into the image", _copy_to_image),
    "label-form": ("the label map's sform becomes its qform", _use_other_form),
    "forms-disagree": ("the qform becomes the sform", _one_form),
    "label-transposed": ("the label map's axes are transposed back", _transpose),
    "label-no-geometry": _COPY,
    "label-mirrored": _COPY,
    "label-spacing": _SAME_AXES,
    "label-shifted": _SAME_AXES,
    "label-turned": _SAME_AXES,
    "label-half-voxel": _NEAR,
    "label-nearly": _NEAR,
    "label-cropped": _GRID,
    "label-resampled": _GRID,
    "label-flipped": ("the label map's voxels are flipped back", _flip_label),
    "sides-swapped": ("the values of left and right are exchanged", _swap),
    "labels-swapped": ("the two values are exchanged", _swap),
    "case-mirrored": ("the affines of image and label map are mirrored", _mirror_case),
}
"""kind -> what is done in words, and what does it."""

WHOLE: dict[str, str] = {
    "case-twice": "the second case is left out",
    "case-in-train-and-test": "the test case is left out",
    "names-differ": "image and label map get one name",
    "ending-differs": "dataset.json asks for no file ending",
    "count-differs": "dataset.json is written anew",
}
"""kind -> what a copy of the dataset mends without opening a file."""
