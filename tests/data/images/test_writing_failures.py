"""Results that cannot be written: no half file, no lost older file, and the reason in words."""

import errno
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from gridgate.data import files
from gridgate.data.errors import OutputError
from gridgate.data.files import write_atomically
from gridgate.data.images import reading as images
from gridgate.data.images.reading import Image, read_image
from gridgate.data.images.writing import write_labels

A = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
SHAPE = (5, 6, 7)


def scan(path: Path, shape: tuple[int, ...] = SHAPE, **codes: int) -> Image:
    image = nib.Nifti1Image(np.ones(shape, np.int16), A)
    image.set_sform(A, codes.get("sform", 1))
    image.set_qform(A, codes.get("qform", 1))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return read_image(path)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.ones((5, 6, 8), int), r"shape \(5, 6, 8\).*\(5, 6, 7\)"),
        (np.ones((1, *SHAPE), int), "shape"),
        (np.ones(SHAPE, np.float32), "not integers"),
        (np.full(SHAPE, -1), "negative"),
    ],
)
def test_what_is_no_label_map_of_the_scan_is_refused(
    labels: NDArray[np.generic], reason: str, tmp_path: Path
) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    with pytest.raises(OutputError, match=reason):
        write_labels(tmp_path / "out.nii.gz", labels, like=like)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.nii.gz"]


@pytest.mark.parametrize("name", ["out.mhd", "out", "out.gz"])
def test_another_suffix_is_refused(name: str, tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    with pytest.raises(OutputError, match=r"\.nii\.gz, \.nii, "):
        write_labels(tmp_path / name, np.ones(SHAPE, int), like=like)


def refuse(number: int) -> object:
    def call(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    out = tmp_path / "out.nii.gz"
    out.write_bytes(b"an older result")
    monkeypatch.setattr(os, step, refuse(errno.ENOSPC))
    with pytest.raises(
        OutputError, match=r"out\.nii\.gz: cannot be written \(No space left on device\)"
    ):
        write_labels(out, np.ones(SHAPE, int), like=like)
    assert out.read_bytes() == b"an older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.nii.gz", "scan.nii.gz"]


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full is Linux's")
    like = scan(tmp_path / "scan.nii.gz")
    opened = open

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "open", lambda path, mode: opened("/dev/full", "wb"), raising=False)
        with pytest.raises(OutputError, match="No space left"):
            write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, int), like=like)


def test_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permission bits do not bind root, as which tests may run.
    like = scan(tmp_path / "scan.nii.gz")
    monkeypatch.setattr(files, "open", refuse(errno.EROFS), raising=False)
    with pytest.raises(OutputError, match="Read-only file system"):
        write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, int), like=like)


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    with pytest.raises(OutputError, match="cannot be written"):
        write_labels(tmp_path / "scan.nii.gz" / "out.nii.gz", np.ones(SHAPE, int), like=like)
    (tmp_path / "out.nii.gz").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, int), like=like)


def test_the_file_beside_is_no_image_and_goes_when_interrupted(tmp_path: Path) -> None:
    seen: list[str] = []

    def interrupted(stream: object) -> None:
        seen.extend(path.name for path in tmp_path.iterdir())
        seen.extend(path.name for path in images.find_images(tmp_path))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "out.nii.gz", interrupted)
    assert len(seen) == 1
    assert seen[0].startswith(".")
    assert not seen[0].endswith(".nii.gz")
    assert list(tmp_path.iterdir()) == []
