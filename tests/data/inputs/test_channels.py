"""nnU-Net's file names: case_0000 and case_0001 are channels of one case, of all inputs."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ImageError
from gridgate.data.inputs.find import Inputs, find_cases
from gridgate.pipeline.batch.selection import folder_inputs
from gridgate.transforms import LoadCased


def vector(path: Path, channels: int) -> Path:
    """One file of several channels, as ITK writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.arange(4 * 5 * 6 * channels, dtype=np.int16).reshape(4, 5, 6, channels)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(path))
    return path


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def images(inputs: Inputs, folder: Path) -> dict[str, object]:
    """Case id -> its file or files, relative to the folder; the reason of one that fails."""
    found: dict[str, object] = {}
    for case in inputs.cases:
        image = case["image"]
        if isinstance(image, str):
            found[case["id"]] = str(Path(image).relative_to(folder))
        elif isinstance(image, list):
            found[case["id"]] = [str(Path(one).relative_to(folder)) for one in image]
        else:
            found[case["id"]] = image.problem
    return found


def test_channels_are_grouped_where_several_are_wanted(tmp_path: Path) -> None:
    touch(tmp_path, "b_1_0001.nii.gz", "b_1_0000.nii.gz", "a_0000.mha", "a_0001.nrrd", "whole.nii")
    touch(tmp_path, "sub/a_0000.nii", "sub/a_0001.nii")
    assert images(find_cases(tmp_path, channels=2), tmp_path) == {
        "a": ["a_0000.mha", "a_0001.nrrd"],
        "b_1": ["b_1_0000.nii.gz", "b_1_0001.nii.gz"],
        "sub/a": ["sub/a_0000.nii", "sub/a_0001.nii"],
        "whole": "whole.nii",
    }
    assert [case["id"] for case in find_cases(tmp_path, channels=2, flat=True).cases] == [
        "a",
        "b_1",
        "sub_a",
        "whole",
    ]


def test_incomplete_channels_are_cases_that_fail(tmp_path: Path) -> None:
    touch(tmp_path, "few_0000.nii", "late_0001.nii", "late_0002.nii", "many_0000.nii")
    touch(tmp_path, "many_0001.nii", "many_0002.nii")
    touch(tmp_path, "two_0000.nii", "two_0000.mha", "two_0001.nii")
    found = find_cases(tmp_path, channels=2)
    assert [case["id"] for case in found.cases] == ["few", "late", "many", "two"]
    for case in found.cases:
        with pytest.raises(ImageError, match=f"{case['id']}: 2 channels need one file each"):
            LoadCased("image", channels=2)({"image": case["image"]})
    assert len({str(case["image"]) for case in found.cases}) == 4


def test_one_channel_loses_its_number_only_where_all_have_it(tmp_path: Path) -> None:
    touch(tmp_path / "nnunet", "a_0000.nii.gz", "b_0000.nii.gz", "sub/c_0000.nii", "sub/d.nii")
    touch(tmp_path / "numbers", "scan_0000.nii.gz", "scan_0001.nii.gz")
    assert images(find_cases(tmp_path / "nnunet"), tmp_path / "nnunet") == {
        "a": "a_0000.nii.gz",
        "b": "b_0000.nii.gz",
        "sub/c_0000": "sub/c_0000.nii",
        "sub/d": "sub/d.nii",
    }
    assert images(find_cases(tmp_path / "numbers"), tmp_path / "numbers") == {
        "scan_0000": "scan_0000.nii.gz",
        "scan_0001": "scan_0001.nii.gz",
    }


def test_files_of_one_name_do_not_collide(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0000.nrrd")
    found = images(find_cases(tmp_path), tmp_path)
    assert found == {"a_0000_nii_gz": "a_0000.nii.gz", "a_0000_nrrd": "a_0000.nrrd"}
    touch(tmp_path / "two", "a_0000.nii", "a_0001.nii", "a.nii")
    both = images(find_cases(tmp_path / "two", channels=2), tmp_path / "two")
    assert len(both) == 2 and sorted(map(str, both.values())) == [
        "['a_0000.nii', 'a_0001.nii']",
        "a.nii",
    ]


def test_single_files_and_lists_are_named_as_in_their_folder(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a_0000.nii", "a_0001.nii", "b_0000.nii", "b_0001.nii")
    one = find_cases(folder / "a_0001.nii", channels=2)
    assert images(one, folder) == {"a": ["a_0000.nii", "a_0001.nii"]}
    assert images(find_cases(folder / "a_0000.nii"), folder) == {"a_0000": "a_0000.nii"}
    (folder / "l.txt").write_text("b_0000.nii\nb_0001.nii\na_0000.nii\n")
    listed = find_cases(folder / "l.txt", channels=2)
    assert list(images(listed, folder)) == ["b", "a"] and listed.passed_over == []
    (folder / "l.csv").write_text("id,image\nfirst,a_0000.nii\n")
    assert images(find_cases(folder / "l.csv", channels=2), folder) == {
        "first": ["a_0000.nii", "a_0001.nii"]
    }
    single = touch(tmp_path / "single", "c_0000.nii", "d_0000.nii")
    assert images(find_cases(single / "c_0000.nii"), single) == {"c": "c_0000.nii"}
    (single / "l.txt").write_text("d_0000.nii\n")
    assert images(find_cases(single / "l.txt"), single) == {"d": "d_0000.nii"}


def test_files_that_hold_all_channels_are_not_grouped(tmp_path: Path) -> None:
    for k in range(2):
        image = nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4))
        nib.save(image, tmp_path / f"scan_{k:04d}.nii.gz")
    assert list(images(find_cases(tmp_path, channels=2), tmp_path)) == ["scan_0000", "scan_0001"]


def test_grouped_files_are_read_as_channels(tmp_path: Path) -> None:
    arrays = [np.full((3, 4, 5), value, np.int16) for value in (7, 9)]
    for k, array in enumerate(arrays):
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"p_{k:04d}.nii.gz")
    (case,) = find_cases(tmp_path, channels=2).cases
    assert case["id"] == "p"
    image = LoadCased("image", channels=2)({"image": case["image"]})["image"]
    np.testing.assert_array_equal(image, np.stack(arrays))


def test_a_bundle_of_several_channels_groups_the_files_of_its_input_folder(tmp_path: Path) -> None:
    folder = touch(tmp_path / "in", "a_0000.nii", "a_0001.nii")
    found = folder_inputs(folder, output_dir=tmp_path / "out", channels=2)
    assert images(found, folder) == {"a": ["a_0000.nii", "a_0001.nii"]}


def test_a_name_with_and_without_its_number_are_two_cases(tmp_path: Path) -> None:
    folder = touch(tmp_path / "both", "case.nii.gz", "case_0000.nii.gz")
    assert images(find_cases(folder), folder) == {
        "case": "case.nii.gz",
        "case_0000": "case_0000.nii.gz",
    }
    alone = touch(tmp_path / "alone", "scan_0001.nii.gz")
    assert images(find_cases(alone), alone) == {"scan_0001": "scan_0001.nii.gz"}
    tests = touch(tmp_path / "imagesTs", "BRATS_486_0000.nii.gz", "dataset.json")
    assert images(find_cases(tests), tests) == {"BRATS_486": "BRATS_486_0000.nii.gz"}


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_file_of_all_channels_is_whole_whatever_its_name(suffix: str, tmp_path: Path) -> None:
    vector(tmp_path / f"a_0000{suffix}", 2)
    (case,) = find_cases(tmp_path, channels=2).cases
    assert case["image"] == str(tmp_path / f"a_0000{suffix}")
    assert LoadCased(keys="image", channels=2)(case)["image"].shape == (2, 6, 5, 4)
