"""DICOM SEG as other software writes it, and `.seg.nrrd` with layers, as one label map."""

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.sr.codedict import codes

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.importing.label_names import name_labels
from gridgate.data.datasets.importing.pairs.pairing import pair_by_patterns
from gridgate.data.datasets.importing.pairs.patterns import Listing
from gridgate.data.datasets.importing.segments import read_segmentation, segments
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.folder import folder_source, labels_of
from gridgate.data.dicom.series import find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import DatasetError, GridgateError, ImageError
from gridgate.data.geometry.grids import Grid
from gridgate.data.images.reading import read_labels

NAMES = ("liver", "left kidney")


def write_seg(
    folder: Path, target: Path, array: np.ndarray, kind: str, names: tuple[str, ...]
) -> None:
    """By highdicom; `array` is (slices, rows, columns), in the order of the files' positions."""
    images = sorted(
        (pydicom.dcmread(path) for path in folder.glob("*.dcm")),
        key=lambda one: float(one.ImagePositionPatient[2]),
    )
    for image in images:
        image.SpecificCharacterSet = "ISO_IR 100"  # empty in these files
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.Organ,
            segmented_property_type=codes.SCT.Liver,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(names, start=1)
    ]
    made = hd.seg.Segmentation(
        source_images=images,
        pixel_array=array.astype(np.uint8),
        segmentation_type=kind,
        segment_descriptions=descriptions,
        series_instance_uid=hd.UID(),
        series_number=2,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(target)


@pytest.fixture
def patient(shared_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "in/pat/CT"
    folder.mkdir(parents=True)
    for number in ("01", "02", "03"):
        source = shared_data / f"dicom/three_slices_with_dicom_seg/{number}.dcm"
        (folder / f"{number}.dcm").symlink_to(source)
    return folder.parent


def labelled() -> np.ndarray:
    """Two labels over three slices; nothing in the middle one."""
    array = np.zeros((3, 512, 512), np.uint8)
    array[0, 100:140, 200:260] = 1
    array[2, 300:310, 50:90] = 2
    array[2, 310:320, 50:60] = 1
    return array


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_segments_lie_where_they_were_drawn(patient: Path, tmp_path: Path, kind: str) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", labelled(), kind, NAMES)
    listing = Listing(tmp_path / "in")
    pairing, found = labels_of(pair_by_patterns(listing, ["*/CT"], "*/seg.dcm"), None)
    assert found.labels == {"liver": 1, "left kidney": 2}
    write_dataset(folder_source(pairing, found), tmp_path / "D")
    made = read_labels(tmp_path / "D/labelsTr/pat.nii.gz")
    series, _ = find_series(patient / "CT")
    image = read_series(series[0])
    upwards = image.grid.affine[2, 2] > 0
    drawn = labelled() if upwards else labelled()[::-1]
    assert np.array_equal(made.array, drawn.transpose(2, 1, 0))
    assert np.allclose(made.grid.affine, image.grid.affine, atol=1e-4)
    assert load_dataset(tmp_path / "D").labels == {"background": 0, "liver": 1, "left kidney": 2}


def test_segments_get_the_values_of_their_names(patient: Path, tmp_path: Path) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", labelled(), "BINARY", NAMES)
    listing = Listing(tmp_path / "in")
    pairing = pair_by_patterns(listing, ["*/CT"], "*/seg.dcm")
    pairing, found = labels_of(pairing, {"Left_Kidney": 5, "liver": 0})
    write_dataset(folder_source(pairing, found), tmp_path / "D")
    array = read_labels(tmp_path / "D/labelsTr/pat.nii.gz").array
    assert {value: int((array == value).sum()) for value in (0, 5)} == {
        0: array.size - 400,
        5: 400,
    }


def test_a_seg_of_another_place_is_refused(patient: Path, tmp_path: Path) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", labelled(), "BINARY", NAMES)
    moved = pydicom.dcmread(patient / "seg.dcm")
    for group in moved.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        x, y, z = (float(one) for one in place.ImagePositionPatient)
        place.ImagePositionPatient = [x + 3000, y, z]
    moved.save_as(patient / "seg.dcm")
    listing = Listing(tmp_path / "in")
    pairing, found = labels_of(pair_by_patterns(listing, ["*/CT"], "*/seg.dcm"), None)
    with pytest.raises(DatasetError, match="does not lie on its image"):
        write_dataset(folder_source(pairing, found), tmp_path / "D")


def told(path: Path, *, between: float | None, thickness: float) -> None:
    """Change what a SEG says of how far its slices are apart."""
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    measures.SliceThickness = thickness
    if between is not None:
        measures.SpacingBetweenSlices = between
    elif "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices
    dataset.save_as(path)


@pytest.mark.parametrize("says", [True, False])
@pytest.mark.parametrize("times", [4.0, 0.5])
def test_an_image_of_other_slices_than_were_drawn_on(
    patient: Path, says: bool, times: float
) -> None:
    """Of one study there are thick and thin reconstructions; the label map is as the SEG was."""
    drawn = np.ones((3, 512, 512), np.uint8)
    write_seg(patient / "CT", patient / "seg.dcm", drawn, "BINARY", NAMES)
    grid = read_series(find_series(patient / "CT")[0][0]).grid
    step = float(grid.spacing[2])
    told(patient / "seg.dcm", between=step if says else None, thickness=step)
    other = grid.affine.copy()
    other[:3, 2] /= times
    found = read_segmentation(patient / "seg.dcm", image=Grid((512, 512, 12), other))
    assert found.array.shape == (512, 512, 3) and found.array.all()
    assert found.grid.spacing == pytest.approx(grid.spacing)


@pytest.mark.parametrize("says", [True, False])
def test_slices_without_a_frame_are_empty(patient: Path, says: bool) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", labelled(), "BINARY", NAMES)
    grid = read_series(find_series(patient / "CT")[0][0]).grid
    step = float(grid.spacing[2])
    told(patient / "seg.dcm", between=step if says else None, thickness=step)
    found = read_segmentation(patient / "seg.dcm", image=grid)
    assert found.array.any(axis=(0, 1)).tolist() == [True, False, True]


def test_contours_and_slices_are_no_label_maps(patient: Path) -> None:
    with pytest.raises(ImageError, match=r"01\.dcm: it is DICOM of the kind CT, not SEG"):
        segments(patient / "CT/01.dcm")
    dataset = pydicom.dcmread(patient / "CT/01.dcm")
    dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"
    dataset.save_as(patient / "rt.dcm")
    with pytest.raises(ImageError, match="RTSTRUCT contours are not read"):
        segments(patient / "rt.dcm")


@pytest.mark.parametrize("lost", ["SegmentSequence", "SharedFunctionalGroupsSequence", "PixelData"])
def test_a_seg_that_lacks_something_is_refused_in_words(patient: Path, lost: str) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", labelled(), "BINARY", NAMES)
    dataset = pydicom.dcmread(patient / "seg.dcm")
    delattr(dataset, lost)
    dataset.save_as(patient / "seg.dcm")
    with pytest.raises(ImageError, match=r"seg\.dcm: .*export it again"):
        read_segmentation(patient / "seg.dcm")


def layered(path: Path, second: np.ndarray, **more: str) -> Path:
    """Two layers, as 3D Slicer writes segments that may overlap."""
    first = np.zeros((4, 5, 6), np.uint8)
    first[0], first[1] = 1, 2
    image = sitk.Compose(*(sitk.GetImageFromArray(one) for one in (first, second)))
    fields = {"0_Name": "a", "0_LabelValue": "1", "0_Layer": "0"}
    fields |= {"1_Name": "b", "1_LabelValue": "2", "1_Layer": "0"}
    fields |= {"2_Name": "c", "2_LabelValue": "1", "2_Layer": "1", **more}
    for key, value in fields.items():
        image.SetMetaData(f"Segment{key}", value)
    sitk.WriteImage(image, str(path))
    return path


def test_layers_that_do_not_overlap_become_one_label_map(tmp_path: Path) -> None:
    second = np.zeros((4, 5, 6), np.uint8)
    second[3] = 1
    path = layered(tmp_path / "s.seg.nrrd", second)
    assert [(one.number, one.name) for one in segments(path)] == [(1, "a"), (2, "b"), (3, "c")]
    made = read_segmentation(path)
    assert made.array.shape == (6, 5, 4)
    assert made.array[0, 0].tolist() == [1, 2, 0, 3]
    found = name_labels([path])
    assert found.labels == {"a": 1, "b": 2, "c": 3}


def test_layers_that_overlap_are_refused_by_name(tmp_path: Path) -> None:
    second = np.zeros((4, 5, 6), np.uint8)
    second[1:3] = 1
    path = layered(tmp_path / "s.seg.nrrd", second)
    with pytest.raises(ImageError, match="segments 'b' and 'c' overlap in 30 voxels"):
        read_segmentation(path)


def test_two_segments_of_one_name_are_refused(tmp_path: Path) -> None:
    path = layered(tmp_path / "s.seg.nrrd", np.zeros((4, 5, 6), np.uint8), **{"2_Name": "A "})
    with pytest.raises(GridgateError, match="two segments are called"):
        name_labels([path])


@pytest.mark.parametrize("slices", [[1, 2, 4], [3], [0, 1, 2, 3, 4, 5, 6, 7]])
def test_a_tilted_gantry_is_kept(
    tmp_path: Path, write_dicom: Callable[..., list[Path]], slices: list[int]
) -> None:
    orientation = (1, 0, 0, 0, np.cos(0.3), -np.sin(0.3))
    positions = [(0, 0, 2.5 * k) for k in range(8)]
    write_dicom(tmp_path / "ct", positions=positions, orientation=orientation, name="{:02d}.dcm")
    image = read_series(find_series(tmp_path / "ct")[0][0])
    x, y, z = image.grid.shape
    drawn = np.zeros((z, y, x), np.uint8)
    drawn[slices, 1:3, 2:5] = 1
    write_seg(tmp_path / "ct", tmp_path / "seg.dcm", drawn, "BINARY", ("liver",))
    found = read_segmentation(tmp_path / "seg.dcm", image=image.grid)
    whole = nib.Nifti1Image(found.array, found.grid.affine)
    centres = nib.affines.apply_affine(found.grid.affine, np.argwhere(whole.dataobj))
    upwards = image.grid.affine[2, 2] > 0
    wanted = (drawn if upwards else drawn[::-1]).transpose(2, 1, 0)
    expected = nib.affines.apply_affine(image.grid.affine, np.argwhere(wanted))
    assert np.allclose(sorted(map(tuple, centres)), sorted(map(tuple, expected)), atol=1e-3)
    # beside the voxels' places those of the grid, which says where it lies on the image
    steps = np.linalg.solve(image.grid.affine[:3, :3], found.grid.affine[:3, :3])
    assert np.allclose(steps, np.eye(3), atol=1e-4)


def test_frames_that_are_shifted_otherwise_are_refused(patient: Path) -> None:
    write_seg(patient / "CT", patient / "seg.dcm", np.ones((3, 512, 512)), "BINARY", NAMES)
    moved = pydicom.dcmread(patient / "seg.dcm")
    frames = moved.PerFrameFunctionalGroupsSequence
    middle = sorted(frames, key=lambda one: one.PlanePositionSequence[0].ImagePositionPatient[2])[1]
    middle.PlanePositionSequence[0].ImagePositionPatient[0] += 7
    moved.save_as(patient / "seg.dcm")
    with pytest.raises(ImageError, match="shifted against each other"):
        read_segmentation(patient / "seg.dcm")
