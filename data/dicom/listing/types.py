"""What listing tells: one file's header in short, a damaged file, a series of files."""

from dataclasses import dataclass
from pathlib import Path

Texts = tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where an image lies and what volume it could be a slice of, as its header spells it.

    Args:
        position, orientation, spacing: values of ImagePositionPatient, ImageOrientationPatient and
            PixelSpacing; () where the tag is missing or empty.
        size: Rows and Columns; () where the header ends before them.
        frames: NumberOfFrames, 1 where it is missing.
        study, frame_of_reference: UIDs, perhaps "".
        patient: PatientID, perhaps "".
    """

    position: Texts = ()
    orientation: Texts = ()
    spacing: Texts = ()
    size: Texts = ()
    frames: int = 1
    study: str = ""
    frame_of_reference: str = ""
    patient: str = ""

    @property
    def known(self) -> bool:
        """Whether the header says anything of where the image lies."""
        return bool(self.position or self.orientation or self.spacing)


@dataclass(frozen=True)
class Found:
    """What one DICOM file says of itself.

    Args:
        name: absolute path, or the member's name in a zip.
        folder: the folder of `name`, as text.
        uid: SeriesInstanceUID or "".
        instance: SOPInstanceUID or "".
        modality: upper case, or "".
        description: SeriesDescription or "".
        number: SeriesNumber as text, or "".
        pixels: it is an image.
        localizer: an image that only shows where the others lie.
        capture: a secondary capture without a position: a picture of a screen or a page.
        enhanced: a multi-frame image with its geometry in functional groups.
        derived: it was computed from other images, by its ImageType.
        place: its geometry.
    """

    name: str
    folder: str
    uid: str
    instance: str
    modality: str
    description: str
    number: str
    pixels: bool
    localizer: bool
    capture: bool
    enhanced: bool = False
    derived: bool = False
    place: Place = Place()

    @property
    def placeless(self) -> bool:
        """An image whose header is complete and names no place in the patient at all."""
        return self.pixels and bool(self.place.size) and not (self.enhanced or self.place.known)


@dataclass(frozen=True)
class Damaged:
    """A file that should be DICOM and cannot be used.

    Args:
        name, folder: as for `Found`.
        reason: what is wrong, and what to do.
        sure: it is certainly meant to be DICOM, by its name or its beginning.
    """

    name: str
    folder: str
    reason: str
    sure: bool = True


@dataclass(frozen=True)
class DicomSeries:
    """The image files of one DICOM series; `gridgate.data.dicom.volume.read_series` reads them.

    str() gives "<folder> (series <uid>)", the same from run to run.

    Args:
        uid: SeriesInstanceUID; "" where the files have none, and all of a folder are taken as one
            series.
        modality: such as "CT".
        description: SeriesDescription, perhaps "".
        folder: the folder that holds all its files, or the zip.
        files: absolute paths, or members' names when `archive` is set; sorted by name.
        archive: the zip, or None.
        number: SeriesNumber as text, perhaps "".
        notes: what was odd when its files were listed.
        problem: why it cannot be read, for a zip or folder that cannot even be listed; reading it
            raises that.
        patient: PatientID, perhaps "".
    """

    uid: str
    modality: str
    description: str
    folder: Path
    files: tuple[str, ...]
    archive: Path | None = None
    number: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    patient: str = ""

    def __str__(self) -> str:
        if self.problem:
            return str(self.folder)
        return f"{self.folder} (series {self.uid or 'without a UID'})"
