"""What a folder holds besides scans: parts of scans, look-alikes, pipes and devices."""

import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.images.reading import read_image
from gridgate.data.inputs.find import Inputs, find_cases

SeriesWriter = Callable[..., list[Path]]
VOXELS = np.arange(120, dtype=np.int16).reshape(6, 5, 4)


def ids(inputs: Inputs) -> list[str]:
    return [case["id"] for case in inputs.cases]


def rows(inputs: Inputs, folder: Path) -> dict[str, str]:
    return {os.path.relpath(one.source, folder): one.note for one in inputs.passed_over}


def every_format(folder: Path) -> list[str]:
    """A file of each format, each readable; the ids of their cases."""
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), folder / "gz.nii.gz")
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), folder / "bz.nii.bz2")
    nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), folder / "pair.hdr")
    nib.save(nib.Spm99AnalyzeImage(VOXELS, np.eye(4)), folder / "spm.hdr")
    nib.save(nib.MGHImage(VOXELS, np.eye(4)), folder / "fs.mgz")
    image = sitk.GetImageFromArray(VOXELS)
    for name in ("mha.mha", "mhd.mhd", "packed.mhd", "nrrd.nrrd", "nhdr.nhdr", "upper.MHD"):
        sitk.WriteImage(image, str(folder / name), useCompression=name != "mhd.mhd")
    return ["bz", "fs", "gz", "mha", "mhd", "nhdr", "nrrd", "packed", "pair", "spm", "upper"]


def test_what_can_be_read_is_a_case_once(tmp_path: Path) -> None:
    names = every_format(tmp_path)
    assert len(list(tmp_path.iterdir())) > len(names)  # with the voxels of the headers
    found = find_cases(tmp_path)
    assert ids(found) == names
    assert found.passed_over == []
    for case in found.cases:
        assert read_image(case["image"]).array.size == VOXELS.size


def test_what_looks_like_an_image_has_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"1")
    reasons = {
        "p.png": "a picture",
        "p.JPG": "a picture",
        "sub/p.tif": "a picture",
        "m.mat": "an array",
        "m.npy": "an array",
        "m.h5": "an array",
        "v.raw": "voxels without their header",
        "v.zraw": "voxels without their header",
        "v.raw.gz": "voxels without their header",
        "lone.img": "voxels without their header",
        "lone2.img.gz": "voxels without their header",
        "f.mnc": "a format that cannot be read",
        "f.vtk": "a format that cannot be read",
        "f.BRIK.gz": "voxels without their header",
        "f.REC": "voxels without their header",
        "f.HEAD": "a format that cannot be read",
        "f.par": "a format that cannot be read",
        "f.v": "a format that cannot be read",
        "f.h5": "an array",
        "u.gz": "compressed",
        "u.nii.zst": "compressed",
        "u.nii.xz": "compressed",
        "u.tar.gz": "compressed",
        "u.rar": "compressed",
        "n.nii.gz.1": "its name does not end",
        "n.nii (copy)": "its name does not end",
        "envi.hdr": "neither a NIfTI nor an Analyze header",
    }
    for name in reasons:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"some bytes that are no image " * 40)
    for name in ("notes.txt", "table.csv", "data.json", "read.md", "README", "x.bvec", "mesh.stl"):
        (tmp_path / name).write_bytes(b"text")
    found = find_cases(tmp_path)
    assert ids(found) == ["a"]
    said = rows(found, tmp_path)
    assert set(said) == set(reasons)
    for name, reason in reasons.items():
        assert reason in said[name], name


def test_many_pictures_share_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.nii").write_bytes(b"1")
    for k in range(21):
        (tmp_path / f"{k}.png").write_bytes(b"1")
    found = find_cases(tmp_path)
    assert len(found.passed_over) == 1
    assert found.passed_over[0].source == f"{tmp_path}/*.png"
    assert found.passed_over[0].note.startswith("21 files, each a picture")


def test_dicom_by_an_images_name_is_taken(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    write_dicom(tmp_path / "p", name="{}.img")
    found = find_cases(tmp_path)
    assert ids(found) == ["p"] and found.passed_over == []
    write_dicom(
        tmp_path / "m", name="{}.img", change=lambda data, k: setattr(data, "Modality", "MR")
    )
    found = find_cases(tmp_path)
    assert ids(found) == ["p"]
    assert ["its modality is MR" in one.note for one in found.passed_over] == [True]


def test_a_lone_picture_says_why_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"1")
    with pytest.raises(ConfigError, match=r"a\.png: a picture, not a volume"):
        find_cases(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n")
    found = find_cases(tmp_path / "list.txt")
    assert "a picture" in found.cases[0]["image"].problem


def in_time(act: Callable[[], Inputs]) -> Inputs:
    """The result of what must not wait for a pipe."""
    results: list[Inputs | Exception] = []

    def run() -> None:
        try:
            results.append(act())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert results, "it hangs"
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def test_pipes_sockets_devices_and_link_loops_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may not be long
    nib.save(nib.Nifti1Image(VOXELS, np.eye(4)), tmp_path / "good.nii.gz")
    for name in ("pipe.nii.gz", "IM0001", "pipe.dcm", "pipe.zip", "pipe.hdr", "pipe.mhd"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "loop.nii").symlink_to(tmp_path / "loop.nii")
    (tmp_path / "a.mha").symlink_to(tmp_path / "b.mha")
    (tmp_path / "b.mha").symlink_to(tmp_path / "a.mha")
    (tmp_path / "zero.nii").symlink_to("/dev/zero")
    (tmp_path / "circle").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("sock.nii")
    excluded = tmp_path / "out"
    found = in_time(lambda: find_cases(tmp_path, exclude=[excluded]))
    assert ids(found) == ["good"]
    said = rows(found, tmp_path)
    assert said == {
        "pipe.nii.gz": "a named pipe, not a file",
        "IM0001": "a named pipe, not a file",
        "pipe.dcm": "a named pipe, not a file",
        "pipe.zip": "a named pipe, not a file",
        "pipe.hdr": "a named pipe, not a file",
        "pipe.mhd": "a named pipe, not a file",
        "loop.nii": "a link that leads to itself",
        "a.mha": "a link that leads to itself",
        "b.mha": "a link that leads to itself",
        "zero.nii": "a device, not a file",
        "sock.nii": "a socket, not a file",
    }


@pytest.mark.parametrize("name", ["pipe.nii.gz", "pipe.txt", "pipe.csv", "pipe.zip", "pipe"])
def test_a_pipe_as_the_input_is_refused(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="this is a named pipe, not a file"):
        in_time(lambda: find_cases(tmp_path / name))


def test_a_listed_pipe_is_a_case_that_fails(tmp_path: Path) -> None:
    for name in ("pipe.nii.gz", "pipe"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "l.txt").write_text("pipe.nii.gz\npipe\n/dev/zero\n")
    found = in_time(lambda: find_cases(tmp_path / "l.txt"))
    problems = [case["image"].problem for case in found.cases]
    assert ["a named pipe" in problems[0], "a named pipe" in problems[1]] == [True, True]
    assert "it is a device" in problems[2]


def test_a_link_to_nothing_is_a_case_that_fails(tmp_path: Path) -> None:
    (tmp_path / "gone.nii").symlink_to(tmp_path / "annex" / "gone.nii")
    found = find_cases(tmp_path)
    assert ids(found) == ["gone"]
    with pytest.raises(ImageError, match="does not exist"):
        read_image(found.cases[0]["image"])


def test_lists_that_are_none(tmp_path: Path) -> None:
    with open(tmp_path / "huge.txt", "wb") as file:
        file.truncate(65_000_000)
    with pytest.raises(ConfigError, match=r"huge\.txt: 65 MB are too much for a list"):
        find_cases(tmp_path / "huge.txt")
    (tmp_path / "wide.csv").write_text("image,id\n" + '"' + "x" * 200_000 + '",a\n')
    with pytest.raises(ConfigError, match=r"wide\.csv: the list is no table"):
        find_cases(tmp_path / "wide.csv")
    (tmp_path / "long.txt").write_text("x" * 5000 + ".nii\n")
    found = find_cases(tmp_path / "long.txt")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(found.cases[0]["image"])


def test_slices_that_a_header_names_are_no_images(tmp_path: Path) -> None:
    head = "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\n"
    head += "ElementSpacing = 1 1 1\n"
    for k in range(4):
        content = VOXELS[:, :, k].astype("<i2").tobytes(order="F")
        for name in ("pattern", "list"):
            (tmp_path / f"{name}{k}.raw").write_bytes(content)
    (tmp_path / "p.mhd").write_text(head + "ElementDataFile = pattern%d.raw 0 3 1\n")
    names = "\n".join(f"list{k}.raw" for k in range(4))
    (tmp_path / "l.mhd").write_text(head + f"ElementDataFile = LIST\n{names}\n")
    found = find_cases(tmp_path)
    assert ids(found) == ["l", "p"] and found.passed_over == []
    for case in found.cases:
        np.testing.assert_array_equal(read_image(case["image"]).array, VOXELS)
    (tmp_path / "list2.raw").unlink()
    with pytest.raises(ImageError, match=r"its voxels list2\.raw are not where it says"):
        read_image(tmp_path / "l.mhd")


def test_what_may_not_be_read_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permission bits do not bind root, as which tests may run.
    (tmp_path / "a.nii").write_bytes(b"1")
    (tmp_path / "IM0001").write_bytes(b"1")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "IM0001")
    found = find_cases(tmp_path)
    assert ids(found) == ["a"]
    assert rows(found, tmp_path) == {"IM0001": "no permission to read it; ask for read access"}


def test_a_stray_file_with_the_name_of_dicom(tmp_path: Path, write_dicom: SeriesWriter) -> None:
    (tmp_path / "a.nii").write_bytes(b"1")
    (tmp_path / "x.dcm").write_bytes(b"no DICOM at all " * 40)
    found = find_cases(tmp_path)
    assert ids(found) == ["a"]
    assert "named like a DICOM file and is none" in rows(found, tmp_path)["x.dcm"]
    # Damaged slices may be a scan, which must not be lost without a failure.
    (tmp_path / "x.dcm").write_bytes(b"")
    assert len(find_cases(tmp_path).cases) == 2
    write_dicom(tmp_path / "p", name="{}.dcm")
    for file in (tmp_path / "p").iterdir():
        file.write_bytes(b"no DICOM at all " * 40)
    assert "p" in ids(find_cases(tmp_path))


def test_voxels_in_another_folder_belong_to_their_header(tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    (tmp_path / "raws").mkdir()
    (tmp_path / "raws" / "v.raw").write_bytes(VOXELS.astype("<i2").tobytes(order="F"))
    (tmp_path / "heads" / "v.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 6 5 4\nElementType = MET_SHORT\n"
        "ElementSpacing = 1 1 1\nElementDataFile = ../raws/v.raw\n"
    )
    found = find_cases(tmp_path)
    assert ids(found) == ["heads/v"] and found.passed_over == []
    np.testing.assert_array_equal(read_image(found.cases[0]["image"]).array, VOXELS)
