"""Regions, as nnU-Net's dataset.json declares them: read, mapped to bits, imported, exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.fingerprint.measuring import measure_fingerprint
from gridgate.data.datasets.fingerprint.numbers import Fingerprint
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.label_map import label_map
from gridgate.data.datasets.label_values import map_values
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.sources.nnunet import nnunet_source
from gridgate.data.datasets.sources.nnunet_export import export_nnunet
from gridgate.data.errors import DatasetError
from gridgate.data.images.reading import read_labels

BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
NAMES = ["background", "whole", "core", "enhancing"]


def dataset(root: Path, labels: Any = BRATS, order: Any = (1, 2, 3), **more: Any) -> Path:
    """Two cases with each of the values 0 to 4, in the layout of nnU-Net's raw data."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    ids, values = ("a", "b"), more.pop("values", 3)
    for number, case in enumerate(ids):
        hu = np.random.default_rng(number).normal(0, 100, (10, 9, 8)).astype(np.int16)
        nib.save(nib.Nifti1Image(hu, np.eye(4)), root / "imagesTr" / f"{case}_0000.nii.gz")
        array = np.zeros((10, 9, 8), np.uint8)
        for value in range(1, 1 + values):
            array[2 * value : 2 * value + 2, 2 : 6 + number, 2:6] = value
        nib.save(nib.Nifti1Image(array, np.eye(4)), root / "labelsTr" / f"{case}.nii.gz")
    content: dict[str, Any] = {"channel_names": {"0": "MR"}, "labels": labels, **more}
    if order is not None:
        content["regions_class_order"] = list(order) if isinstance(order, tuple) else order
    (root / "dataset.json").write_text(json.dumps({**content, "file_ending": ".nii.gz"}))
    return root


def test_regions_are_read_in_their_order(tmp_path: Path) -> None:
    found = load_dataset(dataset(tmp_path / "a"))
    assert found.regions == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    assert list(found.labels.items()) == [
        ("background", 0),
        ("whole", 1),
        ("core", 2),
        ("enhancing", 3),
    ]
    other = load_dataset(
        dataset(tmp_path / "b", {"background": 0, "x": [2], "y": [1, 2], "ignore": 9}, (2, 1))
    )
    assert other.regions == {"x": (2,), "y": (1, 2)} and other.ignore == 9
    assert list(other.labels.items()) == [("background", 0), ("x", 2), ("y", 1)]
    plain = load_dataset(dataset(tmp_path / "c", {"background": 0, "x": [1], "y": 2}, None))
    assert plain.regions is None and plain.labels == {"background": 0, "x": 1, "y": 2}


@pytest.mark.parametrize(
    ("labels", "order", "text"),
    [
        (BRATS, None, "regions_class_order"),
        (BRATS, [1, 2], "regions_class_order"),
        (BRATS, [1, 1, 2], "each once"),
        (BRATS, [0, 1, 2], "from 1 up"),
        (BRATS, "1,2,3", "regions_class_order"),
        ({**BRATS, "core": []}, [1, 2, 3], "'core'"),
        ({**BRATS, "core": [2, 2]}, [1, 2, 3], "one twice"),
        ({**BRATS, "core": [0, 2]}, [1, 2, 3], "the background is 0 and in no region"),
        ({**BRATS, "background": [0, 1]}, [1, 2, 3, 4], "the background is 0"),
        ({**BRATS, "ignore": 3}, [1, 2, 3], "'ignore' is in a region"),
        ({**BRATS, "core": ["two", 3]}, [1, 2, 3], "not a whole number"),
        ({f"r{i}": [i, i + 1] for i in range(1, 20)}, list(range(1, 20)), "at most"),
    ],
)
def test_regions_that_cannot_be(tmp_path: Path, labels: Any, order: Any, text: str) -> None:
    with pytest.raises(DatasetError, match=text):
        load_dataset(dataset(tmp_path, labels, order))


def test_values_become_bits(tmp_path: Path) -> None:
    """By hand: 1 is in the first region, 2 in the first two, 3 in all; 4 is ignored."""
    root = dataset(tmp_path, {**BRATS, "ignore": 4}, annotated={"b": ["whole", "core"]})
    known = label_map(root, labels=NAMES, region_values=[1, 2, 3])
    assert known == {0: 0b000, 1: 0b001, 2: 0b011, 3: 0b111, 4: -1}
    assert known.annotated_channels(["enhancing"], 4) == (True, True, True, False)
    array = np.array([0, 1, 2, 3, 4], np.uint8)
    told: dict[str, Any] = {"case": "b", "source": "b.nii.gz", "channels": 4}
    assert map_values(array, known, **told).tolist() == [0, 1, 3, 7, -1]
    # what holds an enhancing voxel tells of the core all the same
    partly = map_values(array, known, unannotated=["enhancing"], **told)
    assert partly.tolist() == [0, 1, 3, 3, -1]
    inner = label_map(root, labels=NAMES, region_values=[5, 6, 7])
    with pytest.raises(DatasetError, match=r"case b holds 1 voxels of \w+ \(1\)"):
        map_values(array, inner, unannotated=["whole", "core", "enhancing"], **told)


def test_bundles_and_datasets_that_do_not_fit(tmp_path: Path) -> None:
    root = dataset(tmp_path / "regions")
    with pytest.raises(DatasetError, match="exclude each other"):
        label_map(root, labels=NAMES)
    with pytest.raises(DatasetError, match="its labels are background, whole, core, enhancing"):
        label_map(root, labels=NAMES[:3], region_values=[1, 2])
    fewer = label_map(
        root, labels=NAMES[:3], region_values=[1, 2], merge_labels={"enhancing": "background"}
    )
    assert fewer == {0: 0, 1: 1, 2: 3, 3: 3}
    plain = dataset(tmp_path / "plain", {"background": 0, "whole": 1, "core": 2, "x": 3}, None)
    alone = label_map(
        plain, labels=NAMES[:3], region_values=[1, 2], merge_labels={"x": "core", 9: "ignore"}
    )
    assert alone == {0: 0, 1: 1, 2: 2, 3: 2, 9: -1}
    with pytest.raises(DatasetError, match="give --dataset_dir"):
        map_values(
            np.zeros(3, np.uint8),
            label_map(None, labels=NAMES, region_values=[1, 2, 3]),
            case="a",
            source="a.nii.gz",
        )


def test_import_and_export_keep_regions(tmp_path: Path) -> None:
    """Values 1 to 4 with a gap: nnU-Net gets consecutive ones, the same regions and order."""
    labels = {"background": 0, "whole": [1, 2, 4], "core": [2, 4], "ignore": 7}
    source = dataset(tmp_path / "Dataset007_X", labels, (4, 2), values=2)
    write_dataset(nnunet_source(source), tmp_path / "D")
    found = load_dataset(tmp_path / "D")
    assert found.regions == {"whole": (1, 2, 4), "core": (2, 4)} and found.ignore == 7
    assert found.labels == {"background": 0, "whole": 4, "core": 2}
    out = export_nnunet(tmp_path / "D", tmp_path / "Dataset501_X", folds=2)
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {
        "background": 0,
        "whole": [1, 2, 3],
        "core": [2, 3],
        "ignore": 4,
    }
    assert content["regions_class_order"] == [3, 2]
    before = read_labels(source / "labelsTr/a.nii.gz").array
    assert (read_labels(out / "labelsTr/a.nii.gz").array == before).all()
    again = nnunet_source(out)
    assert again.labels == content["labels"] and again.more["regions_class_order"] == [3, 2]


def test_check_has_nothing_against_regions(tmp_path: Path) -> None:
    root = dataset(tmp_path / "a", {**BRATS, "ignore": 4}, values=4)
    assert [one.kind for one in check_soundness(root).findings] == []
    odd = dataset(tmp_path / "b", BRATS, values=4)
    report = check_soundness(odd)
    assert {one.kind for one in report.findings} == {"label-undeclared"}
    partly = dataset(tmp_path / "c", BRATS, annotated={"b": ["whole", "core"]})
    assert [one.kind for one in check_soundness(partly).findings] == []


def test_a_fingerprint_measures_each_region_whole(tmp_path: Path) -> None:
    found = measure_fingerprint(dataset(tmp_path))
    assert found.labels == tuple(NAMES) and found.region_values == (1, 2, 3)
    voxels = {name: round(size.ml * 1000) for name, size in found.cases[0].labels.items()}
    assert voxels == {"whole": 96, "core": 64, "enhancing": 32}
    assert Fingerprint.from_dict(json.loads(json.dumps(found.to_dict()))) == found
