"""Where the voxels of a NIfTI file begin when vox_offset is wrong: never a shifted volume."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.formats.nifti_voxels import read_voxels
from gridgate.data.images.reading import read_image

SHAPE = (6, 5, 4)
VOXELS = np.arange(120, dtype=np.int16).reshape(SHAPE)
KINDS = {1: (nib.Nifti1Header, nib.Nifti1Image, 352), 2: (nib.Nifti2Header, nib.Nifti2Image, 544)}


def content(version: int, *, extension: bytes = b"", order: str = "<") -> bytearray:
    header_class, image_class, _ = KINDS[version]
    header = header_class(endianness=order)
    header.set_data_dtype(np.dtype("i2").newbyteorder(order))
    header.set_data_shape(SHAPE)
    header.set_sform(np.diag([2.0, 2, 2, 1]), 1)
    image = image_class(VOXELS, None, header)
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    return bytearray(image.to_bytes())


def set_offset(data: bytearray, version: int, offset: float, order: str = "<") -> None:
    if version == 1:
        data[108:112] = np.array(offset, dtype=f"{order}f4").tobytes()
    else:
        data[168:176] = np.array(offset, dtype=f"{order}i8").tobytes()


def save(path: Path, data: bytes, packed: bool = False) -> Path:
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("version", "offset"),
    [
        *((version, offset) for version in (1, 2) for offset in (0, 1, 100, 348, 351, -352)),
        (1, float("nan")),
        (1, float("inf")),
    ],
)
def test_voxels_inside_the_header_are_looked_for_behind_it(
    version: int, offset: float, order: str, packed: bool, tmp_path: Path
) -> None:
    data = content(version, order=order)
    set_offset(data, version, offset, order)
    image = read_image(save(tmp_path / "a.nii", data, packed), keep_integers=True)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert len(image.notes) == 1
    assert f"by the size of the file they begin at byte {KINDS[version][2]}" in image.notes[0]


@pytest.mark.parametrize("version", [1, 2])
def test_voxels_right_behind_the_header(version: int, tmp_path: Path) -> None:
    begin = KINDS[version][2]
    data = content(version)
    del data[begin - 4 : begin]
    set_offset(data, version, 0)
    image = read_image(save(tmp_path / "a.nii", data), keep_integers=True)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert f"they begin at byte {begin - 4}" in image.notes[0]


@pytest.mark.parametrize("wrong", [0, 100, "begin", "inside"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_voxels_inside_an_extension_are_looked_for_behind_it(
    version: int, order: str, wrong: int | str, tmp_path: Path
) -> None:
    begin = KINDS[version][2]
    data = content(version, extension=b"patient's DICOM header " * 9, order=order)
    true = len(data) - VOXELS.nbytes
    assert true > begin + 100
    offset = {"begin": begin, "inside": begin + 48}.get(str(wrong), wrong)
    set_offset(data, version, float(offset), order)
    image = read_image(save(tmp_path / "a.nii", data), keep_integers=True)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert f"they begin at byte {true}" in image.notes[0]


@pytest.mark.parametrize("version", [1, 2])
def test_a_sound_offset_has_no_note(version: int, tmp_path: Path) -> None:
    for data in (content(version), content(version, extension=b"comment")):
        read = read_voxels(save(tmp_path / "a.nii", data))
        np.testing.assert_array_equal(read.stored, VOXELS)
        assert read.notes == ()
    data = content(version)
    begin = KINDS[version][2]
    data[begin:begin] = bytes(64)  # a gap that vox_offset tells of
    set_offset(data, version, begin + 64)
    read = read_voxels(save(tmp_path / "a.nii", data))
    np.testing.assert_array_equal(read.stored, VOXELS)
    assert read.notes == ()


def test_where_the_size_does_not_tell_it_is_refused(tmp_path: Path) -> None:
    data = content(1) + bytes(10)
    set_offset(data, 1, 0)
    with pytest.raises(ImageError, match=r"a\.nii: vox_offset 0 says that .* inside the header"):
        read_image(save(tmp_path / "a.nii", data))
    data = content(1)[:-9]
    set_offset(data, 1, 0)
    with pytest.raises(ImageError, match=r"a\.nii: .*cut off"):
        read_image(save(tmp_path / "a.nii", data))


@pytest.mark.parametrize("offset", [352, 348, -8, float("nan"), 1e9])
def test_the_offset_of_a_pair_is_in_the_voxels_file(offset: float, tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, np.diag([2.0, 2, 2, 1])), tmp_path / "a.hdr")
    data = bytearray((tmp_path / "a.hdr").read_bytes())
    set_offset(data, 1, offset)
    data[344:348] = b"n+1\0"  # as a single file's header would say
    (tmp_path / "a.hdr").write_bytes(bytes(data))
    image = read_image(tmp_path / "a.hdr", keep_integers=True)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert "by its size they begin at byte 0" in image.notes[0]


def test_a_pair_whose_voxels_begin_later(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, np.diag([2.0, 2, 2, 1])), tmp_path / "a.hdr")
    data = bytearray((tmp_path / "a.hdr").read_bytes())
    set_offset(data, 1, 16)
    (tmp_path / "a.hdr").write_bytes(bytes(data))
    (tmp_path / "a.img").write_bytes(bytes(16) + (tmp_path / "a.img").read_bytes())
    image = read_image(tmp_path / "a.hdr", keep_integers=True)
    np.testing.assert_array_equal(image.array, VOXELS)
    assert image.notes == ()
