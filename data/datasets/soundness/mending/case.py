"""One case mended: read, changed in memory, and those of its files written that changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ....errors import DatasetError
from ....images.formats.nifti_affine import choose_affine
from ....images.image import Image
from ....images.names import case_id
from ....images.reading import read_image
from ....images.writing import write_image, write_labels
from ...listed import CaseFiles
from ..findings import Finding
from ..listing import Listing
from ..measures import first_channel
from .steps import Opened, Volume, mend


def mended_case(
    case: CaseFiles, findings: Sequence[Finding], listing: Listing, targets: Sequence[Path]
) -> dict[Path, str]:
    """Mend a case, and write those of its files that change.

    Args:
        case: id, images, label map.
        findings: in the order in which they are mended.
        listing: of the dataset.
        targets: a path per file, of any ending; what is written is .nii.gz.

    Returns:
        original -> what was mended of it, in words; those of the case that did not change are not
        there.

    Raises:
        DatasetError: a fault cannot be mended after all; nothing is written then.
        ImageError: a file cannot be read.
        OutputError: one cannot be written.
    """
    opened = open_case(case, listing)
    declared = sorted(listing.labels.values())
    if listing.ignore is not None:
        declared = sorted({*declared, listing.ignore})
    for finding in findings:
        mend(opened, finding, declared)
    paths = [*case[1], *([case[2]] if case[2] is not None else [])]
    volumes = [*opened.images, *([opened.label] if opened.label is not None else [])]
    if len(case[1]) < len(listing.channels) and any(one.done for one in opened.images):
        raise DatasetError(
            f"{case[1][0]}: holds several channels in one file, which is not mended; split it into "
            "a file per channel"
        )
    written = {}
    for path, volume, target in zip(paths, volumes, targets, strict=True):
        if volume.done:
            new = target.with_name(f"{case_id(target)}.nii.gz")
            _save(new, path, volume, is_label=volume is opened.label)
            written[path] = "; ".join(volume.done)
    return written


def open_case(case: CaseFiles, listing: Listing) -> Opened:
    """Read a case's files, to be mended.

    Raises:
        ImageError: one cannot be read.
    """
    _, images, label = case
    channels = len(listing.channels) if len(images) == 1 else 1
    return Opened(
        [_volume(path, channels, "replace") for path in images],
        None if label is None else _volume(label, 1, "zero"),
    )


def _volume(path: Path, channels: int, non_finite: Literal["replace", "zero"]) -> Volume:
    image = read_image(path, channels=channels, non_finite=non_finite, keep_integers=True)
    other = None if image.header is None else choose_affine(image.header).other
    return Volume(first_channel(image), image.grid.affine, other)


def _save(target: Path, path: Path, volume: Volume, *, is_label: bool) -> None:
    like = Image(volume.array, volume.grid, path, None, ())
    array = np.asarray(volume.array)
    if not is_label:
        write_image(target, array, like=like, keep_integers=True)
        return
    if array.dtype.kind == "f":
        whole = np.rint(array)
        if np.abs(whole - array).max() > 1e-4:
            raise DatasetError(f"{path}: still holds fractions")
        array = whole.astype(np.int64)
    write_labels(target, array, like=like)
