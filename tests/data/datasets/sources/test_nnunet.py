"""nnU-Net's raw layout, v1 and v2, in and out."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.datasets.dataset import load_dataset
from gridgate.data.datasets.folds import load_or_make_splits
from gridgate.data.datasets.importing import writer
from gridgate.data.datasets.importing.source import Source
from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources.layouts import layout_source
from gridgate.data.datasets.sources.nnunet import nnunet_source
from gridgate.data.datasets.sources.nnunet_export import export_nnunet
from gridgate.data.errors import ConfigError, DatasetError
from gridgate.data.images.reading import read_image, read_labels


def volume(path: Path, seed: int = 0, *, values: tuple[int, ...] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    array = random.choice([0, *values], (4, 5, 6)) if values else random.normal(0, 300, (4, 5, 6))
    image = sitk.GetImageFromArray(array.astype(np.uint8 if values else np.int16))
    image.SetSpacing([0.8, 0.9, 2.5])
    sitk.WriteImage(image, str(path))
    return path


def raw(
    root: Path, ending: str = ".nii.gz", channels: int = 1, values: tuple[int, ...] = (1, 2)
) -> Path:
    for number in range(1, 5):
        for channel in range(channels):
            volume(root / f"imagesTr/la_{number:03d}_{channel:04d}{ending}", 10 * number + channel)
        volume(root / f"labelsTr/la_{number:03d}{ending}", number, values=values)
    for channel in range(channels):
        volume(root / f"imagesTs/la_009_{channel:04d}{ending}", channel)
    head(root, {"background": 0, "a": 1, "b": 2}, ending, channels)
    return root


def head(root: Path, labels: object, ending: str, channels: int = 1, **more: object) -> None:
    names = {str(channel): f"C{channel}" for channel in range(channels)}
    content = {"channel_names": names, "labels": labels, "numTraining": 4, "file_ending": ending}
    (root / "dataset.json").write_text(json.dumps({**content, **more}))


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".nii"])
@pytest.mark.parametrize("channels", [1, 2])
def test_version_2_of_any_ending_and_number_of_channels(
    tmp_path: Path, ending: str, channels: int
) -> None:
    root = raw(tmp_path / "Dataset007_X", ending, channels)
    write_dataset(nnunet_source(root), tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == [f"la_{number:03d}" for number in range(1, 5)]
    assert [case.id for case in dataset.test_cases] == ["la_009"]
    assert len(dataset.cases[0].images) == channels
    assert len(dataset.test_cases[0].images) == channels
    last = root / f"imagesTr/la_002_{channels - 1:04d}{ending}"
    assert dataset.cases[1].images[-1].resolve() == last
    assert write_dataset(nnunet_source(root), tmp_path / "D").changed is False


def test_version_1_with_its_list_of_cases(tmp_path: Path) -> None:
    root = raw(tmp_path / "Task007_X", channels=2)
    content = {
        "name": "X",
        "modality": {"0": "MRI", "1": "CT"},
        "labels": {"0": "background", "1": "a", "2": "b"},
        "licence": "CC0",
        "numTraining": 4,
        "training": [
            {"image": f"./imagesTr/la_{one:03d}.nii.gz", "label": f"./labelsTr/la_{one:03d}.nii.gz"}
            for one in range(1, 5)
        ],
        "test": ["./imagesTs/la_009.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    write_dataset(nnunet_source(root), tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert dataset.channel_names == ("MRI", "CT")
    assert len(dataset.cases) == 4
    assert dataset.test_cases[0].id == "la_009"
    assert json.loads((tmp_path / "D/import.json").read_text())["licence"] == "CC0"


def test_a_list_of_files_that_lie_elsewhere(tmp_path: Path) -> None:
    root = raw(tmp_path / "elsewhere")
    (tmp_path / "Dataset008_Y").mkdir()
    cases = {
        f"c{number}": {
            "images": [str(root / f"imagesTr/la_{number:03d}_0000.nii.gz")],
            "label": f"../elsewhere/labelsTr/la_{number:03d}.nii.gz",
        }
        for number in (1, 2)
    }
    labels = {"background": 0, "a": 1, "b": 2}
    head(tmp_path / "Dataset008_Y", labels, ".nii.gz", dataset=cases, numTraining=2)
    found = layout_source(tmp_path / "Dataset008_Y")
    assert found is not None
    write_dataset(found, tmp_path / "D")
    dataset = load_dataset(tmp_path / "D")
    assert [case.id for case in dataset.cases] == ["c1", "c2"]
    assert dataset.cases[1].images[0].resolve() == root / "imagesTr/la_002_0000.nii.gz"


def test_images_that_are_not_listed_are_told(tmp_path: Path) -> None:
    root = raw(tmp_path / "Task007_X")
    content = json.loads((root / "dataset.json").read_text())
    content["training"] = [
        {"image": "./imagesTr/la_001.nii.gz", "label": "./labelsTr/la_001.nii.gz"}
    ]
    (root / "dataset.json").write_text(json.dumps(content | {"numTraining": 1}))
    assert "3 images in" in nnunet_source(root).notes[0]
    assert nnunet_source(raw(tmp_path / "Dataset007_X")).notes == ()


def test_the_ignore_label_goes_along(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X")
    head(root, {"background": 0, "a": 1, "ignore": 2}, ".nii.gz")
    write_dataset(nnunet_source(root), tmp_path / "D")
    assert load_dataset(tmp_path / "D").ignore == 2


def test_regions_go_along_with_their_order(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X")
    regions = {"background": 0, "kidney": [1, 2], "tumour": 2}
    head(root, regions, ".nii.gz", regions_class_order=[1, 2])
    write_dataset(nnunet_source(root), tmp_path / "D")
    content = json.loads((tmp_path / "D/dataset.json").read_text())
    assert content["labels"] == regions
    assert content["regions_class_order"] == [1, 2]
    head(root, regions, ".nii.gz")
    with pytest.raises(DatasetError, match="regions_class_order"):
        nnunet_source(root)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("labelsTr/la_002.nii.gz", "la_002_0000.nii.gz: has no label map"),
        ("imagesTr/la_002_0000.nii.gz", "la_002"),
        ("imagesTr/la_002_0001.nii.gz", "la_002"),
    ],
)
def test_a_missing_file_is_named(tmp_path: Path, lost: str, says: str) -> None:
    root = raw(tmp_path / "Dataset007_X", channels=2)
    (root / lost).unlink()
    with pytest.raises(DatasetError, match=says):
        nnunet_source(root)


def test_pictures_are_refused(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X")
    head(root, {"background": 0, "a": 1}, ".png")
    with pytest.raises(DatasetError, match=r"end in \.png"):
        nnunet_source(root)


def test_folds_come_along(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X")
    ids = [f"la_{number:03d}" for number in range(1, 5)]
    folds = [{"train": ids[1:], "val": ids[:1]}, {"train": ids[:3], "val": ids[3:]}]
    (root / "splits_final.json").write_text(json.dumps(folds))
    write_dataset(nnunet_source(root), tmp_path / "D")
    found = load_or_make_splits(load_dataset(tmp_path / "D"))
    assert [fold["validation"] for fold in found] == [ids[:1], ids[3:]]


def test_export_and_import_are_inverse(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X", ".nrrd", 2)
    write_dataset(nnunet_source(root), tmp_path / "D")
    out = export_nnunet(tmp_path / "D", tmp_path / "raw/Dataset501_Y", folds=4)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*.nrrd"))
    assert names == sorted(str(path.relative_to(out)) for path in out.rglob("*.nrrd"))
    for name in names:
        assert (out / name).resolve() == root / name
    assert json.loads((out / "dataset.json").read_text())["labels"] == {
        "background": 0,
        "a": 1,
        "b": 2,
    }
    folds = json.loads((out / "splits_final.json").read_text())
    ours = load_or_make_splits(load_dataset(tmp_path / "D"), folds=4)
    assert folds == [{"train": one["train"], "val": one["validation"]} for one in ours]
    again = load_or_make_splits(load_dataset(out))
    assert again == ours


def test_export_splits_channels_and_closes_gaps_of_values(tmp_path: Path) -> None:
    root = tmp_path / "D"
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    array = np.random.default_rng(0).integers(-500, 500, (4, 5, 6, 2)).astype(np.int16)
    label = np.random.default_rng(1).choice([0, 3, 7, 255], (4, 5, 6)).astype(np.uint8)
    for name in ("p", "q"):
        nib.save(nib.Nifti1Image(array, np.eye(4)), root / f"imagesTr/{name}.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), root / f"labelsTr/{name}.nii.gz")
    head(root, {"background": 0, "x": 3, "y": 7, "ignore": 255}, ".nii.gz", 2)
    content = json.loads((root / "dataset.json").read_text())
    content["training"] = [
        {"image": f"imagesTr/{name}.nii.gz", "label": f"labelsTr/{name}.nii.gz"} for name in "pq"
    ]
    (root / "dataset.json").write_text(json.dumps(content))
    out = export_nnunet(root, tmp_path / "raw", folds=2)
    assert out == tmp_path / "raw/Dataset501_D"
    for channel in range(2):
        made = read_image(out / f"imagesTr/p_{channel:04d}.nii.gz")
        assert np.array_equal(made.array, array[..., channel])
    values = json.loads((out / "dataset.json").read_text())["labels"]
    assert values == {"background": 0, "x": 1, "y": 2, "ignore": 3}
    made = read_labels(out / "labelsTr/q.nii.gz").array
    for old, new in ((0, 0), (3, 1), (7, 2), (255, 3)):
        assert np.array_equal(made == new, label == old)
    before = {path: path.lstat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    export_nnunet(root, tmp_path / "raw", folds=2)
    assert {path: path.lstat().st_mtime_ns for path in out.rglob("*.nii.gz")} == before


def test_a_second_export_follows_the_dataset(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X", ".mha")
    write_dataset(nnunet_source(root), tmp_path / "D")
    out = export_nnunet(tmp_path / "D", tmp_path / "raw", folds=2)
    for part in ("imagesTr/la_002_0000.mha", "labelsTr/la_002.mha"):
        (root / part).unlink()
    volume(root / "labelsTr/la_003.mha", 99, values=(1, 2))
    head(root, {"background": 0, "a": 1, "b": 2}, ".mha", numTraining=3)
    write_dataset(nnunet_source(root), tmp_path / "D")
    assert export_nnunet(tmp_path / "D", tmp_path / "raw", folds=2) == out
    names = sorted(path.name for path in (out / "labelsTr").iterdir())
    assert names == ["la_001.mha", "la_003.mha", "la_004.mha"]
    assert len(load_dataset(out).cases) == 3
    made, source = (read_labels(one / "labelsTr/la_003.mha").array for one in (out, root))
    assert np.array_equal(made, source)


def test_all_cases_as_one_fold_are_nnunets_own_word(tmp_path: Path) -> None:
    write_dataset(nnunet_source(raw(tmp_path / "Dataset007_X")), tmp_path / "D")
    with pytest.raises(ConfigError, match=r"nnUNetv2_train \.\.\. all"):
        export_nnunet(tmp_path / "D", tmp_path / "out", folds=1)
    assert not (tmp_path / "out").exists()


def test_annotated_labels_come_along_and_cannot_be_exported(tmp_path: Path) -> None:
    root = raw(tmp_path / "Dataset007_X", values=(1,))
    labels = {"background": 0, "a": 1, "b": 2}
    head(root, labels, ".nii.gz", annotated={"la_00[1]": ["a"]})
    with pytest.raises(DatasetError, match="fits no case"):
        nnunet_source(root)
    head(root, labels, ".nii.gz", annotated={"la_001": ["a"], "*4": "a"})
    write_dataset(nnunet_source(root), tmp_path / "D")
    annotated = [case.annotated for case in load_dataset(tmp_path / "D").cases]
    assert annotated == [("a",), None, None, ("a",)]
    with pytest.raises(ConfigError, match=r"2 cases do not have all labels annotated.* la_001"):
        export_nnunet(tmp_path / "D", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def turned(path: Path, axes: str) -> None:
    """The same image, stored along other axes."""
    image = nib.load(path)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    made = nib.Nifti1Image(np.asarray(image.dataobj), image.affine).as_reoriented(turn)
    path.unlink()
    nib.save(nib.Nifti1Image(np.asarray(made.dataobj).copy(), made.affine), path)


def test_label_maps_in_other_axes_are_exported_on_the_images_grid(tmp_path: Path) -> None:
    """nnU-Net pairs voxel by voxel, and warns of other headers at most."""
    root = raw(tmp_path / "Dataset007_X")
    before = read_labels(root / "labelsTr/la_002.nii.gz")
    turned(root / "labelsTr/la_002.nii.gz", "LIP")
    cut = nib.load(root / "labelsTr/la_003.nii.gz").slicer[1:, :4]
    (root / "labelsTr/la_003.nii.gz").unlink()
    nib.save(cut, root / "labelsTr/la_003.nii.gz")
    write_dataset(nnunet_source(root), tmp_path / "D")
    out = export_nnunet(tmp_path / "D", tmp_path / "raw", folds=2)
    assert (out / "labelsTr/la_001.nii.gz").is_symlink()
    for name in ("la_002", "la_003"):
        image = read_image(out / f"imagesTr/{name}_0000.nii.gz")
        made = read_labels(out / f"labelsTr/{name}.nii.gz")
        assert made.array.shape == image.array.shape
        assert np.allclose(made.grid.affine, image.grid.affine)
        if name == "la_002":
            assert np.array_equal(made.array, before.array)
    inside = read_labels(out / "labelsTr/la_003.nii.gz").array
    assert inside[1:, :4].any() and not inside[0].any() and not inside[:, 4].any()
    again = {path: path.lstat().st_mtime_ns for path in out.rglob("*.nii.gz")}
    export_nnunet(tmp_path / "D", tmp_path / "raw", folds=2)
    assert {path: path.lstat().st_mtime_ns for path in out.rglob("*.nii.gz")} == again


def test_folds_that_lose_cases_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case of its own once: without a broken one, its fold has none to validate on."""
    root = raw(tmp_path / "Dataset007_X")
    ids = [f"la_{number:03d}" for number in range(1, 5)]
    folds = [{"train": [one for one in ids if one != held], "val": [held]} for held in ids]
    (root / "splits_final.json").write_text(json.dumps(folds))
    told: list[str] = []
    monkeypatch.setattr(writer._LOG, "warning", told.append)
    write_dataset(without(nnunet_source(root), "la_002"), tmp_path / "D", skip_broken=True)
    assert "splits.json: 1 of the 4 cases in its folds are not here, such as la_002" in told
    found = load_or_make_splits(load_dataset(tmp_path / "D"))
    assert [fold["validation"] for fold in found] == [["la_001"], [], ["la_003"], ["la_004"]]
    # the only one that is trained on: no fold at all is left, nor is the file of before
    folds = [{"train": ["la_003"], "val": ["la_001", "la_004"]}]
    (root / "splits_final.json").write_text(json.dumps(folds))
    write_dataset(without(nnunet_source(root), "la_003"), tmp_path / "D", skip_broken=True)
    assert any("so the file is left out" in one for one in told)
    assert not (tmp_path / "D/splits.json").exists()


def without(source: Source, broken: str) -> Source:
    """The source with a case that cannot be read."""
    cases = [replace(case, broken="cut off" * (case.id == broken)) for case in source.cases]
    return replace(source, cases=tuple(cases))
