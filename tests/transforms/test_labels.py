"""Label maps on their way to training: where they lie, and that no value is lost in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from gridgate.data.datasets.label_map import LabelMap, Part
from gridgate.data.errors import DatasetError, GridgateError, user_error
from gridgate.transforms import AlignLabeld, MapLabelsd, preprocessing

AFFINE = np.array([[-2.0, 0, 0, 70], [0, -2.0, 0, 60], [0, 0, 4.0, -300], [0, 0, 0, 1]])
WINDOW = {"mode": "window", "low": -160, "high": 240}
ORGANS = {0: 0, 1: 1, 2: 2}


def case(folder: Path, labels: np.ndarray, affine: np.ndarray = AFFINE) -> dict[str, Any]:
    image = np.random.default_rng(0).normal(0, 100, (20, 18, 16)).astype(np.int16)
    nib.save(nib.Nifti1Image(image, AFFINE), folder / "image.nii.gz")
    nib.save(nib.Nifti1Image(labels, affine), folder / "label.nii.gz")
    return {"id": "c7", "image": folder / "image.nii.gz", "label": folder / "label.nii.gz"}


def organs() -> np.ndarray:
    labels = np.zeros((20, 18, 16), np.uint8)
    labels[4:9, 5:11, 3:8] = 1
    labels[12:15, 3:6, 9:12] = 2
    return labels


def prepared(item: dict[str, Any], label_map: dict[int, int] | None, **more: Any) -> np.ndarray:
    transform = preprocessing(
        keys=("image", "label"), orientation="LPS", intensity=WINDOW, label_map=label_map, **more
    )
    return np.asarray(transform(item)["label"][0])


def error_of(run: Callable[[], object]) -> GridgateError:
    with pytest.raises(Exception, match=r".") as caught:
        run()
    found = user_error(caught.value)
    assert found is not None, caught.value
    return found


@pytest.mark.parametrize(
    ("value", "dtype"), [(255, np.uint8), (7, np.int16), (300, np.uint16), (-1, np.int8)]
)
def test_a_value_that_nobody_named_is_refused(value: int, dtype: type, tmp_path: Path) -> None:
    labels = organs().astype(dtype)
    labels[0, 0, :3] = value
    item = case(tmp_path, labels)
    text = str(error_of(lambda: prepared(item, ORGANS)))
    assert "label.nii.gz" in text and str(value) in text and "3 of 5760 voxels" in text
    assert "--merge_labels" in text
    counted = prepared(item, ORGANS | {value: 2})
    assert (counted == 2).sum() == (organs() == 2).sum() + 3
    assert (prepared(item, ORGANS | {value: 0}) == organs()).all()


def test_values_are_looked_at_in_the_file_not_on_the_networks_grid(tmp_path: Path) -> None:
    """One voxel that the resampling to larger voxels leaves out."""
    labels = organs()
    labels[1, 1, 1] = 9
    item = case(tmp_path, labels)
    text = str(error_of(lambda: prepared(item, ORGANS, spacing=(8.0, 8.0, 8.0))))
    assert "9 (1 of 5760 voxels)" in text and "c7" in text


def test_voxels_to_ignore_become_minus_one(tmp_path: Path) -> None:
    ignoring = ORGANS | {9: -1}
    assert (prepared(case(tmp_path, organs()), ignoring) == organs()).all()
    labels = organs()
    labels[0, 0, 0] = 9
    found = prepared(case(tmp_path, labels), ignoring)
    assert found[0, 0, 0] == -1 and (found < 0).sum() == 1


def test_what_is_annotated_goes_with_the_case(tmp_path: Path) -> None:
    """Liver (2) and its tumour (3) are one channel; a case without tumour has half of it drawn."""
    parts = {"spleen": Part((1,), 1), "liver": Part((2,), 2), "tumour": Part((3,), 2)}
    known = LabelMap({0: 0, 1: 1, 2: 2, 3: 2}, parts=parts)
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0], labels[1] = 1, 2
    transform = MapLabelsd("label", label_map=known, channels=3)
    made = transform({"label": torch.from_numpy(labels)[None], "unannotated": ["tumour"]})
    assert made["annotated"].tolist() == [True, True, False]
    assert made["label"].unique().tolist() == [0, 1]
    whole = transform({"label": torch.from_numpy(labels)[None]})
    assert whole["annotated"].all() and whole["label"].unique().tolist() == [0, 1, 2]
    with pytest.raises(DatasetError, match="case c1 holds 16 voxels of liver"):
        transform({"label": torch.from_numpy(labels)[None], "unannotated": ["liver"], "id": "c1"})


@pytest.mark.parametrize("label_map", [None, {}])
def test_without_a_map_the_values_are_taken_as_they_are(
    label_map: dict[int, int] | None, tmp_path: Path
) -> None:
    """As tools that bring their own list of cases have it: there is no dataset folder."""
    item = case(tmp_path, organs())
    assert (prepared(item, label_map, label_count=3) == organs()).all()
    text = str(error_of(lambda: prepared(item, label_map, label_count=2)))
    assert "2 (27 of 5760 voxels)" in text and "0 to 1" in text


@pytest.mark.parametrize(
    ("affine", "cause"),
    [
        (np.eye(4), "without the image's geometry"),
        (AFFINE + np.outer((1, 0, 0, 0), (0, 0, 0, 400)), r"centres are 400.0 mm apart"),
        (np.diag([-1.0, -1, 1, 1]) @ AFFINE, "mirrored coordinates"),
    ],
)
def test_a_label_elsewhere_than_its_image_is_refused(
    affine: np.ndarray, cause: str, tmp_path: Path
) -> None:
    item = case(tmp_path, organs(), affine)
    for spacing in (None, (3.0, 3.0, 3.0)):
        text = str(error_of(lambda: prepared(item, ORGANS, spacing=spacing)))  # noqa: B023
        assert "label.nii.gz: case c7" in text and "image.nii.gz" in text and cause in text


def test_a_label_cropped_to_its_extent_trains_as_the_whole_one(tmp_path: Path) -> None:
    whole = prepared(case(tmp_path, organs()), ORGANS)
    affine = AFFINE.copy()
    affine[:3, 3] = nib.affines.apply_affine(AFFINE, (4, 3, 3))
    cropped = case(tmp_path, np.ascontiguousarray(organs()[4:15, 3:11, 3:12]), affine)
    np.testing.assert_array_equal(prepared(cropped, ORGANS), whole)
    assert whole.any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_a_label_half_a_voxel_off_loses_and_doubles_no_row(axis: int, turned: bool) -> None:
    # rounding half to even gave rows 0, 2, 2, 4, 4, ...
    values = np.arange(1, 11)
    shape = [1, 1, 1]
    shape[axis] = 10
    array = np.broadcast_to(values.reshape(shape), (10, 10, 10)).astype(np.float32)
    image_affine, affine = np.diag([1.5, 2.0, 2.5, 1.0]), np.diag([1.5, 2.0, 2.5, 1.0])
    affine[axis, 3] -= 0.5 * affine[axis, axis]
    if turned:  # the general way: no axis is parallel to another
        turn = np.eye(4)
        turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
        image_affine, affine = turn @ image_affine, turn @ affine
    item = {
        "image": MetaTensor(torch.zeros(1, 10, 10, 10), affine=torch.as_tensor(image_affine)),
        "label": MetaTensor(torch.as_tensor(array.copy())[None], affine=torch.as_tensor(affine)),
    }
    found = AlignLabeld("label", reference="image")(item)["label"]
    row = np.moveaxis(np.asarray(found)[0], axis, 0)[:, 5, 5]
    np.testing.assert_array_equal(row, [*range(2, 11), 0])
