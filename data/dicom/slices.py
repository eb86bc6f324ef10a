"""What is needed of the headers of a series' slices, checked; errors do not name the series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from ..errors import ImageError
from .listing.headers import instance_uid

Vector = tuple[float, ...]

_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
_RESCALE = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}  # what is meant where they are missing
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
    "PerFrameFunctionalGroupsSequence",
    "Modality",
    "PixelPaddingValue",
    "RescaleType",
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

_ACQUISITION = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "AcquisitionTime",
    "ContentTime",
    "FrameAcquisitionNumber",
    "FrameAcquisitionDateTime",
    "StackID",
)


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
        slope, intercept: of the rescaling to HU, or what is put in the place of missing ones.
        missing: rescaling tags that the header does not have.
        rescale_type: RescaleType, perhaps "".
        modality: upper case, perhaps "".
        inverse: it is to be shown inverted (MONOCHROME1), which does not change its values.
        padding: stored value of pixels outside the field of view, or None.
        file: index of the file in its series.
        frame: index of the frame in a multi-frame file; None in a file of one image.
        correction: (slope, intercept) to apply to the rescaled values, or None; see `intensities`.
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
    missing: tuple[str, ...] = ()
    rescale_type: str = ""
    modality: str = ""
    inverse: bool = False
    padding: float | None = None
    file: int = 0
    frame: int | None = None
    correction: tuple[float, float] | None = None

    @property
    def whole(self) -> bool:
        """Whether whole numbers stay whole when they are rescaled."""
        used = (self.slope, self.intercept, *(self.correction or ()))
        return all(float(one).is_integer() for one in used)

    @property
    def short(self) -> str:
        """The file's name, and the frame's number from 1 where there are several, for messages."""
        name = Path(self.name).name
        return name if self.frame is None else f"{name}, frame {self.frame + 1}"


def slice_header(header: FileDataset, name: str, file: int = 0) -> SliceHeader:
    """Take what is needed from a header as pydicom read it.

    Args:
        header: of a file of one image.
        name: the file's, for messages.
        file: its index in the series.

    Raises:
        ImageError: a tag is missing, damaged or senseless, colours.
    """
    short = Path(name).name
    try:
        return make_slice_header(
            header, [header], name=name, short=short, instance=instance_uid(header), file=file
        )
    except ImageError:
        raise
    except Exception as error:  # pydicom converts values late, with errors of a dozen types
        raise ImageError(
            f"{short} has a damaged DICOM header ({error}); export it again"
        ) from error


def make_slice_header(
    header: Dataset,
    groups: Sequence[Dataset],
    *,
    name: str,
    short: str,
    instance: str,
    file: int,
    frame: int | None = None,
) -> SliceHeader:
    """The header of one image, of which parts stand in functional groups where it is a frame.

    Args:
        header: of the file.
        groups: where the tags of the image are looked for, in this order.
        name, instance, file, frame: see SliceHeader.
        short: what the image is called in messages.

    Raises:
        ImageError: a tag is missing or senseless, or it is no grey image.
    """
    place = _place(groups, short)
    kind = _photometric(header, short)
    orientation = _numbers(place, "ImageOrientationPatient", 6)
    between_rows, between_columns = _numbers(place, "PixelSpacing", 2)
    slope, intercept, absent = _rescale(groups)
    size = int(place["Columns"]), int(place["Rows"])  # type: ignore[call-overload]
    rows_along, columns_along = _directions(short, orientation)
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
        instance=instance,
        position=_numbers(place, "ImagePositionPatient", 3),
        rows_along=rows_along,
        columns_along=columns_along,
        size=size,
        spacing=(between_columns, between_rows),
        identity=_texts([header], ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID")),
        acquisition=_texts(groups, _ACQUISITION),
        slope=slope,
        intercept=intercept,
        missing=absent,
        rescale_type=_text(groups, "RescaleType").upper(),
        modality=_text([header], "Modality").upper(),
        inverse=kind == "MONOCHROME1",
        padding=_padding(header),
        file=file,
        frame=frame,
    )


def _photometric(header: Dataset, short: str) -> str:
    """MONOCHROME1 or MONOCHROME2."""
    kind = str(header.get("PhotometricInterpretation") or "MONOCHROME2").strip()
    if int(header.get("SamplesPerPixel") or 1) != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(
            f"{short} is not a grey image of numbers ({kind}); export the original scan, not a "
            "picture"
        )
    return kind


def _place(groups: Sequence[Dataset], short: str) -> dict[str, object]:
    """The tags that say where an image lies."""
    place = {tag: _first(groups, tag) for tag in _NEEDED}
    missing = [tag for tag, value in place.items() if value in (None, "") or value == []]
    if missing:
        raise ImageError(
            f"{short} has no {', '.join(missing)}, so its place in the patient is unknown; "
            "if the file was cut off copy it again, else export the series again with these tags"
        )
    return place


def _rescale(groups: Sequence[Dataset]) -> tuple[float, float, tuple[str, ...]]:
    """Slope, intercept, and the tags that are missing and were replaced."""
    found = {tag: _first(groups, tag) for tag in _RESCALE}
    absent = tuple(tag for tag, value in found.items() if value in (None, ""))
    slope, intercept = (
        default if tag in absent else float(found[tag])  # type: ignore[arg-type]
        for tag, default in _RESCALE.items()
    )
    return slope, intercept, absent


def _directions(short: str, orientation: Vector) -> tuple[Vector, Vector]:
    """Unit vectors along which the column index and the row index grow."""
    rows_along, columns_along = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = float(np.linalg.norm(rows_along)), float(np.linalg.norm(columns_along))
    cosine = abs(float(rows_along @ columns_along))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), cosine) > _ROUNDING:
        raise ImageError(
            f"{short}: its ImageOrientationPatient is not two unit vectors at right angles: "
            f"{orientation}"
        )
    return tuple((rows_along / lengths[0]).tolist()), tuple((columns_along / lengths[1]).tolist())


def _first(groups: Sequence[Dataset], tag: str) -> object:
    """The first value of a tag that is not empty, else None."""
    for group in groups:
        value = group.get(tag)
        if value is not None and value != "":
            return value
    return None


def _numbers(values: dict[str, object], tag: str, count: int) -> Vector:
    value = values[tag]
    numbers = (
        tuple(float(one) for one in value)  # type: ignore[attr-defined]
        if not isinstance(value, str | float | int)
        else ()
    )
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"{tag} is {value}, not {count} numbers")
    return numbers


def _padding(header: Dataset) -> float | None:
    try:
        value = header.get("PixelPaddingValue")
        return None if value in (None, "") else float(value)
    except Exception:  # it only helps to tell what the other values are
        return None


def _text(groups: Sequence[Dataset], tag: str) -> str:
    value = _first(groups, tag)
    return "" if value is None else str(value).strip()


def _texts(groups: Sequence[Dataset], tags: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((tag, _text(groups, tag)) for tag in tags)
