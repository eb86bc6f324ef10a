"""What is needed of the header of one slice of a series, checked; errors do not name the series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset

from ..errors import ImageError
from .headers import instance_uid

Vector = tuple[float, ...]

_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_ROUNDING = 1e-3  # of direction cosines

SLICE_TAGS = [
    *_NEEDED,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "FrameOfReferenceUID",
    "NumberOfFrames",
    "SharedFunctionalGroupsSequence",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "AcquisitionTime",
    "ContentTime",
]
"""Keywords that `slice_header` looks at; reading no others is faster."""


@dataclass(frozen=True)
class SliceHeader:
    """What is needed of one slice's header.

    Args:
        name: file or member, for messages.
        instance: SOPInstanceUID, perhaps "".
        position: (3,) mm LPS, the centre of the first pixel.
        rows_along: (3,) direction in which the column index grows.
        columns_along: (3,) direction in which the row index grows.
        size: (columns, rows) pixels.
        spacing: (between columns, between rows) mm.
        identity: frame of reference, study and patient.
        acquisition: what tells acquisitions of one series apart, by name.
        slope, intercept: of the rescaling to HU.
    """

    name: str
    instance: str
    position: Vector
    rows_along: Vector
    columns_along: Vector
    size: tuple[int, int]
    spacing: tuple[float, float]
    identity: tuple[tuple[str, str], ...]
    acquisition: tuple[tuple[str, str], ...]
    slope: float
    intercept: float


def slice_header(header: FileDataset, name: str) -> SliceHeader:
    """Take what is needed from a header as pydicom read it.

    Raises:
        ImageError: a tag is missing, damaged or senseless, several frames, colours.
    """
    try:
        return _slice_header(header, name)
    except ImageError:
        raise
    except (
        Exception
    ) as error:  # pydicom converts values when they are asked for, with errors of a dozen types
        raise ImageError(
            f"{Path(name).name} has a damaged DICOM header ({error}); export it again"
        ) from error


def _slice_header(header: FileDataset, name: str) -> SliceHeader:
    short = Path(name).name
    frames = header.get("NumberOfFrames")
    if "SharedFunctionalGroupsSequence" in header or (frames is not None and int(frames) > 1):
        raise ImageError(
            f"{short} is an enhanced or multi-frame object with {frames} frames, which is not "
            "read; "
            "convert it to one file a slice (dcm4che's emf2sf does), or to NIfTI"
        )
    missing = [tag for tag in _NEEDED if header.get(tag) in (None, "") or header.get(tag) == []]
    if missing:
        raise ImageError(
            f"{short} has no {', '.join(missing)}, so its place in the patient is unknown; "
            "if the file was cut off copy it again, else export the series again with these tags"
        )
    kind = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    if int(header.get("SamplesPerPixel") or 1) != 1 or kind != "MONOCHROME2":
        raise ImageError(
            f"{short} is not a grey image of numbers ({kind}); export the original scan, not a "
            "picture"
        )
    position = _numbers(header, "ImagePositionPatient", 3)
    orientation = _numbers(header, "ImageOrientationPatient", 6)
    between_rows, between_columns = _numbers(header, "PixelSpacing", 2)
    slope, intercept = (
        float(default if header.get(tag) in (None, "") else header.get(tag))
        for tag, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    )
    size = int(header.Columns), int(header.Rows)
    rows_along, columns_along = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(rows_along)), float(np.linalg.norm(columns_along))
    cosine = abs(float(rows_along @ columns_along))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), cosine) > _ROUNDING:
        raise ImageError(
            f"{short}: its ImageOrientationPatient is not two unit vectors at right angles: "
            f"{orientation}"
        )
    if (
        min(between_rows, between_columns, *size) <= 0
        or not np.isfinite([slope, intercept]).all()
        or slope == 0
    ):
        raise ImageError(
            f"{short}: senseless numbers in its header: PixelSpacing "
            f"{between_rows, between_columns}, size {size}, "
            f"RescaleSlope {slope}, RescaleIntercept {intercept}"
        )
    return SliceHeader(
        name=name,
        instance=instance_uid(header),
        position=position,
        rows_along=tuple((rows_along / lengths[0]).tolist()),
        columns_along=tuple((columns_along / lengths[1]).tolist()),
        size=size,
        spacing=(between_columns, between_rows),
        identity=_texts(header, ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID")),
        acquisition=_texts(
            header,
            ("AcquisitionNumber", "TemporalPositionIdentifier", "AcquisitionTime", "ContentTime"),
        ),
        slope=slope,
        intercept=intercept,
    )


def _numbers(header: FileDataset, tag: str, count: int) -> Vector:
    values = header.get(tag)
    numbers = (
        tuple(float(value) for value in values) if not isinstance(values, str | float | int) else ()
    )
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{tag} is {values}, not {count} numbers")
    return numbers


def _texts(header: FileDataset, tags: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((tag, str(header.get(tag) if header.get(tag) is not None else "")) for tag in tags)
