"""The headers of a series as DICOM SEG needs them: only valid values, nothing that it lacks."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from ..layout import Layout
from ..listing.headers import class_uid
from ..slices import SliceHeader
from . import text

_UID = re.compile(r"[0-9][0-9.]{0,63}")
_IDENTIFIERS = {"PatientID": "LO", "AccessionNumber": "SH", "StudyID": "SH"}
_DESCRIPTIONS = {
    "StudyDescription": "LO",
    "IssuerOfPatientID": "LO",
    "EthnicGroup": "SH",
    "DeidentificationMethod": "LO",
    "PositionReferenceIndicator": "LO",
    "ClinicalTrialSponsorName": "LO",
    "ClinicalTrialProtocolID": "LO",
    "ClinicalTrialProtocolName": "LO",
    "ClinicalTrialSiteID": "LO",
    "ClinicalTrialSubjectID": "LO",
    "ClinicalTrialSubjectReadingID": "LO",
    "ClinicalTrialTimePointID": "LO",
}
_POSITIVE = ("PatientSize", "PatientWeight")  # metres and kg
UTF8 = "ISO_IR 192"


class Study:
    """Patient and study of a series, and the UIDs that DICOM SEG must refer to.

    UIDs that de-identification has emptied are derived from the others, the same for the same
    input.

    Args:
        sources: headers of the series' files as pydicom read them, their texts not asked for yet.
        names: of the files.
        dropped: indices of those that are no slice of the volume, as others are there twice.
    """

    def __init__(
        self,
        sources: Sequence[FileDataset],
        names: Sequence[str],
        dropped: Collection[int] = (),
    ) -> None:
        first = sources[0]
        self.patient = _patient(first)
        self.number = _whole_number(text.text_of(first, "SeriesNumber"))
        series = [_uid(source, "SeriesInstanceUID") for source in sources]
        frame = next(filter(None, (_uid(one, "FrameOfReferenceUID") for one in sources)), "")
        self.frame = frame or generate_uid(entropy_srcs=["frame", series[0]])
        self.study = _uid(first, "StudyInstanceUID") or generate_uid(
            entropy_srcs=["study", self.frame]
        )
        made = generate_uid(entropy_srcs=["series", self.frame])
        self.series = [one or made for one in series]
        instances = [
            _uid(source, "SOPInstanceUID")
            or str(source.file_meta.get("MediaStorageSOPInstanceUID") or "")
            for source in sources
        ]
        times = Counter(one for file, one in enumerate(instances) if file not in dropped)
        self.instances = [
            one
            if one and times[one] == 1
            else generate_uid(entropy_srcs=["instance", one, Path(name).name])
            for one, name in zip(instances, names, strict=True)
        ]
        self.classes = [class_uid(source) or CTImageStorage for source in sources]
        self.thickness = [_positive(source, "SliceThickness") for source in sources]
        self.lossy = _lossy(first)

    def slice_image(self, header: SliceHeader, layout: Layout) -> Dataset:
        """A source slice, in the plane of the volume: headers round orientations differently."""
        image = self._image(header)
        thickness = self.thickness[header.file] or between_planes(layout)
        image.SliceThickness = _decimal(thickness)
        image.PixelSpacing = [_decimal(one) for one in header.spacing[::-1]]
        image.ImageOrientationPatient = [_decimal(one) for one in orientation_of(layout)]
        image.ImagePositionPatient = [_decimal(one) for one in header.position]
        return image

    def multi_frame_image(self, headers: Sequence[SliceHeader], layout: Layout) -> Dataset:
        """A multi-frame source, with the functional groups that tell where its frames lie.

        Args:
            headers: of all its frames, in the file's order.
        """
        image = self._image(headers[0])
        image.NumberOfFrames = len(headers)
        orientation, measures = Dataset(), Dataset()
        orientation.ImageOrientationPatient = [_decimal(one) for one in orientation_of(layout)]
        measures.PixelSpacing = [_decimal(one) for one in headers[0].spacing[::-1]]
        measures.SliceThickness = _decimal(
            self.thickness[headers[0].file] or between_planes(layout)
        )
        shared = Dataset()
        shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
        image.SharedFunctionalGroupsSequence = [shared]
        groups = []
        for header in headers:
            position, group = Dataset(), Dataset()
            position.ImagePositionPatient = [_decimal(one) for one in header.position]
            group.PlanePositionSequence = [position]
            groups.append(group)
        image.PerFrameFunctionalGroupsSequence = groups
        return image

    def _image(self, header: SliceHeader) -> Dataset:
        image = Dataset()
        image.SpecificCharacterSet = UTF8
        for keyword, value in {**self.patient, **self.lossy}.items():
            setattr(image, keyword, value)
        image.Modality = header.modality or "CT"
        image.SOPClassUID = self.classes[header.file]
        image.SOPInstanceUID = self.instances[header.file]
        image.StudyInstanceUID, image.FrameOfReferenceUID = self.study, self.frame
        image.SeriesInstanceUID = self.series[0]
        image.Columns, image.Rows = header.size
        return image


def between_planes(layout: Layout) -> float:
    """Mm from one slice to the next, at a right angle to the slices."""
    columns_step, rows_step, slice_step = layout.affine[:3, :3].T
    normal = np.cross(columns_step, rows_step)
    return abs(float(slice_step @ normal)) / float(np.linalg.norm(normal))


def orientation_of(layout: Layout) -> list[float]:
    """Six direction cosines (LPS) of the volume's rows and columns."""
    lps = np.diag([-1.0, -1.0, 1.0]) @ layout.affine[:3, :2]
    return (lps / np.linalg.norm(lps, axis=0)).T.ravel().tolist()


def _patient(source: Dataset) -> dict[str, object]:
    """Attributes of patient and study by keyword; those that DICOM SEG must have may be empty."""
    found: dict[str, object] = {
        "PatientName": text.person_name(text.text_of(source, "PatientName")),
        "PatientBirthDate": text.date(text.text_of(source, "PatientBirthDate")),
        "PatientSex": text.sex(text.text_of(source, "PatientSex")),
        "StudyDate": text.date(text.text_of(source, "StudyDate")),
        "StudyTime": text.time(text.text_of(source, "StudyTime")),
        "ReferringPhysicianName": text.person_name(text.text_of(source, "ReferringPhysicianName")),
    }
    for keyword, kind in _IDENTIFIERS.items():
        found[keyword] = text.identifier(text.text_of(source, keyword), kind)
    optional: dict[str, object] = {
        keyword: text.shortened(text.text_of(source, keyword), kind)
        for keyword, kind in _DESCRIPTIONS.items()
    }
    optional["PatientAge"] = text.age(text.text_of(source, "PatientAge"))
    removed = text.text_of(source, "PatientIdentityRemoved").upper()
    optional["PatientIdentityRemoved"] = removed if removed in ("YES", "NO") else ""
    for keyword in _POSITIVE:
        value = _positive(source, keyword)
        optional[keyword] = _decimal(value) if value else ""
    return found | {keyword: value for keyword, value in optional.items() if value != ""}


def _lossy(source: Dataset) -> dict[str, object]:
    """Whether the source was compressed with losses, which its segmentation must say too."""
    if text.text_of(source, "LossyImageCompression") != "01":
        return {}
    return {"LossyImageCompression": "01"}


def _uid(source: Dataset, keyword: str) -> str:
    value = text.text_of(source, keyword)
    return value if _UID.fullmatch(value) else ""


def _positive(source: Dataset, keyword: str) -> float | None:
    try:
        value = float(text.text_of(source, keyword))
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _whole_number(value: str) -> int:
    return int(value) if re.fullmatch(r"\d{1,8}", value) else 0


def _decimal(value: float) -> DSfloat:
    """A number as DICOM's decimal string of at most 16 characters."""
    return DSfloat(float(value) + 0.0, auto_format=True)
