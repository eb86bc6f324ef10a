"""A check of a whole dataset: few cases, lists, names, other processes, memory."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.dataset import write_dataset_json
from gridgate.data.datasets.soundness.checking import check_soundness
from gridgate.data.datasets.soundness.findings import Report
from gridgate.data.datasets.soundness.mending.copy import write_mended
from gridgate.data.errors import DatasetError
from gridgate.data.label_tables.sides import sides_of

Small = Callable[..., Path]


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(one.kind, one.case) for one in report.findings if one.kind != "image-beyond-hu"]


def swap_labels(path: Path, first: int, second: int) -> None:
    image = nib.load(path)
    array = np.asarray(image.dataobj)
    table = np.arange(256, dtype=np.uint8)
    table[[first, second]] = second, first
    nib.save(nib.Nifti1Image(table[array], image.affine), path)


def test_two_sound_cases_are_silent(small: Small) -> None:
    report = check_soundness(small(2))
    assert kinds(report) == []
    assert report.cases == 2


def test_labels_that_were_not_annotated_are_not_missed(small: Small) -> None:
    """Of ten cases one has no brainstem: a note, until dataset.json says that it was not drawn."""
    root = small(12)
    label = root / "labelsTr" / "sound_03.nii.gz"
    image = nib.load(label)
    array = np.asarray(image.dataobj).copy()
    array[array == 1] = 0
    nib.save(nib.Nifti1Image(array, image.affine), label)
    assert ("label-missing", "sound_03") in kinds(check_soundness(root))
    content = json.loads((root / "dataset.json").read_text())
    rest = [name for name in content["labels"] if name not in ("brainstem", "background")]
    content["annotated"] = {"sound_03": rest}
    (root / "dataset.json").write_text(json.dumps(content))
    assert kinds(check_soundness(root)) == []
    content["annotated"] = {"sound_03": rest, "sound_04": rest}
    (root / "dataset.json").write_text(json.dumps(content))
    (found,) = check_soundness(root).findings
    assert (found.kind, found.case, found.level) == ("label-not-annotated", "sound_04", "error")
    assert "brainstem (" in found.text and found.numbers["labels"] == ["brainstem"]
    content["annotated"] = {"sund_03": rest}
    (root / "dataset.json").write_text(json.dumps(content))
    assert ("annotated", "") in kinds(check_soundness(root))


def test_a_label_that_no_case_has_is_told_once(small: Small) -> None:
    root = small(2)
    content = json.loads((root / "dataset.json").read_text())
    labels = content["labels"]
    number = max(labels.values()) + 1
    there = [name for name in labels if name != "background"]
    content["annotated"] = {case: [*there, "spleen"] for case in ("sound_00", "sound_01")}
    content["labels"] = {**labels, "spleen": number, "stomach": number + 1}
    (root / "dataset.json").write_text(json.dumps(content))
    (found,) = [one for one in check_soundness(root).findings if one.kind != "image-beyond-hu"]
    assert (found.kind, found.case, found.level) == ("label-nowhere", "", "warning")
    assert "declares spleen, stomach (annotated in none), which none of 2 label maps" in found.text
    assert found.numbers == {"labels": ["spleen", "stomach"]}
    path = root / "labelsTr" / "sound_00.nii.gz"
    image = nib.load(path)
    array = np.asarray(image.dataobj).copy()
    array[:3, :3, :3] = number  # one case is enough, whatever is wrong with it there
    nib.save(nib.Nifti1Image(array, image.affine), path)
    (found,) = check_soundness(root).of_kind("label-nowhere")
    assert found.numbers == {"labels": ["stomach"]}


def test_swapped_sides_are_found_by_their_names_in_one_case_alone(small: Small) -> None:
    root = small(1)
    swap_labels(root / "labelsTr" / "sound_00.nii.gz", 3, 4)
    assert kinds(check_soundness(root)) == [("sides-swapped", "sound_00")]


def test_sides_that_are_swapped_in_all_cases_are_told_once(small: Small) -> None:
    root = small(4)
    for path in (root / "labelsTr").iterdir():
        swap_labels(path, 3, 4)
    report = check_soundness(root)
    assert kinds(report) == [("sides-names", "")]
    assert "in 4 of 4 cases" in report.findings[0].text


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["right_kidney", "left_kidney", "liver"], [(1, 2)]),
        (["Lung L", "Lung R"], [(2, 1)]),
        (["hippocampus-left", "Hippocampus-Right"], [(2, 1)]),
        (["lt_parotid", "rt_parotid"], [(2, 1)]),
        (["left_kidney", "right_lung"], []),
        (["LeftKidney", "RightKidney", "KidneyLR"], [(2, 1)]),
        (["kidneyL", "kidneyR"], [(2, 1)]),
        (["LKidney", "RKidney"], [(2, 1)]),
        (["Eye_AL", "Eye_AR", "Eye_PL", "Eye_PR"], [(2, 1), (4, 3)]),
        (["IVC", "SMA", "vertebrae_L1", "WALL"], []),
        (["liver", "clavicle", "rib"], []),
    ],
)
def test_names_of_sides(names: list[str], pairs: list[tuple[int, int]]) -> None:
    assert sides_of({name: number for number, name in enumerate(names, 1)}) == pairs


def test_a_flipped_label_map_is_seen_in_one_case_alone(small: Small) -> None:
    root = small(3)
    path = root / "labelsTr" / "sound_02.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:, :, ::-1], image.affine), path)
    report = check_soundness(root)
    assert kinds(report)[-1] == ("label-fits-mirrored", "sound_02")
    assert {case for _, case in kinds(report)} == {"sound_02"}
    assert report.of_kind("label-fits-mirrored")[0].numbers["axes"] == ["z"]


def channels_of(case: Any, root: Path, *, in_one_file: bool) -> None:
    """A case of two channels, CT and its half; the label map lies 30 mm off."""
    moved = case.affine.copy()
    moved[2, 3] += 30
    volumes = [case.hu, case.hu // 2]
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(case.labels, moved), root / "labelsTr" / "p.nii.gz")
    if in_one_file:
        both = nib.Nifti1Image(np.stack(volumes, axis=-1), case.affine)
        nib.save(both, root / "imagesTr" / "p.nii.gz")
    else:
        for number, volume in enumerate(volumes):
            image = nib.Nifti1Image(volume, case.affine)
            nib.save(image, root / "imagesTr" / f"p_{number:04d}.nii.gz")
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, 6)}}
    write_dataset_json(root, "Two", labels, ("CT", "half"), 1)


@pytest.mark.parametrize("in_one_file", [True, False])
def test_several_channels(head_neck: list[Any], tmp_path: Path, in_one_file: bool) -> None:
    root = tmp_path / "D"
    root.mkdir()
    channels_of(head_neck[0], root, in_one_file=in_one_file)
    report = check_soundness(root)
    assert [(one.kind, one.level) for one in report.findings] == [("label-shifted", "error")]
    write_mended(report, tmp_path / "mended")
    assert check_soundness(tmp_path / "mended").findings == ()
    names = {path.name for path in (tmp_path / "mended" / "imagesTr").iterdir()}
    assert names == {path.name for path in (root / "imagesTr").iterdir()}


@pytest.mark.parametrize(
    ("names", "unsigned"), [(("CT", "PET"), (0,)), (("CT_arterial", "CT_venous"), (0, 1))]
)
def test_of_several_channels_those_are_mended_that_are_at_fault(
    head_neck: list[Any], tmp_path: Path, names: tuple[str, str], unsigned: tuple[int, ...]
) -> None:
    case, root = head_neck[0], tmp_path / "D"
    volumes = [case.hu, case.hu // 2 if names[1] == "PET" else case.hu - 5]
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    nib.save(nib.Nifti1Image(case.labels, case.affine), root / "labelsTr" / "p.nii.gz")
    for number, volume in enumerate(volumes):
        image = nib.Nifti1Image(volume + 1024 * (number in unsigned), case.affine)
        nib.save(image, root / "imagesTr" / f"p_{number:04d}.nii.gz")
    labels = {"background": 0, **{f"label_{value}": value for value in range(1, 6)}}
    write_dataset_json(root, "Two", labels, names, 1)
    report = check_soundness(root)
    found = [one.numbers["file"] for one in report.of_kind("image-hu-offset")]
    assert found == list(unsigned)
    write_mended(report, tmp_path / "mended")
    for number, volume in enumerate(volumes):
        mended = nib.load(tmp_path / "mended" / "imagesTr" / f"p_{number:04d}.nii.gz")
        assert np.array_equal(np.asarray(mended.dataobj), volume)


def test_channels_that_do_not_lie_on_each_other(head_neck: list[Any], tmp_path: Path) -> None:
    channels_of(head_neck[0], tmp_path, in_one_file=False)
    image = nib.load(tmp_path / "imagesTr" / "p_0001.nii.gz")
    affine = image.affine.copy()
    affine[0, 3] += 5
    nib.save(
        nib.Nifti1Image(np.asarray(image.dataobj), affine), tmp_path / "imagesTr" / "p_0001.nii.gz"
    )
    assert check_soundness(tmp_path).of_kind("channels-differ")
    (tmp_path / "imagesTr" / "p_0001.nii.gz").unlink()
    [found] = check_soundness(tmp_path).of_kind("image-unreadable")
    assert "one channel, dataset.json names 2" in found.text


def test_a_list_with_a_gap_does_not_hide_the_other_cases(small: Small) -> None:
    root = small(3, form="list")
    (root / "labelsTr" / "sound_01.nii.gz").unlink()
    swap_labels(root / "labelsTr" / "sound_02.nii.gz", 3, 4)
    report = check_soundness(root)
    assert ("sides-swapped", "sound_02") in kinds(report)
    missing = report.of_kind("pair-missing")
    assert not report.of_kind("not-listed")
    assert len(missing) == 1 and "labelsTr/sound_01.nii.gz" in missing[0].text
    assert report.cases == 2


def test_files_that_are_not_listed_are_told(small: Small) -> None:
    root = small(3, form="list")
    content = json.loads((root / "dataset.json").read_text())
    del content["training"][1]
    (root / "dataset.json").write_text(json.dumps({**content, "numTraining": 2}))
    report = check_soundness(root)
    assert kinds(report) == [("not-listed", "")]
    assert "sound_01.nii.gz" in report.findings[-1].text


def test_other_processes_find_the_same(small: Small) -> None:
    root = small(3)
    swap_labels(root / "labelsTr" / "sound_02.nii.gz", 3, 4)
    alone, together = check_soundness(root, workers=1), check_soundness(root, workers=2)
    assert alone.findings == together.findings
    assert kinds(together) == [("sides-swapped", "sound_02")]


def test_the_findings_as_json(small: Small, tmp_path: Path) -> None:
    root = small(1)
    swap_labels(root / "labelsTr" / "sound_00.nii.gz", 5, 9)
    check_soundness(root).write_json(tmp_path / "found.json")
    content = json.loads((tmp_path / "found.json").read_text())
    assert content["errors"] == 1
    [found] = [one for one in content["findings"] if one["level"] == "error"]
    assert found["kind"] == "label-undeclared"
    assert found["numbers"] == {"values": [9]}


def test_a_folder_without_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.json: does not exist"):
        check_soundness(tmp_path)
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    write_dataset_json(tmp_path, "None", {"background": 0, "a": 1}, ("CT",), 0)
    with pytest.raises(DatasetError, match="no cases"):
        check_soundness(tmp_path)


def test_the_real_hippocampi_are_sound(shared_data: Path) -> None:
    report = check_soundness(shared_data / "msd_hippocampus", workers=1)
    assert report.cases == 200
    assert report.findings == ()
    assert report.seconds < 60  # on a slow machine; some seconds on a fast one


@pytest.mark.slow
def test_what_is_odd_in_the_real_head_and_neck_cases(shared_data: Path) -> None:
    """Its README names the warts: contours beyond the image, intensities of 8,000 and more."""
    report = check_soundness(shared_data / "openkbp_head_neck", workers=1)
    assert report.count("error") == 0
    assert kinds(report) == [
        ("label-outside-body", "okbp_151"),
        ("volume-outlier", "okbp_260"),
        ("volume-outlier", "okbp_317"),
    ]
    assert len(report.of_kind("image-beyond-hu")) == 7


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("both", [False, True], ids=["label", "image and label"])
def test_a_mirrored_hippocampus_is_learned_from_the_others(
    shared_data: Path, tmp_path: Path, axis: int, both: bool
) -> None:
    """Its labels have no sides in their names: the other cases say where front and head are."""
    source = shared_data / "msd_hippocampus"
    names = sorted(path.name for path in (source / "labelsTr").iterdir())[:40]
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
        for name in names:
            image = nib.load(source / folder / name)
            array = np.asarray(image.dataobj)
            if name == names[20] and (both or folder == "labelsTr"):
                array = np.flip(array, axis)
            nib.save(nib.Nifti1Image(array, image.affine), tmp_path / folder / name)
    labels = {"background": 0, "Anterior": 1, "Posterior": 2}
    write_dataset_json(tmp_path, "Hippocampus", labels, ("MRI",), 40)
    case = names[20].removesuffix(".nii.gz")
    [found] = check_soundness(tmp_path).findings
    assert (found.case, found.level) == (case, "error")
    assert found.kind == ("case-mirrored" if both else "label-flipped")
    assert found.numbers["axes"] == ["xyz"[axis]]


_LARGE = """
import sys
from pathlib import Path
from gridgate.data.datasets.soundness.checking import check_soundness
assert check_soundness(sys.argv[1]).cases == 1
print(open("/proc/self/status").read())
"""


@pytest.mark.slow
def test_a_large_case_takes_less_than_two_gigabytes(tmp_path: Path) -> None:
    hu = np.full((512, 512, 600), -1000, np.int16, order="F")
    hu[100:400, 100:400] = (np.arange(600, dtype=np.int16) % 200) - 100
    labels = np.zeros(hu.shape, np.uint8, order="F")
    labels[150:300, 150:300, 100:400] = 1
    for folder, array in (("imagesTr", hu), ("labelsTr", labels)):
        (tmp_path / folder).mkdir()
        nib.save(nib.Nifti1Image(array, np.diag([-0.7, -0.7, 1, 1])), tmp_path / folder / "a.nii")
    write_dataset_json(tmp_path, "Large", {"background": 0, "liver": 1}, ("CT",), 1)
    command = [sys.executable, "-c", _LARGE, str(tmp_path)]
    # of the process itself: ru_maxrss would hold what its parent had, too
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    most = int(re.findall(r"VmHWM:\s*(\d+) kB", done.stdout)[-1])
    assert 100 << 10 < most < 2 << 20  # kB


def test_a_mended_copy_declares_what_is_left(small: Small, tmp_path: Path) -> None:
    """A case that is there twice is left out of the copy, and out of "annotated"."""
    root = small(3)
    for part in ("imagesTr", "labelsTr"):
        twin = (root / part / "sound_00.nii.gz").read_bytes()
        (root / part / "sound_09.nii.gz").write_bytes(twin)
    content = json.loads((root / "dataset.json").read_text())
    names = [name for name in content["labels"] if name != "background"]
    content |= {"annotated": {"sound_09": names, "sound_*": names}, "numTraining": 4}
    (root / "dataset.json").write_text(json.dumps(content))
    write_mended(check_soundness(root), tmp_path / "copy")
    made = json.loads((tmp_path / "copy" / "dataset.json").read_text())
    assert made["annotated"] == {"sound_*": names}
