"""Enhanced CT objects, written with pydicom."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

EnhancedWriter = Callable[..., Path]


def item(**values: object) -> Dataset:
    data = Dataset()
    for tag, value in values.items():
        setattr(data, tag, value)
    return data


def write_enhanced_ct(
    path: Path,
    *,
    positions: Sequence[Sequence[float]],
    pixels: NDArray[np.integer],
    rescale: Sequence[tuple[float, float]] | None = None,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    change: Callable[[Dataset], None] | None = None,
    compress: UID | None = None,
) -> Path:
    """One Enhanced CT object; frames in the order of `positions` (mm LPS).

    Args:
        pixels: (frames, rows, columns) stored, uint16 or int16.
        rescale: (slope, intercept) of each frame; (1, -1024), shared by all, if None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = EnhancedCTImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(
        entropy_srcs=["enhanced", path.name]
    )
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["enhanced series"])
    data.StudyInstanceUID = generate_uid(entropy_srcs=["enhanced study"])
    data.FrameOfReferenceUID = generate_uid(entropy_srcs=["enhanced frame"])
    data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = "P9", "A^B", "", ""
    data.StudyID, data.StudyDate, data.StudyTime, data.AccessionNumber = "", "", "", ""
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 4, 1
    data.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    data.NumberOfFrames = len(pixels)
    data.Rows, data.Columns = pixels.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    measures = item(PixelSpacing=[0.8, 0.6], SliceThickness=2.5)
    shared = item(
        PlaneOrientationSequence=[item(ImageOrientationPatient=list(orientation))],
        PixelMeasuresSequence=[measures],
    )
    frames = [
        item(PlanePositionSequence=[item(ImagePositionPatient=[float(x) for x in position])])
        for position in positions
    ]
    for frame, (slope, intercept) in zip(frames, rescale or (), strict=False):
        frame.PixelValueTransformationSequence = [
            item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="HU")
        ]
    if rescale is None:
        shared.PixelValueTransformationSequence = [
            item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
        ]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = frames
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    if change is not None:
        change(data)
    if compress is not None:
        data.compress(compress, generate_instance_uid=False)
    data.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture(scope="session")
def write_enhanced() -> EnhancedWriter:
    """See `write_enhanced_ct`."""
    return write_enhanced_ct
