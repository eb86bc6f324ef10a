"""What the viewer is told of a mask: values, names, colours, volumes; and the map that it draws."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.label_tables.colors import color_of
from gridgate.pipeline.reports.pictures.scans import read_scan
from gridgate.pipeline.reports.viewer.shown import ShownCase, ShownMask


def saved(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]), **options), path)
    return path


def drawn(mask: ShownMask) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_stream(io.BytesIO(mask.nifti())).dataobj)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((1, 2, 3), np.uint8),
        ((300, 1000, 14175), np.int16),
        ((7, 20_000, 70_000), np.int32),
        ((5, 2**33, 2**40), np.int64),
        ((-1, 4, 9), np.int16),
    ],
)
def test_whatever_the_values_the_map_holds_small_numbers(
    tmp_path: Path, values: tuple[int, ...], dtype: type
) -> None:
    """A table of colours as long as the highest value does not fit a GPU."""
    array = np.zeros((6, 5, 4), dtype)
    for place, value in enumerate(values):
        array[place, : place + 1] = value
    image = nib.Nifti1Image(array, np.diag([2.0, 2.0, 2.0, 1.0]), dtype=dtype)
    nib.save(image, tmp_path / "m.nii")
    mask = ShownMask("m", tmp_path / "m.nii")
    labels = mask.labels()
    assert {one["value"]: one["ml"] for one in labels} == pytest.approx(
        {value: 0.032 * (place + 1) for place, value in enumerate(values)}
    )
    numbered = drawn(mask)
    assert numbered.max() == len(values)
    for one in labels:
        np.testing.assert_array_equal(numbered == one["number"], array == one["value"])


def test_colours_are_the_same_whichever_labels_are_present(tmp_path: Path) -> None:
    names = {1: "cancer", 2: "tumor", 3: "liver"}
    found = []
    for present in ((1, 2, 3), (2,)):
        array = np.zeros((4, 4, 4), np.uint8)
        array[0, 0, : len(present)] = present
        path = saved(tmp_path / f"{len(present)}.nii", array)
        told = ShownMask("m", path, names).labels()
        found.append({one["name"]: tuple(one["colour"]) for one in told})
    assert found[0]["tumor"] == found[1]["tumor"] and found[0]["liver"] == color_of("liver")


def test_where_names_come_from(tmp_path: Path) -> None:
    array = np.ones((2, 2, 2), np.uint8)
    for name in ("labelsTr/a.nii", "preds/a.nii", "plain/vessels.nii", "plain/liver.nii"):
        saved(tmp_path / name, array)
    table = json.dumps({"labels": {"background": 0, "spleen": 1}})
    (tmp_path / "dataset.json").write_text(table)
    (tmp_path / "plain" / "liver.ctbl").write_text("0 bg 0 0 0 0\n1 liver 193 92 57 255\n")

    def named(name: str, **more: Any) -> list[str]:
        return [one["name"] for one in ShownMask("m", tmp_path / name, **more).labels()]

    assert named("labelsTr/a.nii") == ["spleen"]
    assert named("preds/a.nii") == ["label 1"]  # of another tool, perhaps with other values
    assert named("plain/liver.nii") == ["liver"] and named("plain/vessels.nii") == ["label 1"]
    assert named("plain/liver.nii", names={1: "heart"}) == ["heart"]


def test_volumes_of_regions_are_those_of_the_run(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.nii", np.ones((2, 2, 2), np.uint8))
    (label,) = ShownMask("m", path, {1: "kidney"}, {"kidney": 1.5, "tumor": 2.0}).labels()
    assert label["ml"] == 1.5


@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_a_map_of_one_number_has_a_range(tmp_path: Path, value: float) -> None:
    array = np.full((3, 3, 3), value + 0.25, np.float32)
    low, high = ShownMask("m", saved(tmp_path / "m.nii", array)).heat or (0, 0)
    assert low < high and low <= value + 0.25 <= high


def test_of_several_channels_the_first_is_shown(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 4, 3, 2)).astype(np.float32)
    path = saved(tmp_path / "mr.nii.gz", array)
    np.testing.assert_array_equal(read_scan(str(path)).array, array[..., 0])
    assert ShownCase("mr", str(path)).told()["masks"] == []
    one = saved(tmp_path / "one.nii.gz", array[..., :1])
    np.testing.assert_array_equal(read_scan(str(one)).array, array[..., 0])
