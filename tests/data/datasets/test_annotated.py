"""dataset.json's "annotated": which labels were drawn in which case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.label_map import label_map
from gridgate.data.datasets.parts import dataset_cases
from gridgate.data.errors import DatasetError

LABELS = {"background": 0, "liver": 1, "spleen": 2, "kidney": 5}


def dataset(
    root: Path, annotated: Any, cases: tuple[str, ...] = ("btcv_1", "btcv_2", "msd_1")
) -> Path:
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
        for case in cases:
            (root / folder / f"{case}.nii.gz").touch()
    content = {"labels": LABELS, "channel_names": {"0": "CT"}, "annotated": annotated}
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def annotated(root: Path) -> dict[str, Any]:
    return {case.id: case.annotated for case in load_dataset(root).cases}


def test_ids_come_before_patterns_and_long_patterns_before_short_ones(tmp_path: Path) -> None:
    root = dataset(
        tmp_path,
        {"*": ["liver"], "btcv_*": ["spleen", "liver"], "btcv_2": ["kidney", "liver", "spleen"]},
    )
    assert annotated(root) == {"btcv_1": ("liver", "spleen"), "btcv_2": None, "msd_1": ("liver",)}


def test_the_star_alone_is_special(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"a[1]*": ["liver"], "b.": "spleen"}, ("a[1]x", "a1", "b.", "bx"))
    assert annotated(root) == {"a[1]x": ("liver",), "a1": None, "b.": ("spleen",), "bx": None}


def test_items_say_what_was_not_annotated(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"msd_1": ["background", "spleen"]})
    items = {item["id"]: item for item in dataset_cases(root, part="all")}
    assert "unannotated" not in items["btcv_1"]
    assert items["msd_1"]["unannotated"] == ["liver", "kidney"]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"btvc_*": ["liver"]}, "names btvc_[*], which fits no case"),
        ({"btcv_3": ["liver"]}, "did you mean btcv_"),
        ({"*": ["livr"]}, "names 'livr', which is no label .did you mean 'liver'"),
        ({"*": []}, "names no label"),
        ({"*": ["background"]}, "names no label"),
        ({"*": {"liver": 1}}, "not a list of labels"),
        ([["btcv_1", "liver"]], "is a list, not an object"),
        ({"*_1": ["liver"], "m*1": ["spleen"]}, "says different things of the case msd_1"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, entry: Any, text: str) -> None:
    with pytest.raises(DatasetError, match=text) as caught:
        load_dataset(dataset(tmp_path, entry))
    assert str(tmp_path / "dataset.json") in str(caught.value)


def test_a_merged_label_is_annotated_where_all_its_parts_are(tmp_path: Path) -> None:
    root = dataset(tmp_path, {"btcv_*": ["liver", "kidney"]})
    known = label_map(
        root, labels=["background", "belly", "kidney"], merge_labels={"liver": "belly", 2: "belly"}
    )
    assert known == {0: 0, 1: 1, 2: 1, 5: 2}
    assert known.annotated_channels(["spleen"], 3) == (True, False, True)
    assert known.annotated_channels([], 3) == (True, True, True)
    assert known.forbidden_values(["spleen", "kidney"]) == {2: "spleen", 5: "kidney"}
    away = label_map(
        root, labels=["background", "liver"], merge_labels={"spleen": "background", 5: "ignore"}
    )
    assert away.annotated_channels(["spleen", "kidney"], 2) == (True, True)
