"""Small synthetic DICOM series, written with pydicom."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SeriesWriter = Callable[..., list[Path]]
BETWEEN_ROWS, BETWEEN_COLUMNS = 0.8, 0.6  # mm


def write_series(
    folder: Path,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    count: int = 6,
    step: Sequence[float] = (0.0, 0.0, 2.5),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    pixels: NDArray[np.integer] | None = None,
    change: Callable[[Dataset, int], None] | None = None,
    name: str = "CT.{:04d}",
    series: str = "one",
) -> list[Path]:
    """A CT series, a file a slice, in the order of `positions` (mm LPS); HU = stored - 1024.

    Args:
        pixels: (slices, rows, columns) stored uint16 or int16; random ones of 5 rows and 7 columns
            if None.
        change: is given each slice's dataset and number before it is written.
        series: files written with one word here belong to one series.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if positions is None:
        positions = [np.array([-100.0, -80.0, 40.0]) + k * np.array(step) for k in range(count)]
    if pixels is None:
        pixels = (
            np.random.default_rng(0).integers(0, 3000, (len(positions), 5, 7)).astype(np.uint16)
        )
    files = []
    for k, (position, plane) in enumerate(zip(positions, pixels, strict=True)):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = CTImageStorage
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid(
            entropy_srcs=[series, str(k)]
        )
        data.SeriesInstanceUID = generate_uid(entropy_srcs=["series", series])
        data.StudyInstanceUID = generate_uid(entropy_srcs=["study"])
        data.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame"])
        data.PatientID, data.PatientName, data.PatientBirthDate, data.PatientSex = (
            "P1",
            "Doe^Jo",
            "19700102",
            "F",
        )
        data.StudyID, data.StudyDate, data.StudyTime, data.AccessionNumber = (
            "7",
            "20240102",
            "101112",
            "A1",
        )
        data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.SeriesNumber, data.SeriesDescription, data.InstanceNumber, data.AcquisitionNumber = (
            3,
            "Abdomen",
            k + 1,
            1,
        )
        data.ImagePositionPatient = [f"{value:.10g}" for value in position]
        data.ImageOrientationPatient = [f"{value:.10g}" for value in orientation]
        data.PixelSpacing = [BETWEEN_ROWS, BETWEEN_COLUMNS]
        data.SliceThickness = 9.0  # which is not the spacing, and must not be taken for it
        data.Rows, data.Columns = plane.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = int(plane.dtype.kind == "i")
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = plane.astype(plane.dtype.newbyteorder("<")).tobytes()
        if change is not None:
            change(data, k)
        path = folder / name.format(k)
        data.save_as(path, enforce_file_format=True)
        files.append(path)
    return files


@pytest.fixture(scope="session")
def write_dicom() -> SeriesWriter:
    """See `write_series`."""
    return write_series
