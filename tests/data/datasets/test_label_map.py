"""Label values and channels: by name, by --merge_labels, ignored or refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.label_map import IGNORE, label_map
from gridgate.data.datasets.label_values import count_values, map_values
from gridgate.data.errors import DatasetError

ORGANS = {"background": 0, "liver": 1, "spleen": 2}
NAMES = list(ORGANS)


def dataset(root: Path, labels: dict[str, int]) -> Path:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        (root / folder / "a.nii.gz").touch()
    write_dataset_json(root, "Set", labels, ("CT",), 1)
    return root


@pytest.mark.parametrize(
    ("theirs", "ours", "merge", "wanted"),
    [
        (ORGANS, NAMES, None, {0: 0, 1: 1, 2: 2}),
        # by name, not by value
        ({"background": 0, "spleen": 1, "liver": 2}, NAMES, {}, {0: 0, 1: 2, 2: 1}),
        ({"background": 0, "liver": 5, "spleen": 9}, NAMES, {}, {0: 0, 5: 1, 9: 2}),
        ({"Background": 0, "Left Kidney": 1}, ["background", "left_kidney"], None, {0: 0, 1: 1}),
        ({"background": 0, "left-kidney": 1}, ["background", "LEFT kidney"], None, {0: 0, 1: 1}),
        ({"clear_label": 0, "liver": 1}, ["background", "liver"], None, {0: 0, 1: 1}),
        (
            {"background": 0, "pancreas": 1, "Cancer": 2},
            ["background", "pancreas"],
            {"cancer": "pancreas"},
            {0: 0, 1: 1, 2: 1},
        ),
        (
            {"background": 0, "pancreas": 1, "air pocket": 2},
            ["background", "pancreas"],
            {"air_pocket": "background"},
            {0: 0, 1: 1, 2: 0},
        ),
        # a bundle's standing merge does not trouble a dataset without that label
        (
            {"background": 0, "pancreas": 1},
            ["background", "pancreas"],
            {"cancer": "pancreas"},
            {0: 0, 1: 1},
        ),
        # two labels of theirs, none of which is called as ours
        (
            {"background": 0, "a": 1, "b": 2},
            ["background", "ab"],
            {"a": "ab", "b": "ab"},
            {0: 0, 1: 1, 2: 1},
        ),
        # by value: of a label that is named, and of values that dataset.json does not name
        (ORGANS | {"cyst": 3}, NAMES, {3: "liver"}, {0: 0, 1: 1, 2: 2, 3: 1}),
        (ORGANS, NAMES, {255: "background", "7": "Spleen"}, {0: 0, 1: 1, 2: 2, 255: 0, 7: 2}),
        (ORGANS, NAMES, {-1: "background"}, {0: 0, 1: 1, 2: 2, -1: 0}),
        (ORGANS, NAMES, {"255": "ignore"}, {0: 0, 1: 1, 2: 2, 255: IGNORE}),
        # a label that is called as a number is meant by its name
        ({"background": 0, "liver": 1, "7": 2}, NAMES, {"7": "spleen"}, {0: 0, 1: 1, 2: 2}),
        # nnU-Net's ignore label, and what may be said of it
        (ORGANS | {"ignore": 9}, NAMES, None, {0: 0, 1: 1, 2: 2, 9: IGNORE}),
        (ORGANS | {"ignore": 9}, NAMES, {"ignore": "background"}, {0: 0, 1: 1, 2: 2, 9: 0}),
        (ORGANS | {"ignore": 9}, NAMES, {9: "liver"}, {0: 0, 1: 1, 2: 2, 9: 1}),
        (ORGANS | {"cyst": 3}, NAMES, {"cyst": "ignore"}, {0: 0, 1: 1, 2: 2, 3: IGNORE}),
    ],
)
def test_by_name_and_by_merge_labels(
    theirs: dict[str, int], ours: list[str], merge: Any, wanted: dict[int, int], tmp_path: Path
) -> None:
    assert label_map(dataset(tmp_path, theirs), labels=ours, merge_labels=merge) == wanted


@pytest.mark.parametrize(
    ("theirs", "merge"),
    [
        ({"background": 0, "liver": 1}, {}),  # lacks one
        ({"background": 0, "liver": 1, "spleen": 2, "aorta": 3}, {}),  # one too many
        ({"background": 0, "liver": 1, "aorta": 2}, {}),
        # into what is not ours
        ({"background": 0, "liver": 1, "spleen": 2, "aorta": 3}, {"aorta": "vessels"}),
        ({"background": 0, "liver": 1, "spleen": 2}, {255: "vessels"}),
        ({"background": 0, "liver": 1, "spleen": 2}, {"spleen": "liver"}),  # then none is left
    ],
)
def test_other_labels_are_refused(
    theirs: dict[str, int], merge: dict[str | int, str], tmp_path: Path
) -> None:
    with pytest.raises(
        DatasetError, match=r"dataset\.json: its labels are background, liver.*--merge_labels"
    ):
        label_map(dataset(tmp_path, theirs), labels=NAMES, merge_labels=merge)


def test_no_dataset_no_map(tmp_path: Path) -> None:
    assert label_map(tmp_path / "absent", labels=NAMES) == {}


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.uint16, np.int8, np.int32, np.int64, np.float32, np.bool_]),
        (3, 4, 5),
        elements=st.integers(0, 1),
    ),
    st.integers(-3, 70_000),
    st.booleans(),
)
def test_values_are_counted(array: np.ndarray, value: int, fortran: bool) -> None:
    if np.can_cast(np.min_scalar_type(value), array.dtype) or array.dtype.kind == "f":
        array[0, 0, 0] = value
    array = np.asfortranarray(array) if fortran else array[:, ::2]
    values, counts = np.unique(array, return_counts=True)
    assert count_values(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert all(type(found) is int for found in count_values(array))


def test_large_label_maps_are_counted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridgate.data.datasets.label_values._PIECE", 7)
    array = np.arange(100, dtype=np.uint8).reshape(4, 25) % 9
    assert count_values(array) == dict.fromkeys(range(9), 11) | {0: 12}


def refused(array: np.ndarray, found: dict[int, int], channels: int | None = None) -> str:
    with pytest.raises(DatasetError) as caught:
        map_values(array, found, case="c7", source="labelsTr/c7.nii.gz", channels=channels)
    return str(caught.value)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_values_that_nobody_named_are_refused(dtype: type) -> None:
    array = np.zeros((5, 4, 3), dtype)
    array[0] = 1
    array[1, 0] = 117
    array[1, 1, 0] = 7
    text = refused(array, {0: 0, 1: 1})
    assert text.startswith("labelsTr/c7.nii.gz: case c7 holds label values that dataset.json does ")
    assert "7 (1 of 60 voxels), 117 (3 of 60 voxels)" in text and "--merge_labels" in text
    assert "-2 (1 of 1 voxels)" in refused(np.array([[[-2]]], np.int8), {0: 0})
    assert "0.5 (1 of 1 voxels)" in refused(np.array([[[0.5]]], np.float32), {0: 0, 1: 1})


def test_values_are_mapped() -> None:
    array = np.array([[[0, 1, 5, 255, 255, 1]]], np.uint8)
    before = array.copy()
    mapped = map_values(array, {0: 0, 1: 2, 5: 1, 255: IGNORE, 9: 0}, case="c", source="f")
    np.testing.assert_array_equal(mapped, [[[0, 2, 1, -1, -1, 2]]])
    assert mapped.dtype == np.int16
    np.testing.assert_array_equal(array, before)
    same = map_values(array % 5 % 2, {0: 0, 1: 2}, case="c", source="f")
    assert same.dtype == np.uint8 and same.max() == 2


def test_without_a_map_the_values_are_channels_and_must_be() -> None:
    array = np.array([[[0, 1, 2]]], np.uint8)
    assert map_values(array, {}, case="c", source="f", channels=3) is array
    assert "2 (1 of 3 voxels); the network's channels are 0 to 1" in refused(array, {}, 2)
    assert "0.5 (1 of 1" in refused(np.array([0.5]), {})
