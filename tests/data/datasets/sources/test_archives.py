"""Archives that are unsafe, cut off, or none."""

import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.datasets.importing.writer import write_dataset
from gridgate.data.datasets.sources import msd
from gridgate.data.errors import DatasetError
from gridgate.data.images.reading import read_image

from .archives import TASK, nifti_bytes, special, tar_of

ODD = {
    "path traversal": (special("../../outside.txt", tarfile.REGTYPE), "leads out"),
    "absolute path": (special("/tmp/outside.txt", tarfile.REGTYPE), "leads out"),
    "windows path": (special("C:\\outside.txt", tarfile.REGTYPE), "leads out"),
    "backslashes": (special("a\\..\\..\\outside", tarfile.REGTYPE), "leads out"),
    "link": (special(f"{TASK}/imagesTr/x.nii", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
    "hard link": (special(f"{TASK}/imagesTr/x.nii", tarfile.LNKTYPE, "dataset.json"), "hard link"),
    "device": (special(f"{TASK}/imagesTr/x.nii", tarfile.CHRTYPE), "a device"),
    "pipe": (special(f"{TASK}/imagesTr/x.nii", tarfile.FIFOTYPE), "a named pipe"),
    "twice": (special(f"{TASK}/dataset.json", tarfile.REGTYPE), "twice"),
}


@pytest.mark.parametrize("kind", list(ODD))
def test_an_unsafe_archive_is_refused_before_anything_is_unpacked(
    tmp_path: Path, kind: str
) -> None:
    odd, says = ODD[kind]
    path = tar_of(tmp_path / f"{TASK}.tar", odd=odd)
    with pytest.raises(DatasetError, match=f"{says}.*nothing was unpacked"):
        write_dataset(msd.tar_source(path), tmp_path / "D")
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name]


def test_an_archive_cut_off_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DatasetError, match=r"x\.tar: .*(cut off|dataset\.json)"):
        write_dataset(msd.tar_source(path), tmp_path / "D")
    assert not (tmp_path / "D").exists()


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_an_archive_that_is_cut_off_while_it_is_unpacked(tmp_path: Path, mode: str) -> None:
    path = tar_of(tmp_path / ("x.tar" if mode == "w" else "x.tar.gz"), mode=mode)
    source = msd.tar_source(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3])
    with pytest.raises(DatasetError, match=r"get it again"):
        write_dataset(source, tmp_path / "D")
    assert not (tmp_path / "D/dataset.json").exists()
    assert not list((tmp_path / "D").rglob("*gridgate-part"))
    path.write_bytes(content)
    write_dataset(source, tmp_path / "D")
    assert np.array_equal(
        read_image(tmp_path / "D/imagesTr/spleen_10.nii").array,
        nib.Nifti1Image.from_bytes(nifti_bytes(10)).get_fdata(),
    )


def test_rubbish_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"\x00\x01rubbish" * 500)
    with pytest.raises(DatasetError, match="no tar"):
        msd.tar_source(tmp_path / "x.tar")
