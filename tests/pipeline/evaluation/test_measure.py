"""One case measured from its two files: extents, lattices, values, against hand computations."""

import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridgate.data.datasets.label_map import LabelMap, Part
from gridgate.data.errors import DatasetError, ImageError
from gridgate.pipeline.evaluation.measure import check_label, measure_files
from gridgate.pipeline.evaluation.metrics import METRICS, LabelMetrics
from gridgate.pipeline.evaluation.statistics import summary

LABELS = ["background", "liver", "spleen"]
AFFINE = np.array([[-2.0, 0, 0, 70], [0, -2.5, 0, 60], [0, 0, 4.0, -300], [0, 0, 0, 1]])


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine, 1, strip_shears=True)
    nib.save(image, path)
    return path


def cut(array: np.ndarray, affine: np.ndarray, sides: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """The array cropped (below 0) or padded with background (above 0) at its six sides."""
    padded = np.pad(array, [(max(sides[2 * k], 0), max(sides[2 * k + 1], 0)) for k in range(3)])
    low = [max(-sides[2 * k], 0) for k in range(3)]
    high = [padded.shape[k] - max(-sides[2 * k + 1], 0) for k in range(3)]
    part = padded[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    moved = affine.copy()
    moved[:3, 3] = nib.affines.apply_affine(affine, [-sides[2 * k] for k in range(3)])
    return np.ascontiguousarray(part), moved


def same(one: LabelMetrics, other: LabelMetrics) -> bool:
    return all(
        getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6, abs=1e-9, nan_ok=True)
        for name in METRICS
    )


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A prediction that reaches three voxels from each side, a label that keeps to the middle."""
    prediction, reference = np.zeros((12, 11, 10), np.uint8), np.zeros((12, 11, 10), np.uint8)
    prediction[3:9, 3:8, 3:7] = rng.integers(0, 3, (6, 5, 4))
    reference[5:8, 4:7, 4:6] = rng.integers(0, 3, (3, 3, 2))
    return prediction, reference


def test_false_positives_beyond_the_label_files_extent_count_by_hand(tmp_path: Path) -> None:
    """The label: 2 x 2 x 2 voxels in a file of that size. Predicted: those, and 4 far off."""
    prediction = np.zeros((20, 10, 10), np.uint8)
    prediction[4:6, 4:6, 4:6] = 1
    prediction[15, 4:6, 4:6] = 1
    mask = save(tmp_path / "mask.nii.gz", prediction, AFFINE)
    corner = AFFINE.copy()
    corner[:3, 3] = nib.affines.apply_affine(AFFINE, (4, 4, 4))
    label = save(tmp_path / "label.nii.gz", np.ones((2, 2, 2), np.uint8), corner)
    liver, spleen = measure_files(mask, label, LABELS)
    assert liver.dice == pytest.approx(2 * 8 / (12 + 8))
    assert liver.precision == pytest.approx(8 / 12) and liver.recall == 1.0
    assert liver.volume_prediction_ml == pytest.approx(12 * 0.02)
    assert liver.volume_reference_ml == pytest.approx(8 * 0.02)
    # of the prediction's 12 surface voxels 8 are 0 mm away and 4 are 10 voxels of 2 mm away; rank
    # 0.95 x 11 is among the latter
    assert liver.hd95_mm == pytest.approx(20.0)
    assert liver.assd_mm == pytest.approx(4 * 20 / 20)
    assert math.isnan(spleen.dice)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32 - 1),
    ours=st.lists(st.integers(-3, 4), min_size=6, max_size=6),
    theirs=st.lists(st.integers(-4, 4), min_size=6, max_size=6),
    degrees=st.sampled_from([0.0, 25.0]),
    shift=st.sampled_from([(0.0, 0.0, 0.0), (0.3, -0.2, 0.4), (0.5, 0.5, 0.5), (0.0, 1.25, -0.5)]),
    turn=st.booleans(),
)
def test_padding_and_cropping_change_nothing(
    tmp_path: Path,
    seed: int,
    ours: list[int],
    theirs: list[int],
    degrees: float,
    shift: tuple[float, ...],
    turn: bool,
) -> None:
    """Either file's extent; oblique, between the voxels, and in another axis order too."""
    prediction, reference = scene(np.random.default_rng(seed))
    mask_affine = rotation(degrees) @ AFFINE
    label_affine = mask_affine.copy()
    label_affine[:3, 3] = nib.affines.apply_affine(mask_affine, shift)
    plain = measure_files(
        save(tmp_path / "mask.nii.gz", prediction, mask_affine),
        save(tmp_path / "label.nii.gz", reference, label_affine),
        LABELS,
    )
    part, affine = cut(reference, label_affine, theirs)
    label = nib.Nifti1Image(part, affine)
    if turn:
        label = label.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    other = measure_files(
        save(tmp_path / "mask.nii.gz", *cut(prediction, mask_affine, ours)),
        save(tmp_path / "label.nii.gz", np.asarray(label.dataobj), label.affine),
        LABELS,
    )
    for one, two in zip(plain, other, strict=True):
        two = replace(two, specificity=one.specificity)  # that alone knows the field of view
        assert same(one, two), (one, two)
    if shift == (0.0, 0.0, 0.0):
        for row in plain:
            overlap = sitk.LabelOverlapMeasuresImageFilter()
            overlap.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction))
            value = row.value
            if (reference == value).any():
                assert row.dice == pytest.approx(overlap.GetDiceCoefficient(value), abs=1e-6)


def test_specificity_of_a_mask_beyond_the_label_file(tmp_path: Path) -> None:
    """6 voxels along x are in the label file, all of them background; the next 6 are labelled."""
    mask = np.zeros((12, 4, 5), np.uint8)
    mask[6:] = 1
    files = (
        save(tmp_path / "mask.nii.gz", mask, AFFINE),
        save(tmp_path / "label.nii.gz", np.zeros((6, 4, 5), np.uint8), AFFINE),
    )
    # 120 voxels of the file and 120 beyond it, of which the latter are wrong
    assert measure_files(*files, LABELS)[0].specificity == pytest.approx(0.5)


def test_a_label_with_finer_voxels_is_measured_in_its_own(tmp_path: Path) -> None:
    """The same block in voxels of half the height, and more beyond the label's file."""
    prediction = np.zeros((8, 8, 8), np.uint8)
    prediction[2:4, 2:4, 2:4] = 1
    prediction[2:4, 2:4, 6] = 1
    mask = save(tmp_path / "mask.nii.gz", prediction, AFFINE)
    fine = AFFINE @ np.diag([1, 1, 0.5, 1])
    fine[:3, 3] = nib.affines.apply_affine(AFFINE, (2, 2, 1.75))  # voxel 2 is at 1.75 and 2.25
    label = save(tmp_path / "label.nii.gz", np.ones((2, 2, 4), np.uint8), fine)
    liver, _ = measure_files(mask, label, LABELS)
    assert liver.volume_prediction_ml == pytest.approx(12 * 0.02)
    assert liver.volume_reference_ml == pytest.approx(8 * 0.02)
    assert liver.dice == pytest.approx(2 * 8 / (12 + 8))
    assert liver.hd95_mm == pytest.approx(np.percentile([0] * 16 + [10] * 4 + [12] * 4, 95))


@pytest.mark.parametrize("value", [7, 255, -1])
def test_values_that_nobody_named_are_refused_and_may_be_named(value: int, tmp_path: Path) -> None:
    prediction, reference = scene(np.random.default_rng(1))
    mask = save(tmp_path / "mask.nii.gz", prediction, AFFINE)
    odd = reference.astype(np.int16)
    odd[0, 0, :2] = value
    label = save(tmp_path / "label.nii.gz", odd, AFFINE)
    named = {0: 0, 1: 1, 2: 2}
    with pytest.raises((DatasetError, ImageError), match=rf"label\.nii\.gz.*{value} .*2 of 1320"):
        measure_files(mask, label, LABELS, label_map=named, case="c1")
    plain = measure_files(
        mask, save(tmp_path / "plain.nii.gz", reference, AFFINE), LABELS, label_map=named
    )
    assert measure_files(mask, label, LABELS, label_map=named | {value: 0}) == plain


def test_voxels_to_ignore_count_on_neither_side(tmp_path: Path) -> None:
    """By hand: 4 voxels agree, of 3 further predicted ones 2 are to be ignored."""
    prediction, reference = np.zeros((12, 6, 6), np.uint8), np.zeros((12, 6, 6), np.uint8)
    prediction[2:6, 2, 2] = reference[2:6, 2, 2] = 1
    prediction[6:9, 2, 2] = 1
    reference[7:11, 2, 2] = 9
    reference[2:4, 4, 4] = 9
    mask = save(tmp_path / "mask.nii.gz", prediction, AFFINE)
    label = save(tmp_path / "label.nii.gz", reference, AFFINE)
    liver, _ = measure_files(mask, label, LABELS, label_map={0: 0, 1: 1, 2: 2, 9: -1})
    assert liver.dice == pytest.approx(2 * 4 / (5 + 4))
    assert liver.volume_prediction_ml == pytest.approx(5 * 0.02)
    assert liver.hd95_mm == pytest.approx(np.percentile([0, 0, 0, 0, 2], 95))


def test_an_unannotated_label_has_no_measures(tmp_path: Path) -> None:
    """By hand: 3 of the liver's 4 voxels; a spleen, which was not drawn, is where the fourth is."""
    prediction, reference = np.zeros((12, 6, 6), np.uint8), np.zeros((12, 6, 6), np.uint8)
    reference[2:6, 2, 2] = 1
    prediction[2:5, 2, 2] = 1
    prediction[5:9, 2, 2] = 2
    mask = save(tmp_path / "mask.nii.gz", prediction, AFFINE)
    label = save(tmp_path / "label.nii.gz", reference, AFFINE)
    parts = {"liver": Part((1,), 1), "spleen": Part((2,), 2)}
    known = LabelMap({0: 0, 1: 1, 2: 2}, parts=parts)
    liver, spleen = measure_files(mask, label, LABELS, label_map=known, unannotated=["spleen"])
    assert liver.dice == pytest.approx(2 * 3 / (3 + 4)) and liver.recall == pytest.approx(3 / 4)
    assert spleen.status == "not annotated" and not spleen.annotated
    assert spleen.as_row() == {"label": "spleen", "value": 2, "status": "not annotated"} | {
        name: "" for name in (*METRICS, "tolerance_mm")
    }
    (_, whole) = measure_files(mask, label, LABELS, label_map=known)
    assert whole.dice == 0 and whole.annotated
    found = summary([liver, spleen, whole])["labels"]["spleen"]
    assert found["cases"] == 1 and found["dice"]["count"] == 1 and found["dice"]["mean"] == 0
    assert found["counts"]["reference_empty"] == 1
    with pytest.raises(DatasetError, match=r"c9 holds 4 voxels of liver .1., which .*annotated"):
        measure_files(mask, label, LABELS, label_map=known, unannotated=["liver"], case="c9")


def test_a_case_whose_label_lies_elsewhere_or_cannot_be_read(tmp_path: Path) -> None:
    prediction, reference = scene(np.random.default_rng(1))
    image = save(tmp_path / "image.nii.gz", prediction, AFFINE)
    label = save(tmp_path / "label.nii.gz", reference, np.eye(4))
    item = {"id": "c1", "image": str(image), "label": str(label)}
    with pytest.raises(DatasetError, match=r"label\.nii\.gz: case c1.*image\.nii\.gz.*mm apart"):
        check_label(item, LABELS, None)
    with pytest.raises(DatasetError, match="mm apart"):
        check_label(item | {"image": [str(image), str(image)]}, LABELS, None)
    label.write_bytes(b"")
    with pytest.raises(ImageError, match=r"label\.nii\.gz: the file is empty"):
        check_label(item, LABELS, None)
