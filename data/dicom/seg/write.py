"""Writing a label map as a DICOM segmentation object of the series it was made from."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from ...errors import OutputError
from ...files import write_atomically
from ...label_tables.colors import cielab
from ...label_tables.table import Label, LabelTable
from ...label_tables.terminology import Code
from ..layout import Layout, lay_out
from ..series import DicomSeries, local_files
from ..slices import SliceHeader
from ..uneven import UnevenError
from ..volume import headers_of, named_errors, read_headers
from .source import UTF8, Study


def write_dicom_seg(
    path: str | Path,
    labels: ArrayLike,
    *,
    series: DicomSeries,
    names: Mapping[int, str],
    algorithm: str,
    terminology: Mapping[str, Any] | None = None,
    save: Callable[[Callable[[BinaryIO], object]], object] | None = None,
) -> None:
    """Write a label map as DICOM SEG: one binary segment per label, on the source slices.

    Segments are numbered from 1 in the order of the values; each has its name, its codes, its
    colour, and the algorithm. Slices that were interpolated
    because they were missing are left out, as are frames without any voxel of the segment. Patient
    and study are the series', their texts in UTF-8; values that DICOM does not allow are mended or
    left empty. Where de-identification has emptied a UID that DICOM SEG must refer to, one is
    derived from the others, the same for the same input.

    Args:
        path: ends in .dcm by custom; replaces an older file only once it is complete.
        labels: (X, Y, Z) integers or booleans in the grid that `read_series` gives.
        series: the scan.
        names: value -> name of the label; the background is left out.
        algorithm: name of the bundle or network.
        terminology: name -> its codes, see label_tables.terminology.planned_terminology; names that
            it leaves out get a SNOMED code where they are known, and a private one elsewhere.
        save: writes the file, in the place of `write_atomically`; it is given a function that
            writes the content to a binary stream.

    Raises:
        OutputError: another shape, a value without a name, names that are empty, disk full, folder
            not writable, slices that are not evenly spaced, or a series whose attributes cannot
            stand in a DICOM SEG.
        ImageError: the series cannot be read.
        ConfigError: the terminology is not as it should be.
    """
    path = Path(path)
    study, headers, layout = _read(path, series)
    values = sorted(names)
    stack, used = _frames(path, np.asarray(labels), layout, values)
    shown = LabelTable.of(["", *(names[value] for value in values)], terminology).foreground
    try:
        segmentation = _build(study, headers, layout, used, stack, shown, algorithm)
        _refer_to_series(segmentation, study, headers, used)
    except Exception as error:
        # What highdicom or pydicom finds wrong with the source's attributes, in their words and
        # many types.
        raise _impossible(path, series, error) from error

    def write(stream: BinaryIO) -> None:
        segmentation.save_as(stream, enforce_file_format=True)

    if save is None:
        write_atomically(path, write)
    else:
        save(write)


def _read(path: Path, series: DicomSeries) -> tuple[Study, list[SliceHeader], Layout]:
    """What is needed of the source's headers, and how they make a volume."""
    with named_errors(series), local_files(series) as files:
        sources = read_headers(series, files)
        headers = headers_of(series, sources)
        try:
            layout = lay_out(headers)
        except UnevenError as error:
            raise OutputError(
                f"{path}: the slices of {series} are not evenly spaced; the mask is on an even "
                "grid between them, which a DICOM SEG of these slices cannot hold"
            ) from error
        used = {headers[index].file for index in layout.sources if index is not None}
        dropped = {headers[index].file for _, index in layout.duplicates} - used
        try:
            return Study(sources, series.files, dropped), headers, layout
        except Exception as error:
            raise _impossible(path, series, error) from error


def _impossible(path: Path, series: DicomSeries, error: Exception) -> OutputError:
    return OutputError(
        f"{path}: no DICOM SEG can be made of {series}: {error}; use the NIfTI mask instead"
    )


def _frames(
    path: Path, labels: NDArray[Any], layout: Layout, values: list[int]
) -> tuple[NDArray[np.unsignedinteger], list[int]]:
    """Segment numbers (slices, rows, columns) of slices that have a source, and these sources."""
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


def _build(
    study: Study,
    headers: Sequence[SliceHeader],
    layout: Layout,
    used: Sequence[int],
    stack: NDArray[np.unsignedinteger],
    shown: Sequence[Label],
    algorithm: str,
) -> Any:
    import highdicom as hd  # takes a second, which only those who write DICOM SEG should wait for

    chosen = [headers[index] for index in used]
    positions = None
    if chosen[0].frame is None:
        images = [study.slice_image(header, layout) for header in chosen]
    else:
        if len({header.file for header in headers}) > 1:
            raise ValueError("it is made of several multi-frame objects")
        if [header.frame for header in headers] != list(range(len(headers))):
            raise ValueError("some frames of its multi-frame object are no slices of the volume")
        images = [study.multi_frame_image(headers, layout)]
        positions = [
            hd.PlanePositionSequence(
                "PATIENT", [DSfloat(float(one), auto_format=True) for one in header.position]
            )
            for header in chosen
        ]
    with _quiet():
        return hd.seg.Segmentation(
            source_images=images,
            pixel_array=stack,
            plane_positions=positions,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=_descriptions(shown, algorithm),
            series_instance_uid=hd.UID(),
            series_number=1000 + study.number,
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
            specific_character_set=UTF8,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of highdicom's: it logs what it copies, and names of patients that it finds odd."""
    logger = logging.getLogger("highdicom")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _descriptions(shown: Sequence[Label], algorithm: str) -> list[Any]:
    """One segment per label: its name, what it shows, its colour and what made it."""
    import highdicom as hd

    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm[:64],
        family=hd.sr.coding.CodedConcept("123110", "DCM", "Artificial Intelligence"),
        version=_version(),
    )
    descriptions = []
    for number, label in enumerate(shown, start=1):
        terms = label.terminology
        description = hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label.name[:64],
            segmented_property_category=_concept(terms.category),
            segmented_property_type=_concept(terms.type),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=identification,
            anatomic_regions=None if terms.region is None else [_concept(terms.region)],
        )
        description.RecommendedDisplayCIELabValue = list(cielab(label.color))
        if terms.modifier is not None:
            modifier = [_concept(terms.modifier)]
            if terms.region is None:
                shows = description.SegmentedPropertyTypeCodeSequence[0]
                shows.SegmentedPropertyTypeModifierCodeSequence = modifier
            else:
                region = description.AnatomicRegionSequence[0]
                region.AnatomicRegionModifierSequence = modifier
        descriptions.append(description)
    return descriptions


def _concept(code: Code) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _refer_to_series(
    segmentation: Any, study: Study, headers: Sequence[SliceHeader], used: Sequence[int]
) -> None:
    """Name the series of each slice, where every slice has its own; highdicom knows only one."""
    files = sorted({headers[index].file for index in used})
    if len({study.series[file] for file in files}) < 2:
        return
    series_of = {study.instances[file]: study.series[file] for file in files}
    groups: dict[str, list[Dataset]] = {}
    for referred in segmentation.ReferencedSeriesSequence:
        for instance in referred.ReferencedInstanceSequence:
            groups.setdefault(series_of[instance.ReferencedSOPInstanceUID], []).append(instance)
    references = []
    for uid, instances in groups.items():
        reference = Dataset()
        reference.SeriesInstanceUID, reference.ReferencedInstanceSequence = uid, instances
        references.append(reference)
    segmentation.ReferencedSeriesSequence = references


def _version() -> str:
    try:
        return version("gridgate")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
