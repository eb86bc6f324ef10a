"""Dataset folders in both forms, and each way in which one can be wrong."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gridgate.data.datasets.dataset import DatasetCase, load_dataset, write_dataset_json
from gridgate.data.errors import DatasetError

from .dataset_folders import NEW, PAIR, folder, old


def test_new_form(tmp_path: Path) -> None:
    root = folder(
        tmp_path,
        NEW,
        *(
            "imagesTr/b.nii.gz",
            "imagesTr/a.nii.gz",
            "labelsTr/a.nii.gz",
            "labelsTr/b.nii.gz",
            "imagesTs/t.nii.gz",
        ),
        *("imagesTr/._a.nii.gz", "labelsTr/readme.txt"),
    )
    dataset = load_dataset(str(root))
    assert dataset.name == "Livers"
    assert dataset.labels == {"background": 0, "liver": 1, "tumour": 2}
    assert dataset.channel_names == ("CT",)
    assert dataset.cases == tuple(
        DatasetCase(name, (root / f"imagesTr/{name}.nii.gz",), root / f"labelsTr/{name}.nii.gz")
        for name in "ab"
    )
    assert dataset.test_cases == (DatasetCase("t", (root / "imagesTs/t.nii.gz",), None),)


def test_old_form(tmp_path: Path) -> None:
    content = old(
        ("./imagesTr/b.nii.gz", "./labelsTr/b.nii.gz"),
        PAIR,
        test=["./imagesTs/t.nii.gz"],
        numTraining=2,
    )
    files = (
        "imagesTr/b.nii.gz",
        "labelsTr/b.nii.gz",
        "imagesTs/t.nii.gz",
        "imagesTr/not_listed.nii.gz",
    )
    dataset = load_dataset(folder(tmp_path, content, *PAIR, *files))
    assert [case.id for case in dataset.cases] == ["a", "b"]
    assert dataset.cases[0].images == (tmp_path / PAIR[0],)
    assert dataset.labels == {"background": 0, "liver": 1}
    assert [case.id for case in dataset.test_cases] == ["t"]


def test_nnunet_v2_dataset_entry_names_files_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nnunetv2.utilities.utils.get_filenames_of_train_images_and_targets reads it so."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("ct.nii.gz", "pet.nii.gz", "seg.nii.gz"):
        (elsewhere / name).touch()
    monkeypatch.setenv("SCANS", str(elsewhere))
    cases = {
        "b": {"images": [str(elsewhere / "ct.nii.gz"), "../elsewhere/pet.nii.gz"]},
        "a": {"images": ["imagesTr/a_0000.nii.gz", "$SCANS/pet.nii.gz"]},
    }
    for case in cases.values():
        case["label"] = "${SCANS}/seg.nii.gz"  # type: ignore[assignment]
    content = NEW | {"channel_names": {"0": "CT", "1": "PET"}, "dataset": cases}
    root = folder(
        tmp_path / "set",
        content,
        "imagesTr/a_0000.nii.gz",
        "imagesTs/t_0000.nii.gz",
        "imagesTs/t_0001.nii.gz",
    )
    dataset = load_dataset(root)
    assert [case.id for case in dataset.cases] == ["a", "b"]
    first, second = dataset.cases
    assert first.images == (root / "imagesTr/a_0000.nii.gz", elsewhere / "pet.nii.gz")
    assert second.images[0] == elsewhere / "ct.nii.gz"
    assert second.images[1].samefile(elsewhere / "pet.nii.gz")
    assert first.label == second.label == elsewhere / "seg.nii.gz"
    assert [(case.id, len(case.images)) for case in dataset.test_cases] == [("t", 2)]


def test_an_ignore_label_is_told_from_the_others(tmp_path: Path) -> None:
    labels = {"background": 0, "liver": 1, "Ignore": 9}
    dataset = load_dataset(folder(tmp_path, NEW | {"labels": labels, "numTraining": 1}, *PAIR))
    assert dataset.labels == {"background": 0, "liver": 1} and dataset.ignore == 9
    assert load_dataset(folder(tmp_path, NEW | {"numTraining": 1}, *PAIR)).ignore is None


@pytest.mark.parametrize(("background", "liver"), [(0.0, 1.0), ("0", "1")])
def test_whole_numbers_however_written(background: Any, liver: Any, tmp_path: Path) -> None:
    content = NEW | {"labels": {"background": background, "liver": liver}, "numTraining": 1}
    labels = load_dataset(folder(tmp_path, content, *PAIR)).labels
    assert labels == {"background": 0, "liver": 1}
    assert all(type(value) is int for value in labels.values())


def test_backslashes_separate_folders(tmp_path: Path) -> None:
    content = old((".\\imagesTr\\a.nii.gz", ".\\labelsTr\\a.nii.gz"))
    assert load_dataset(folder(tmp_path, content, *PAIR)).cases[0].images == (tmp_path / PAIR[0],)
    content = old(("..\\a.nii.gz", PAIR[1]))
    with pytest.raises(DatasetError, match="outside the dataset folder"):
        load_dataset(folder(tmp_path, content, *PAIR))


def test_background_is_added_and_labels_are_ordered(tmp_path: Path) -> None:
    content = NEW | {"labels": {"tumour": 2, "liver": 1}, "numTraining": 1}
    dataset = load_dataset(folder(tmp_path, content, *PAIR))
    assert list(dataset.labels.items()) == [("background", 0), ("liver", 1), ("tumour", 2)]


def test_another_number_of_cases_than_announced_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load_dataset(folder(tmp_path, NEW, *PAIR))
    assert "numTraining is 2, but there are 1" in caplog.text


def test_links_out_of_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.nii.gz").touch()
    root = folder(tmp_path / "set", old(PAIR), "labelsTr/a.nii.gz")
    (root / "imagesTr").symlink_to(tmp_path / "elsewhere")
    assert load_dataset(root).cases[0].id == "a"


@pytest.mark.parametrize(
    ("content", "files", "reason"),
    [
        ("{", (), r"dataset\.json: is not valid JSON"),
        ("[]", (), "holds a list"),
        (NEW | {"labels": {}}, PAIR, 'no "labels"'),
        (
            NEW | {"labels": {"background": 0, "whole": [1, 2]}},
            PAIR,
            'regions and "regions_class_order" None',
        ),
        (NEW | {"labels": {"background": 1}}, PAIR, "must be 0"),
        (
            NEW | {"labels": {"background": 0, "a": 1, "b": 1}},
            PAIR,
            "'b' or its value 1 is there twice",
        ),
        (NEW | {"labels": {"background": 0, "a": -1}}, PAIR, "value -1, not a whole number"),
        (NEW | {"labels": {"background": 0, "a": 1.5}}, PAIR, "not a whole number"),
        ({"labels": {"background": 0}}, PAIR, 'no "channel_names"'),
        (NEW | {"channel_names": {"1": "CT"}}, PAIR, "numbered"),
        (
            NEW | {"channel_names": {"0": "CT", "1": "PET", "2": "MR"}},
            None,
            "has 2 image files, the dataset 3 channels",
        ),
        (NEW | {"file_ending": 3}, PAIR, "file_ending is 3"),
        (NEW, (PAIR[0], "labelsTr/b.nii.gz"), r"a\.nii\.gz: has no label map"),
        (NEW, (*PAIR, "labelsTr/b.nii.gz"), r"b\.nii\.gz: has no image"),
        (NEW, (*PAIR, "imagesTr/b.nii"), r"b\.nii: does not end in \.nii\.gz"),
        (NEW, (*PAIR, "imagesTr/a_0000.nii.gz"), "there a second time"),
        (NEW, ("labelsTr/a.nii.gz", "imagesTr/a_0001.nii.gz"), "channels \\[1\\], not 0 up to 1"),
        (NEW, (*PAIR, "imagesTs/a.nii.gz"), "the id a is there twice"),
        (
            {k: v for k, v in NEW.items() if k != "file_ending"},
            (*PAIR, "imagesTr/a.nii"),
            "is there twice",
        ),
        (NEW, ("labelsTr/a.nii.gz",), "imagesTr: cannot be listed"),
        (old(), (), "has no cases"),
        (old(PAIR), (PAIR[0],), r"lists labelsTr/a\.nii\.gz, but .* does not exist"),
        (old(PAIR, PAIR), PAIR, "the id a is there twice"),
        (old(("../a.nii.gz", PAIR[1])), PAIR, "outside the dataset folder"),
        (old(("imagesTr/../../a.nii.gz", PAIR[1])), PAIR, "outside the dataset folder"),
        (old(("/etc/passwd", PAIR[1])), PAIR, "outside the dataset folder"),
        (old(training=[{"image": PAIR[0]}]), PAIR, "has no label"),
        (old(training=["imagesTr/a.nii.gz"]), PAIR, "has no 'image'"),
        (old(training="imagesTr"), PAIR, "not a list of cases"),
        (old((3, PAIR[1])), PAIR, "is not the path of a file"),  # type: ignore[arg-type]
        (NEW | {"dataset": ["a"]}, PAIR, "'dataset' is a list, not an object"),
        (NEW | {"dataset": {"a": {"images": ["imagesTr/a.nii.gz"]}}}, PAIR, "case a .*'label'"),
        (NEW | {"dataset": {"a": {"images": [], "label": PAIR[1]}}}, PAIR, "needs 'images'"),
        (NEW | {"dataset": {"a": {"images": [3], "label": PAIR[1]}}}, PAIR, "3 is not the path"),
        (
            NEW | {"dataset": {"../a": {"images": [PAIR[0]], "label": PAIR[1]}}},
            PAIR,
            r"id '\.\./a'.*cannot be a file's name",
        ),
        (
            NEW | {"dataset": {"a": {"images": ["/absent/a.nii.gz"], "label": PAIR[1]}}},
            PAIR,
            "lists /absent/a",
        ),
    ],
)
def test_each_fault_is_named(
    content: dict[str, Any] | str, files: tuple[str, ...] | None, reason: str, tmp_path: Path
) -> None:
    if files is None:
        files = ("labelsTr/a.nii.gz", "imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz")
    with pytest.raises(DatasetError, match=reason) as caught:
        load_dataset(folder(tmp_path, content, *files))
    assert str(tmp_path) in str(caught.value)


def test_a_folder_without_dataset_json(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.json: does not exist"):
        load_dataset(tmp_path)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder(tmp_path, "", *PAIR)
    case = DatasetCase("a", (tmp_path / PAIR[0],), tmp_path / PAIR[1])
    labels = {"background": 0, "Leber\u00e4": 1}
    path = write_dataset_json(tmp_path, "Set", labels, ("CT",), [case], licence="CC0")
    content = json.loads(path.read_text(encoding="utf-8"))
    # nnU-Net v2 reads these four.
    assert content["channel_names"] == {"0": "CT"}
    assert content["labels"] == labels
    assert content["numTraining"] == 1
    assert content["file_ending"] == ".nii.gz"
    assert content["licence"] == "CC0"
    dataset = load_dataset(tmp_path)
    assert (dataset.name, dataset.labels, dataset.cases) == ("Set", labels, (case,))


def test_the_shared_datasets(shared_data: Path) -> None:
    hippocampus = load_dataset(shared_data / "msd_hippocampus")
    assert (len(hippocampus.cases), hippocampus.channel_names) == (200, ("MRI",))
    assert hippocampus.labels == {"background": 0, "Anterior": 1, "Posterior": 2}
    heads = load_dataset(shared_data / "openkbp_head_neck")
    assert (len(heads.cases), len(heads.labels)) == (110, 6)
    assert all(
        case.label is not None and case.label.name == case.images[0].name for case in heads.cases
    )
