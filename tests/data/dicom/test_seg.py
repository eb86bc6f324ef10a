"""DICOM segmentations, opened again by highdicom and compared voxel for voxel."""

import shutil
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from gridgate.data.dicom.seg import write_dicom_seg
from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ConfigError, ImageError, OutputError
from gridgate.data.label_tables.colors import color_of

SeriesWriter = Callable[..., list[Path]]
NAMES = {1: "liver", 3: "kidney_left", 7: "something odd"}


def only(folder: Path) -> DicomSeries:
    series, _ = find_series(folder)
    assert len(series) == 1
    return series[0]


def random_labels(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.random.default_rng(2).choice(np.array([0, 0, 1, 3, 7], np.uint8), size=shape)


def check(path: Path, labels: NDArray[np.integer], series: DicomSeries) -> hd.seg.Segmentation:
    """Each voxel of each source slice, found by its position, against the segment's frames."""
    image = read_series(series)
    seg = hd.seg.segread(path)
    segments = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers}
    assert list(segments) == [NAMES[value] for value in sorted(NAMES)]
    headers = [pydicom.dcmread(file, stop_before_pixels=True) for file in series.files]
    instances = [
        str(one.SOPInstanceUID or one.file_meta.MediaStorageSOPInstanceUID) for one in headers
    ]
    found = seg.get_pixels_by_source_instance(
        instances, ignore_spatial_locations=True, assert_missing_frames_are_empty=True
    )
    for header, frame in zip(headers, found, strict=True):
        lps = np.array(header.ImagePositionPatient, dtype=float)
        index = np.linalg.solve(image.grid.affine, [-lps[0], -lps[1], lps[2], 1])
        np.testing.assert_allclose(index[:2], 0, atol=1e-3)
        expected = labels[:, :, round(index[2])].T
        for value, name in NAMES.items():
            np.testing.assert_array_equal(frame[..., segments[name] - 1], expected == value)
    return seg


def test_a_real_series_without_uids(shared_data: Path, tmp_path: Path) -> None:
    series = only(shared_data / "dicom" / "abdomen_20_slices")
    labels = random_labels((512, 512, 20))
    labels[:, :, :5] = 0
    labels[:, :, 3] = 1
    write_dicom_seg(tmp_path / "seg.dcm", labels, series=series, names=NAMES, algorithm="test")
    seg = check(tmp_path / "seg.dcm", labels, series)
    assert seg.NumberOfFrames == 15 * 3 + 1  # empty frames are left out
    # UIDs that the source has lost are made up, and the same the next time
    write_dicom_seg(tmp_path / "again.dcm", labels, series=series, names=NAMES, algorithm="test")
    again = pydicom.dcmread(tmp_path / "again.dcm")
    assert seg.StudyInstanceUID and seg.StudyInstanceUID == again.StudyInstanceUID
    assert seg.SOPInstanceUID != again.SOPInstanceUID


@pytest.mark.parametrize(
    "orientation",
    [
        (1, 0, 0, 0, 1, 0),
        (-1, 0, 0, 0, 1, 0),
        (0, 1, 0, 0, 0, -1),
        (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3)),
    ],
    ids=["axial", "flipped", "sagittal", "tilted"],
)
@pytest.mark.parametrize("missing", [False, True])
def test_any_order_and_orientation(
    missing: bool, orientation: tuple[float, ...], tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    axis = int(np.abs(np.cross(orientation[:3], orientation[3:])).argmax())
    step = np.zeros(3)
    step[axis] = 2.0
    order = [5, 2, 7, 0, 3, 6, 1, 4]
    files = write_dicom(
        tmp_path / "ct", positions=[k * step for k in order], orientation=orientation
    )
    if missing:
        files[4].unlink()
    series = only(tmp_path / "ct")
    labels = random_labels((7, 5, 8))
    write_dicom_seg(tmp_path / "seg.dcm", labels, series=series, names=NAMES, algorithm="test")
    seg = check(tmp_path / "seg.dcm", labels, series)
    assert seg.NumberOfFrames == (7 if missing else 8) * 3
    if not missing and orientation[4] in (0, 1):  # only then do the frames make a regular volume
        measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert float(measures.SpacingBetweenSlices) == 2.0


def test_patient_and_study_are_the_scan_s(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "ct")
    series = only(tmp_path / "ct")
    write_dicom_seg(
        tmp_path / "seg.dcm",
        random_labels((7, 5, 6)),
        series=series,
        names=NAMES,
        algorithm="my bundle",
    )
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(files[0])
    study = ["StudyInstanceUID", "StudyID", "StudyDate", "AccessionNumber", "FrameOfReferenceUID"]
    for tag in ["PatientID", "PatientName", "PatientBirthDate", "PatientSex", *study]:
        assert seg[tag].value == source[tag].value
    assert seg.SOPInstanceUID not in [pydicom.dcmread(file).SOPInstanceUID for file in files]
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")
    liver, kidney, odd = seg.SegmentSequence
    assert liver.SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert kidney.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"
    side = kidney.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0]
    assert (side.CodeValue, side.CodeMeaning) == ("7771000", "Left")
    assert odd.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99GRIDGATE"
    assert liver.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "my bundle"


def test_codes_of_the_plan_and_colours(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    """As highdicom reads them; what the plan says goes before what the name says."""
    write_dicom(tmp_path / "ct")
    write_dicom_seg(
        tmp_path / "seg.dcm",
        random_labels((7, 5, 6)),
        series=only(tmp_path / "ct"),
        names={1: "liver", 3: "kidney tumor left", 7: "something odd"},
        algorithm="my bundle",
        terminology={
            "something odd": {
                "category": ["SCT", 49755003, "Morphologically Abnormal Structure"],
                "type": ["SCT", "4147007", "Mass"],
                "region": ["SCT", "23451007", "Adrenal gland"],
                "modifier": ["SCT", "24028007", "Right"],
            }
        },
    )
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    liver, tumor, odd = (seg.get_segment_description(number) for number in (1, 2, 3))
    assert liver.segmented_property_type == codes.SCT.Liver
    assert liver.segmented_property_category == codes.SCT.AnatomicalStructure
    assert "AnatomicRegionSequence" not in liver
    for one, what, organ, side in (
        (tumor, codes.SCT.Neoplasm, codes.SCT.Kidney, codes.SCT.Left),
        (odd, codes.SCT.Mass, codes.SCT.AdrenalGland, codes.SCT.Right),
    ):
        assert one.segmented_property_category == codes.SCT.MorphologicallyAbnormalStructure
        assert one.segmented_property_type == what and one.anatomic_regions == [organ]
        (modifier,) = one.AnatomicRegionSequence[0].AnatomicRegionModifierSequence
        assert (modifier.CodeValue, modifier.CodeMeaning) == (side.value, side.meaning)
    for one in (liver, tumor, odd):
        lab = tuple(one.RecommendedDisplayCIELabValue)
        red, green, blue = hd.color.CIELabColor.from_dicom_value(lab).to_rgb()
        assert (red, green, blue) == pytest.approx(color_of(one.segment_label), abs=1)


def test_a_plan_without_sense_is_refused(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "ct")
    with pytest.raises(ConfigError, match="spleen, which is no foreground label"):
        write_dicom_seg(
            tmp_path / "seg.dcm",
            random_labels((7, 5, 6)),
            series=only(tmp_path / "ct"),
            names=NAMES,
            algorithm="x",
            terminology={"spleen": {"type": ["SCT", "78961009", "Spleen"]}},
        )
    assert not (tmp_path / "seg.dcm").exists()


def test_duplicates_are_left_out(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    pixels = np.random.default_rng(1).integers(0, 3000, (6, 5, 7)).astype(np.uint16)
    twice = [0, 1, 2, 2, 3, 4, 5]
    write_dicom(tmp_path / "ct", pixels=pixels[twice], positions=[[0, 0, k] for k in twice])
    labels = random_labels((7, 5, 6))
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=NAMES, algorithm="x"
    )
    assert hd.seg.segread(tmp_path / "seg.dcm").NumberOfFrames == 6 * 3


def test_a_file_that_is_there_twice_is_referred_to_by_its_uid(
    tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    files = write_dicom(tmp_path / "ct")
    shutil.copy(files[3], tmp_path / "ct" / "zz_copy")
    series = only(tmp_path / "ct")
    shape = read_series(series).grid.shape
    labels = np.full(shape, 3, np.uint8)
    path = tmp_path / "seg.dcm"
    write_dicom_seg(path, labels, series=series, names={3: "liver"}, algorithm="x")
    seg = pydicom.dcmread(path)
    true = {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}
    referred = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {str(one.ReferencedSOPInstanceUID) for one in referred} == true
    of_frames = {
        str(one.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        for one in seg.PerFrameFunctionalGroupsSequence
    }
    assert of_frames == true


@pytest.mark.parametrize(
    "tag", ["PatientID", "StudyDate", "SliceThickness", "FrameOfReferenceUID", "StudyInstanceUID"]
)
def test_attributes_that_are_missing_are_no_obstacle(
    tag: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    write_dicom(tmp_path / "ct", change=lambda data, k: delattr(data, tag))
    labels = random_labels((7, 5, 6))
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=NAMES, algorithm="x"
    )
    check(tmp_path / "seg.dcm", labels, only(tmp_path / "ct"))


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize("tag", ["SpecificCharacterSet", "PatientSex"])
def test_attributes_that_make_no_sense_are_no_obstacle(
    tag: str, tmp_path: Path, write_dicom: SeriesWriter
) -> None:
    def change(data: Dataset, k: int) -> None:
        data.PatientSex = "unknown" if tag == "PatientSex" else "M"
        if tag == "SpecificCharacterSet":
            data.SpecificCharacterSet = ""

    write_dicom(tmp_path / "ct", change=change)
    labels = random_labels((7, 5, 6))
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=NAMES, algorithm="x"
    )
    check(tmp_path / "seg.dcm", labels, only(tmp_path / "ct"))


def test_an_empty_mask_can_be_written(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "ct")
    labels = np.zeros((7, 5, 6), np.uint8)
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=NAMES, algorithm="x"
    )
    check(tmp_path / "seg.dcm", labels, only(tmp_path / "ct"))


def test_many_labels(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "ct", pixels=np.zeros((2, 20, 20), np.uint16), count=2)
    labels = np.arange(800).reshape(20, 20, 2) % 261
    names = {value: f"label {value}" for value in range(1, 261)}
    write_dicom_seg(
        tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=names, algorithm="x"
    )
    volume = hd.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    # highdicom stacks slices from the last to the first here, (slices, rows, columns)
    np.testing.assert_array_equal(volume.array[::-1].T, labels)


@pytest.mark.parametrize(
    ("labels", "names", "text"),
    [
        (np.zeros((7, 5, 5), np.uint8), NAMES, "the labels have the shape"),
        (np.zeros((7, 5, 6)), NAMES, "not integers"),
        (np.full((7, 5, 6), 2, np.uint8), NAMES, "the value 2, which has no name"),
        (np.full((7, 5, 6), 200, np.uint8), NAMES, "the value 200, which has no name"),
        (np.full((7, 5, 6), -1), NAMES, "the value -1, which has no name"),
        (np.zeros((7, 5, 6), np.uint8), {}, "names of labels are wanted"),
        (np.zeros((7, 5, 6), np.uint8), {0: "background"}, "names of labels are wanted"),
    ],
)
def test_what_cannot_be_written_is_refused(
    labels: NDArray[np.generic],
    names: dict[int, str],
    text: str,
    tmp_path: Path,
    write_dicom: SeriesWriter,
) -> None:
    write_dicom(tmp_path / "ct")
    with pytest.raises(OutputError, match=text):
        write_dicom_seg(
            tmp_path / "seg.dcm", labels, series=only(tmp_path / "ct"), names=names, algorithm="x"
        )
    assert not (tmp_path / "seg.dcm").exists()


def test_nothing_half_written_stays(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    files = write_dicom(tmp_path / "ct")
    series = only(tmp_path / "ct")
    (tmp_path / "out" / "seg.dcm").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"seg\.dcm: cannot be written"):
        write_dicom_seg(
            tmp_path / "out" / "seg.dcm",
            random_labels((7, 5, 6)),
            series=series,
            names=NAMES,
            algorithm="x",
        )
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["seg.dcm"]
    files[0].unlink()
    with pytest.raises(ImageError, match=r"CT\.0000 is gone"):
        write_dicom_seg(
            tmp_path / "seg.dcm",
            random_labels((7, 5, 6)),
            series=series,
            names=NAMES,
            algorithm="x",
        )
