"""A label map as a DICOM segmentation object of the series it was made from."""

import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from ..errors import OutputError
from ..files import write_atomically
from .codes import property_of
from .headers import class_uid, instance_uid
from .layout import Layout, lay_out
from .series import DicomSeries, local_files
from .slices import SliceHeader, slice_header
from .volume import named_errors, read_headers

# highdicom copies these from the source and takes no absence; empty is allowed for all of them.
_PATIENT_AND_STUDY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)
_SEXES = ("M", "F", "O", "")


def write_dicom_seg(
    path: str | Path,
    labels: ArrayLike,
    *,
    series: DicomSeries,
    names: Mapping[int, str],
    algorithm: str,
) -> None:
    """Write a label map as DICOM SEG: a binary segment a label, in the frames of the source slices.

    Segments are numbered from 1 in the order of the values; each has its name, a SNOMED code where
    the name is known and a private one elsewhere, and the algorithm. Slices that were interpolated
    because they were missing are left out, as are frames without any voxel of the segment. Patient
    and study are the series'; where de-identification has emptied a UID that DICOM SEG must refer
    to, one is derived from the others, the same for the same input.

    Args:
        path: ends in .dcm by custom; replaces an older file only once it is complete.
        labels: (X, Y, Z) integers or booleans in the grid that `read_series` gives.
        series: the scan.
        names: value -> name of the label; the background is left out.
        algorithm: name of the bundle or network.

    Raises:
        OutputError: another shape, a value without a name, names that are empty, disk full, folder
            not writable, or a series whose attributes cannot stand in a DICOM SEG.
        ImageError: the series cannot be read.
    """
    path = Path(path)
    with named_errors(series), local_files(series) as files:
        sources = read_headers(series, files)
        headers = [
            slice_header(source, name) for source, name in zip(sources, series.files, strict=True)
        ]
        layout = lay_out(headers)
    values = sorted(names)
    stack, used = _frames(path, np.asarray(labels), layout, values)
    between = _between_planes(layout)
    try:
        images = [_completed(sources[index], headers[index], between) for index in used]
        segmentation = _build(images, stack, [names[value] for value in values], algorithm)
        write_atomically(
            path, lambda stream: segmentation.save_as(stream, enforce_file_format=True)
        )
    except OutputError:
        raise
    except Exception as error:
        # What highdicom or pydicom finds wrong with the source's attributes, in their words and
        # many types.
        raise OutputError(
            f"{path}: no DICOM SEG can be made of {series}: {error}; write the mask as NIfTI "
            "instead"
        ) from error


def _frames(
    path: Path, labels: NDArray[Any], layout: Layout, values: list[int]
) -> tuple[NDArray[np.unsignedinteger], list[int]]:
    """Segment numbers (slices, rows, columns) of the slices that have a source, and the sources' indices."""
    if labels.shape != layout.shape:
        raise OutputError(
            f"{path}: the labels have the shape {labels.shape}, the series {layout.shape}"
        )
    if labels.dtype.kind not in "biu":
        raise OutputError(
            f"{path}: labels are of type {labels.dtype}, not integers; take the argmax first"
        )
    if not values or values[0] < 1:
        raise OutputError(f"{path}: names of labels are wanted, values from 1 up; got {values[:5]}")
    numbers = np.zeros(values[-1] + 1, dtype=np.uint8 if len(values) < 256 else np.uint16)
    numbers[values] = np.arange(1, len(values) + 1)
    planes = [(z, source) for z, source in enumerate(layout.sources) if source is not None]
    stack = np.empty((len(planes), labels.shape[1], labels.shape[0]), dtype=numbers.dtype)
    for frame, (z, _) in enumerate(planes):
        plane = labels[:, :, z].T
        within = (plane >= 0) & (plane <= values[-1])
        stack[frame] = numbers[np.where(within, plane, 0).astype(np.intp)]
        nameless = plane[(stack[frame] == 0) & (plane != 0)]
        if nameless.size:
            raise OutputError(f"{path}: the labels hold the value {nameless[0]}, which has no name")
    return stack, [source for _, source in planes]


def _completed(source: FileDataset, header: SliceHeader, between: float) -> FileDataset:
    """The header of a source slice with what highdicom needs and de-identification may have emptied."""
    for tag in _PATIENT_AND_STUDY:
        if source.get(tag) is None:
            setattr(source, tag, "")
    if source.PatientSex not in _SEXES:
        source.PatientSex = ""
    if "SpecificCharacterSet" in source and not source.SpecificCharacterSet:
        del (
            source.SpecificCharacterSet
        )  # empty is the default alphabet, which is said by its absence
    if not source.get("SliceThickness"):
        source.SliceThickness = f"{between:.6g}"
    source.SOPClassUID = class_uid(source)
    source.SOPInstanceUID = instance_uid(source) or generate_uid(
        entropy_srcs=["instance", header.name]
    )
    frame = str(source.get("FrameOfReferenceUID") or "")
    if not frame:
        source.FrameOfReferenceUID = frame = generate_uid(
            entropy_srcs=["frame", str(source.get("SeriesInstanceUID"))]
        )
    if not source.get("StudyInstanceUID"):
        source.StudyInstanceUID = generate_uid(entropy_srcs=["study", frame])
    if not source.get("SeriesInstanceUID"):
        source.SeriesInstanceUID = generate_uid(entropy_srcs=["series", frame])
    return source


def _build(
    images: list[FileDataset], stack: NDArray[np.unsignedinteger], names: list[str], algorithm: str
) -> Any:
    import highdicom as hd  # takes a second, which only those who write DICOM SEG should wait for

    first = images[0]
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm[:64],
        family=hd.sr.coding.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=_version(),
    )
    descriptions = []
    for number, name in enumerate(names, start=1):
        shown = property_of(name)
        description = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=shown.category,
            segmented_property_type=shown.kind,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
        )
        if shown.side is not None:
            side = hd.sr.CodedConcept(*shown.side[:3])
            description.SegmentedPropertyTypeCodeSequence[
                0
            ].SegmentedPropertyTypeModifierCodeSequence = [side]
        descriptions.append(description)
    with warnings.catch_warnings():
        # highdicom prints the patient's name where it is not of the form family^given.
        warnings.filterwarnings("ignore", category=UserWarning, module="highdicom")
        return hd.seg.Segmentation(
            source_images=images,
            pixel_array=stack,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            series_instance_uid=hd.UID(),
            series_number=1000 + max(0, int(first.get("SeriesNumber") or 0)),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="Gridgate",
            manufacturer_model_name="Gridgate",
            software_versions=_version(),
            device_serial_number="0",
            omit_empty_frames=bool(stack.any()),
            series_description=f"Segmentation by {algorithm}"[:64],
            content_description=f"Segmentation by {algorithm}"[:64],
            content_label="SEGMENTATION",
            content_creator_name="Gridgate^",
        )


def _between_planes(layout: Layout) -> float:
    """Mm from one slice to the next, at a right angle to the slices."""
    columns_step, rows_step, slice_step = layout.affine[:3, :3].T
    normal = np.cross(columns_step, rows_step)
    return abs(float(slice_step @ normal)) / float(np.linalg.norm(normal))


def _version() -> str:
    try:
        return version("gridgate")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
