"""A dataset's fingerprint against arrays whose numbers are known."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.fingerprint.measuring import measure_fingerprint
from gridgate.data.datasets.fingerprint.numbers import Fingerprint, fingerprint_text
from gridgate.data.errors import DatasetError, ImageError

LABELS = {"background": 0, "liver": 1, "tumour": 2}
SHAPE, SPACING = (20, 24, 10), (2.0, 1.0, 5.0)


def write(
    root: Path,
    name: str,
    image: NDArray[np.generic],
    labels: NDArray[np.generic],
    *,
    orientation: str = "RAS",
) -> None:
    """A case, given in RAS and stored in any orientation."""
    start = nib.orientations.axcodes2ornt("RAS")
    turn = nib.orientations.ornt_transform(start, nib.orientations.axcodes2ornt(orientation))
    for folder, array in (("imagesTr", image), ("labelsTr", labels)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        plain = nib.Nifti1Image(array, np.diag([*SPACING, 1.0]))
        nib.save(plain.as_reoriented(turn), root / folder / f"{name}.nii.gz")


def boxes() -> NDArray[np.uint8]:
    """A liver of 10 x 10 x 4 voxels towards the right, and a tumour of 30 and of 10 voxels."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[9:19, 4:14, 2:6] = 1
    labels[0:5, 16:22, 7] = 2
    labels[8:10, 16:21, 7] = 2
    return labels


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three MR cases: one plain, one stored as LSP, one without a tumour."""
    random = np.random.default_rng(0)
    for name, orientation in (("a", "RAS"), ("b", "LSP"), ("c", "RAS")):
        image = np.zeros(SHAPE, np.float32)
        image[1:19, 2:22, :] = random.uniform(10, 20, (18, 20, 10))
        labels = boxes()
        if name == "c":
            labels[labels == 2] = 0
        write(tmp_path, name, image, labels, orientation=orientation)
    write_dataset_json(tmp_path, "Boxes", LABELS, ("MRI",), 3)
    return tmp_path


def test_channels_on_other_grids_are_refused_by_name(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(10, 20, SHAPE).astype(np.float32)
    write(tmp_path, "a_0000", image, boxes())
    (tmp_path / "labelsTr/a_0000.nii.gz").rename(tmp_path / "labelsTr/a.nii.gz")
    small = nib.Nifti1Image(image[::2, ::2], np.diag([4.0, 2.0, 5.0, 1.0]))
    nib.save(small, tmp_path / "imagesTr/a_0001.nii.gz")
    write_dataset_json(tmp_path, "Two", LABELS, ("T2", "ADC"), 1)
    with pytest.raises(ImageError, match=r"a_0001\.nii\.gz.*is not that of .*a_0000\.nii\.gz"):
        measure_fingerprint(tmp_path)


def test_sizes_places_and_pieces(dataset: Path) -> None:
    found = measure_fingerprint(dataset)
    assert [case.id for case in found.cases] == ["a", "b", "c"]
    for case in found.cases:
        assert case.shape == SHAPE and case.spacing == SPACING
        assert case.content == (18, 20, 10)
    first, turned, last = (case.labels for case in found.cases)
    assert first == turned and set(last) == {"liver"}
    liver, tumour = first["liver"], first["tumour"]
    assert liver.ml == pytest.approx(400 * 0.01) and liver.share == 400 / np.prod(SHAPE)
    # voxels 9..18, 4..13, 2..5; the middle of the scan is at 9.5, 11.5, 4.5
    assert liver.centre == pytest.approx(((13.5 - 9.5) * 2, (8.5 - 11.5) * 1, (3.5 - 4.5) * 5))
    assert (liver.largest, liver.at_border) == (1.0, False)
    assert (tumour.largest, tumour.at_border) == (0.75, True)


def test_intensities_are_those_of_the_labelled_voxels(dataset: Path) -> None:
    (found,) = measure_fingerprint(dataset).intensities
    values, members = [], []
    for name in "abc":
        image, labels = (
            np.asanyarray(nib.load(dataset / part / f"{name}.nii.gz").dataobj)  # type: ignore[attr-defined]
            for part in ("imagesTr", "labelsTr")
        )
        values.append(image[labels > 0])
        members.append(labels[labels > 0])
    pooled = np.concatenate(values).astype(np.float64)
    assert found.mean == pytest.approx(pooled.mean()) and found.std == pytest.approx(pooled.std())
    assert [found.low, found.median, found.high] == pytest.approx(
        np.percentile(pooled, [0.5, 50, 99.5])
    )
    of = np.concatenate(members)
    assert found.labels == {
        name: pytest.approx(np.median(pooled[of == LABELS[name]])) for name in ("liver", "tumour")
    }


def test_the_body_of_a_ct_and_its_ignored_voxels(tmp_path: Path) -> None:
    image = np.full(SHAPE, -1000, np.int16)
    image[4:16, 6:20, :] = 40
    labels = boxes()
    labels[4:9, 6:9, 8] = 9
    image[4:9, 6:9, 8] = 3000
    write(tmp_path, "a", image, labels)
    write_dataset_json(tmp_path, "CT", {**LABELS, "ignore": 9}, ("CT",), 1)
    found = measure_fingerprint(tmp_path)
    assert found.labels == ("background", "liver", "tumour")
    (case,) = found.cases
    assert set(case.labels) == {"liver", "tumour"}
    # find_body's mask is one voxel wider on each side
    assert case.content == (14, 16, 10)
    assert found.intensities[0].high <= 40


def test_channels_in_files_of_their_own(tmp_path: Path) -> None:
    labels = boxes()
    for channel in range(2):
        write(tmp_path, f"a_{channel:04d}", np.full(SHAPE, channel + 1, np.float32), labels)
    (tmp_path / "labelsTr/a_0000.nii.gz").rename(tmp_path / "labelsTr/a.nii.gz")
    (tmp_path / "labelsTr/a_0001.nii.gz").unlink()
    write_dataset_json(tmp_path, "Two", LABELS, ("T1", "T2"), 1)
    found = measure_fingerprint(tmp_path)
    assert [one.mean for one in found.intensities] == [1.0, 2.0]
    assert [one.std for one in found.intensities] == [0.0, 0.0]


def test_processes_find_the_same(dataset: Path) -> None:
    alone, shared = (measure_fingerprint(dataset, workers=workers) for workers in (1, 2))
    assert alone.cases == shared.cases and alone.intensities == shared.intensities


def test_labels_that_nobody_drew_are_told(dataset: Path) -> None:
    content = json.loads((dataset / "dataset.json").read_text())
    content["annotated"] = {"c": ["liver"]}
    (dataset / "dataset.json").write_text(json.dumps(content))
    found = measure_fingerprint(dataset)
    assert [case.unannotated for case in found.cases] == [(), (), ("tumour",)]
    assert (found.drawn("tumour"), found.drawn("liver")) == (2, 3)
    assert Fingerprint.from_dict(json.loads(fingerprint_text(found))) == found


def test_it_survives_its_text(dataset: Path) -> None:
    found = measure_fingerprint(dataset)
    assert Fingerprint.from_dict(json.loads(fingerprint_text(found))) == found
    with pytest.raises(DatasetError, match="no fingerprint"):
        Fingerprint.from_dict({"dataset": "x"})


def test_what_cannot_be_planned_is_refused(dataset: Path) -> None:
    label = dataset / "labelsTr/b.nii.gz"
    image = nib.load(label)
    moved = image.affine.copy()  # type: ignore[attr-defined]
    moved[0, 3] += 300
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), moved), label)  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match=r"b\.nii\.gz: case b: it does not lie on its image"):
        measure_fingerprint(dataset)
    nib.save(nib.Nifti1Image(np.full(SHAPE, 7, np.uint8), np.diag([*SPACING, 1])), label)
    nib.save(
        nib.Nifti1Image(np.ones(SHAPE, np.float32), np.diag([*SPACING, 1])),
        dataset / "imagesTr/b.nii.gz",
    )
    with pytest.raises(DatasetError, match="does not name: 7"):
        measure_fingerprint(dataset)


def test_a_dataset_without_a_labelled_voxel(tmp_path: Path) -> None:
    write(tmp_path, "a", np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint8))
    write_dataset_json(tmp_path, "Empty", LABELS, ("MRI",), 1)
    with pytest.raises(DatasetError, match="no label map has a labelled voxel"):
        measure_fingerprint(tmp_path)
