"""Case metrics and their summary against hand-computed cases, SimpleITK and MONAI."""

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

from gridgate.data.errors import ConfigError, ImageError
from gridgate.pipeline.evaluation.metrics import METRICS, LabelMetrics, case_metrics
from gridgate.pipeline.evaluation.statistics import summary

SPACING = (2.0, 2.5, 4.0)  # 0.02 ml a voxel
LABELS = {"background": 0, "liver": 1, "pancreas": 2}


def label_map(
    seed: int, shape: tuple[int, int, int] = (16, 14, 10), classes: int = 4
) -> np.ndarray:
    """Smooth random regions of all classes, uint8."""
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    return np.argmax([ndimage.gaussian_filter(channel, 1.5) for channel in noise], axis=0).astype(
        np.uint8
    )


def same(first: float, second: float) -> bool:
    return first == pytest.approx(second, rel=1e-12) or (math.isnan(first) and math.isnan(second))


def test_a_case_by_hand() -> None:
    """Liver: 8 predicted, 12 expected, 6 in common. Pancreas: 1 voxel each, two slices apart."""
    prediction, reference = np.zeros((12, 4, 4), np.uint8), np.zeros((12, 4, 4), np.int16)
    prediction[6:10, 0:2, 0] = 1  # 4 x 2
    reference[7:11, 0:3, 0] = 1  # 4 x 3, 3 x 2 in common
    prediction[1, 1, 1] = 2
    reference[1, 1, 3] = 2
    liver, pancreas = case_metrics(prediction, reference, labels=LABELS, spacing_mm=SPACING)
    assert (liver.label, liver.value) == ("liver", 1)
    assert liver.dice == pytest.approx(12 / 20)
    assert liver.iou == pytest.approx(6 / 14)
    assert liver.precision == pytest.approx(6 / 8)
    assert liver.recall == pytest.approx(6 / 12)
    assert liver.volume_prediction_ml == pytest.approx(0.16)
    assert liver.volume_reference_ml == pytest.approx(0.24)
    assert liver.volume_error_ml == pytest.approx(-0.08)
    assert liver.volume_error_percent == pytest.approx(-100 / 3)
    # Every voxel is surface. Prediction to reference: 6 x 0, 2 x 2 mm. Back: 6 x 0, row 10: 2 x 2
    # mm, column 2: 3 x 2.5 mm, and the corner (10, 2), hypot(2, 2.5) away.
    corner = math.hypot(2, 2.5)
    assert liver.assd_mm == pytest.approx((2 * 2 + 2 * 2 + 3 * 2.5 + corner) / 20)
    # Rank 0.95 x 11 = 10.45 of the twelve: between 2.5 mm and the corner.
    assert liver.hd95_mm == pytest.approx(2.5 + 0.45 * (corner - 2.5))
    assert (pancreas.label, pancreas.dice, pancreas.precision, pancreas.recall) == (
        "pancreas",
        0.0,
        0.0,
        0.0,
    )
    assert pancreas.hd95_mm == pancreas.assd_mm == pytest.approx(8.0)
    assert pancreas.volume_error_percent == 0.0


def test_a_perfect_prediction() -> None:
    reference = label_map(0)
    for row in case_metrics(reference, reference, labels=LABELS, spacing_mm=SPACING):
        assert row.dice == row.iou == row.precision == row.recall == 1.0
        assert row.hd95_mm == row.assd_mm == row.volume_error_ml == row.volume_error_percent == 0.0


def one_voxel() -> np.ndarray:
    array = np.zeros((3, 3, 3), np.uint8)
    array[1, 1, 1] = 1
    return array


def test_empty_masks() -> None:
    full, empty = one_voxel(), np.zeros((3, 3, 3), np.uint8)

    def row(prediction: np.ndarray, reference: np.ndarray) -> LabelMetrics:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return case_metrics(prediction, reference, labels={"x": 1}, spacing_mm=SPACING)[0]

    expected: dict[str, tuple[LabelMetrics, dict[str, float], dict[str, float]]] = {
        "neither": (
            row(empty, empty),
            {"specificity": 1.0, "volume_error_ml": 0.0},
            {"volume_prediction_ml": 0.0, "volume_reference_ml": 0.0},
        ),
        "missed": (
            row(empty, full),
            {"dice": 0.0, "iou": 0.0, "recall": 0.0, "specificity": 1.0, "nsd": 0.0},
            {"volume_error_ml": -0.02, "volume_error_percent": -100.0}
            | {"volume_prediction_ml": 0.0, "volume_reference_ml": 0.02},
        ),
        "invented": (
            row(full, empty),
            {"dice": 0.0, "iou": 0.0, "precision": 0.0, "specificity": 26 / 27, "nsd": 0.0},
            {"volume_error_ml": 0.02, "volume_prediction_ml": 0.02, "volume_reference_ml": 0.0},
        ),
    }
    for case, (got, overlap, volumes) in expected.items():
        wanted = overlap | volumes
        for metric in METRICS:
            assert same(getattr(got, metric), wanted.get(metric, math.nan)), (case, metric)


@pytest.mark.parametrize("seed", range(3))
def test_overlap_agrees_with_simpleitk(seed: int) -> None:
    prediction, reference = label_map(seed), label_map(seed + 1000)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    # SimpleITK's source is the reference and its target the prediction: false negatives are the
    # reference's.
    overlap.Execute(sitk.GetImageFromArray(reference), sitk.GetImageFromArray(prediction))
    for row in case_metrics(
        prediction, reference, labels={"a": 1, "b": 2, "c": 3}, spacing_mm=SPACING
    ):
        assert row.dice == pytest.approx(overlap.GetDiceCoefficient(row.value))
        assert row.iou == pytest.approx(overlap.GetJaccardCoefficient(row.value))
        counts = [int((array == row.value).sum()) for array in (prediction, reference)]
        both = int(((prediction == row.value) & (reference == row.value)).sum())
        assert row.precision == pytest.approx(both / counts[0])
        assert row.recall == pytest.approx(both / counts[1])
        assert row.volume_error_ml == pytest.approx((counts[0] - counts[1]) * 0.02)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy.*")
def test_distances_agree_with_monai() -> None:
    prediction, reference = label_map(7), label_map(8)
    rows = case_metrics(prediction, reference, labels={"a": 1, "b": 2, "c": 3}, spacing_mm=SPACING)
    one, two = (
        torch.from_numpy(np.stack([array == value for value in range(4)]))[None]
        for array in (prediction, reference)
    )
    hausdorff = compute_hausdorff_distance(one, two, percentile=95, spacing=SPACING)[0]
    average = compute_average_surface_distance(one, two, symmetric=True, spacing=SPACING)[0]
    np.testing.assert_allclose([row.hd95_mm for row in rows], hausdorff, rtol=1e-5)
    np.testing.assert_allclose([row.assd_mm for row in rows], average, rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fill=st.floats(0.05, 0.9), axes=st.permutations([0, 1, 2]))
def test_properties(seed: int, fill: float, axes: list[int]) -> None:
    """Swapping the maps swaps precision and recall; permuting or flipping axes changes nothing."""
    rng = np.random.default_rng(seed)
    prediction, reference = ((rng.random((5, 4, 3)) < fill).astype(np.uint8) for _ in range(2))
    labels = {"x": 1}
    (row,) = case_metrics(prediction, reference, labels=labels, spacing_mm=SPACING)
    (swapped,) = case_metrics(reference, prediction, labels=labels, spacing_mm=SPACING)
    for metric in ("dice", "iou", "hd95_mm", "assd_mm"):
        assert same(getattr(row, metric), getattr(swapped, metric))
    assert same(row.precision, swapped.recall)
    assert same(row.volume_error_ml, -swapped.volume_error_ml)
    if not math.isnan(row.dice):
        assert 0 <= row.iou <= row.dice <= 1
        assert row.dice == pytest.approx(2 * row.iou / (1 + row.iou))
    (turned,) = case_metrics(
        prediction.transpose(axes)[::-1],
        reference.transpose(axes)[::-1],
        labels=labels,
        spacing_mm=[SPACING[axis] for axis in axes],
    )
    for metric in METRICS:
        assert same(getattr(row, metric), getattr(turned, metric))


def test_affine_gives_what_its_spacing_gives() -> None:
    affine = np.array([[0, -2.5, 0, 7], [-2.0, 0, 0, -3], [0, 0, 4.0, 100], [0, 0, 0, 1]])
    by_affine = case_metrics(label_map(1), label_map(2), labels=LABELS, affine=affine)
    by_spacing = case_metrics(label_map(1), label_map(2), labels=LABELS, spacing_mm=SPACING)
    for one, two in zip(by_affine, by_spacing, strict=True):
        assert all(same(getattr(one, metric), getattr(two, metric)) for metric in METRICS)


def test_rows_follow_the_labels_and_other_values_are_background() -> None:
    prediction, reference = label_map(3), label_map(4)
    rows = case_metrics(
        prediction,
        reference,
        labels={"c": 3, "far": 900, "background": 0, "a": 1},
        spacing_mm=SPACING,
    )
    assert [(row.label, row.value) for row in rows] == [("c", 3), ("far", 900), ("a", 1)]
    assert math.isnan(rows[1].dice)
    only = case_metrics(
        prediction * (prediction == 3),
        reference * (reference == 3),
        labels={"c": 3},
        spacing_mm=SPACING,
    )
    assert only[0] == rows[0]


def test_memory_layout_and_dtype_do_not_matter() -> None:
    prediction, reference = label_map(5), label_map(6)
    expected = case_metrics(prediction, reference, labels=LABELS, spacing_mm=SPACING)
    fortran = (
        np.asfortranarray(prediction.astype(np.int64)),
        np.asfortranarray(reference.astype(np.uint16)),
    )
    assert case_metrics(*fortran, labels=LABELS, spacing_mm=SPACING) == expected
    masks = case_metrics(prediction == 1, reference == 1, labels={"liver": 1}, spacing_mm=SPACING)
    assert masks[0] == expected[0]


def test_a_row_has_the_columns_in_order() -> None:
    (row,) = case_metrics(one_voxel(), one_voxel(), labels={"x": 1}, spacing_mm=SPACING)
    assert tuple(row.as_row()) == ("label", "value", *METRICS, "tolerance_mm", "status")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ({"background": 0}, "no foreground"),
        ({"x": -1}, "negative"),
        ({"x": 1, "y": 1}, "same value"),
    ],
)
def test_impossible_labels(labels: dict[str, int], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        case_metrics(one_voxel(), one_voxel(), labels=labels, spacing_mm=SPACING)


def test_impossible_arrays() -> None:
    with pytest.raises(ImageError, match=r"reference holds float32.*read_labels"):
        case_metrics(one_voxel(), one_voxel().astype(np.float32), labels=LABELS, spacing_mm=SPACING)
    with pytest.raises(ImageError, match=r"\(3, 3, 3\).*\(3, 3, 2\).*resample"):
        case_metrics(one_voxel(), one_voxel()[..., :2], labels=LABELS, spacing_mm=SPACING)
    with pytest.raises(ValueError, match="either spacing_mm or affine"):
        case_metrics(one_voxel(), one_voxel(), labels=LABELS)


def row_of(
    label: str, value: int, dice: float, *, distance: float, prediction: float, reference: float
) -> LabelMetrics:
    numbers: dict[str, Any] = dict.fromkeys(METRICS, math.nan)
    numbers |= {"dice": dice, "hd95_mm": distance}
    numbers |= {"volume_prediction_ml": prediction, "volume_reference_ml": reference}
    return LabelMetrics(label, value, **numbers)


def test_summary_by_hand() -> None:
    nan = math.nan
    rows = [
        row_of("liver", 1, 0.8, distance=4.0, prediction=2.0, reference=2.0),
        row_of("gall", 5, nan, distance=nan, prediction=0.0, reference=0.0),
        row_of("liver", 1, 0.6, distance=8.0, prediction=2.0, reference=2.0),
        row_of("gall", 5, 0.5, distance=3.0, prediction=2.0, reference=2.0),
        row_of("liver", 1, 0.0, distance=nan, prediction=0.0, reference=2.0),
        row_of("gall", 5, 0.0, distance=nan, prediction=1.0, reference=0.0),
    ]
    found = json.loads(json.dumps(summary(rows), allow_nan=False))
    assert list(found["labels"]) == ["liver", "gall"]
    liver, gall = found["labels"]["liver"], found["labels"]["gall"]
    assert (liver["value"], liver["cases"]) == (1, 3)
    assert liver["dice"] == {
        "mean": pytest.approx(1.4 / 3),
        "std": pytest.approx(math.sqrt((0.64 + 0.36) / 3 - (1.4 / 3) ** 2)),
        "median": 0.6,
        "min": 0.0,
        "max": 0.8,
        "count": 3,
        "nan": 0,
    }
    assert liver["hd95_mm"] == {
        "mean": 6.0,
        "std": 2.0,
        "median": 6.0,
        "min": 4.0,
        "max": 8.0,
        "count": 2,
        "nan": 1,
    }
    assert liver["counts"] == {
        "both_empty": 0,
        "prediction_empty": 1,
        "reference_empty": 0,
        "failed_distances": 1,
    }
    assert gall["counts"] == {
        "both_empty": 1,
        "prediction_empty": 0,
        "reference_empty": 1,
        "failed_distances": 1,
    }
    assert gall["dice"]["mean"] == 0.25
    assert (gall["dice"]["count"], gall["dice"]["nan"]) == (2, 1)
    none = dict.fromkeys(("mean", "std", "median", "min", "max"))
    assert gall["iou"] == {**none, "count": 0, "nan": 3}
    assert found["mean"]["dice"] == pytest.approx((1.4 / 3 + 0.25) / 2)
    assert found["mean"]["hd95_mm"] == pytest.approx((6 + 3) / 2)
    assert found["mean"]["iou"] is None
    assert set(found["mean"]) == set(METRICS)


def test_summary_of_real_rows_is_json_without_nan() -> None:
    labels = {**LABELS, "absent": 9}
    rows = [
        row
        for seed in range(3)
        for row in case_metrics(
            label_map(seed), label_map(seed + 10), labels=labels, affine=np.diag([*SPACING, 1])
        )
    ]
    found = json.loads(json.dumps(summary(rows), allow_nan=False))
    assert found["labels"]["absent"]["counts"]["both_empty"] == 3
    assert found["labels"]["liver"]["dice"]["count"] == 3
    assert summary([]) == {"labels": {}, "mean": dict.fromkeys(METRICS)}
