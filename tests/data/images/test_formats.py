"""Each format against the library that wrote it; masks are written in its grid."""

import bz2
import gzip
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ImageError
from gridgate.data.images.reading import (
    case_id,
    find_images,
    read_axes,
    read_grid,
    read_image,
    read_labels,
    write_labels,
)

SHAPE = (6, 5, 4)
AFFINE = np.array([[-0.8, 0, 0, 100], [0, -0.9, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
HU = (np.arange(120, dtype=np.int16).reshape(SHAPE) * 11 - 1000).astype(np.int16)
LPS = [
    "space: left-posterior-superior",
    "space directions: (0.8,0,0) (0,0.9,0) (0,0,2.5)",
    "space origin: (-100,-90,-300)",
]


def pair(path: Path) -> None:
    image = nib.Nifti1Pair(HU, AFFINE)
    image.header.set_sform(AFFINE, 1)
    image.header.set_qform(AFFINE, 1)
    nib.save(image, path.with_name("made.hdr"))
    suffix = path.name.removeprefix("a.hdr")
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[suffix]
    for kind in ("hdr", "img"):
        made = path.with_name(f"made.{kind}")
        path.with_name(f"a.{kind}{suffix}").write_bytes(pack(made.read_bytes()))
        made.unlink()


def mgh(path: Path) -> None:
    nib.save(nib.MGHImage(HU, AFFINE), path)


def bzip2(path: Path) -> None:
    nib.save(nib.Nifti1Image(HU, AFFINE), path)


def nhdr(path: Path) -> None:
    packed = path.name.startswith("packed")
    body = HU.astype("<i2").tobytes(order="F")
    data = path.with_name("voxels.raw" + (".gz" if packed else ""))
    data.write_bytes(gzip.compress(body) if packed else body)
    lines = ["NRRD0005", "type: short", "dimension: 3", "sizes: 6 5 4", "endian: little", *LPS]
    lines += [f"encoding: {'gzip' if packed else 'raw'}", f"data file: {data.name}"]
    path.write_text("\n".join(lines) + "\n\n")


def itk(path: Path) -> None:
    image = sitk.GetImageFromArray(HU.transpose(2, 1, 0))
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((-100, -90, -300))
    sitk.WriteImage(image, str(path), useCompression=True)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.hdr", pair),
        ("a.hdr.gz", pair),
        ("a.hdr.bz2", pair),
        ("a.mgz", mgh),
        ("a.mgh", mgh),
        ("a.nii.bz2", bzip2),
        ("a.nhdr", nhdr),
        ("packed.nhdr", nhdr),
        ("a.mha", itk),
        ("a.mhd", itk),
        ("a.nrrd", itk),
    ],
)
def test_a_format_is_read_and_its_mask_lies_in_its_grid(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / name
    make(path)
    image = read_image(path)
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, AFFINE, atol=1e-4)
    assert image.notes == ()
    np.testing.assert_array_equal(read_image(path, keep_integers=True).array, HU)
    np.testing.assert_array_equal(read_grid(path).affine, image.grid.affine)
    assert read_axes(path) == read_grid(path).shape == SHAPE
    mask = (HU > 0).astype(np.uint8)
    write_labels(tmp_path / "out" / "mask.nii.gz", mask, like=image)
    written = nib.load(tmp_path / "out" / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    np.testing.assert_allclose(written.affine, image.grid.affine, atol=1e-5)
    assert type(written) is nib.Nifti1Image and int(written.header["sform_code"]) >= 1
    seen = sitk.ReadImage(str(tmp_path / "out" / "mask.nii.gz"))
    np.testing.assert_allclose(seen.GetOrigin(), (-100, -90, -300), atol=1e-3)
    np.testing.assert_allclose(seen.GetSpacing(), (0.8, 0.9, 2.5), atol=1e-4)


def test_a_pair_of_nifti_2(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Pair(HU, AFFINE), tmp_path / "a.hdr")
    image = read_image(tmp_path / "a.hdr")
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, AFFINE)
    write_labels(tmp_path / "mask.nii.gz", HU > 0, like=image)
    written = nib.load(tmp_path / "mask.nii.gz")
    assert type(written) is nib.Nifti2Image
    np.testing.assert_array_equal(np.asarray(written.dataobj), HU > 0)
    np.testing.assert_allclose(written.affine, AFFINE)


def test_labels_of_a_pair_and_of_freesurfer(tmp_path: Path) -> None:
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.uint8)
    nib.save(nib.Nifti1Pair(labels, AFFINE), tmp_path / "l.hdr")
    nib.save(nib.MGHImage(labels.astype(np.int32), AFFINE), tmp_path / "l.mgz")
    for name in ("l.hdr", "l.img", "l.mgz"):
        image = read_labels(tmp_path / name)
        assert image.array.dtype == np.uint8
        np.testing.assert_array_equal(image.array, labels)


def test_either_file_of_a_pair_can_be_given(tmp_path: Path) -> None:
    pair(tmp_path / "a.hdr")
    np.testing.assert_array_equal(read_image(tmp_path / "a.img").array, HU)
    assert read_image(tmp_path / "a.img").header is not None
    shutil.move(tmp_path / "a.hdr", tmp_path / "a.HDR")
    np.testing.assert_array_equal(read_image(tmp_path / "a.img").array, HU)


def test_a_pair_may_be_packed_half(tmp_path: Path) -> None:
    pair(tmp_path / "a.hdr")
    packed = gzip.compress((tmp_path / "a.img").read_bytes())
    (tmp_path / "a.img.gz").write_bytes(packed)
    (tmp_path / "a.img").unlink()
    np.testing.assert_array_equal(read_image(tmp_path / "a.hdr").array, HU)
    (tmp_path / "a.img.gz").write_bytes(packed[:-20])
    with pytest.raises(ImageError, match=r"a\.hdr: the file is cut off or damaged"):
        read_image(tmp_path / "a.hdr")


def test_half_of_a_pair_is_refused_with_the_name_of_the_other(tmp_path: Path) -> None:
    pair(tmp_path / "a.hdr")
    (tmp_path / "b.img").write_bytes(b"1")
    (tmp_path / "a.img").unlink()
    with pytest.raises(ImageError, match=r"a\.hdr: its voxels a\.img are not beside it"):
        read_image(tmp_path / "a.hdr")
    with pytest.raises(ImageError, match=r"b\.img: its header b\.hdr is not beside it"):
        read_image(tmp_path / "b.img")
    (tmp_path / "c.hdr").write_text("ENVI\nsamples = 5\n" * 40)
    (tmp_path / "c.img").write_bytes(b"1")
    with pytest.raises(ImageError, match=r"c\.hdr: it is neither a NIfTI nor an Analyze header"):
        read_image(tmp_path / "c.hdr")


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd"])
def test_detached_voxels_that_are_gone_are_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    (nhdr if suffix == ".nhdr" else itk)(path)
    for file in tmp_path.glob("*raw"):
        file.unlink()
    with pytest.raises(ImageError, match=r"its voxels \w+\.z?raw are not where it says"):
        read_image(path)


def test_analyze_does_not_tell_left_from_right(tmp_path: Path) -> None:
    image = nib.AnalyzeImage(HU, np.diag([0.8, 0.9, 2.5, 1]))
    nib.save(image, tmp_path / "a.hdr")
    for file in tmp_path.glob("*.mat"):
        file.unlink()
    read = read_image(tmp_path / "a.hdr")
    np.testing.assert_array_equal(read.array, HU)
    np.testing.assert_allclose(read.grid.affine, nib.load(tmp_path / "a.hdr").affine)
    np.testing.assert_allclose(read.grid.spacing, [0.8, 0.9, 2.5], rtol=1e-6)
    assert read.header is None and read.notes[0].startswith("geometry: an Analyze pair")
    assert "; " not in read.notes[0] and "check left and right" in read.notes[0]
    np.testing.assert_array_equal(read_grid(tmp_path / "a.img").affine, read.grid.affine)
    content = bytearray((tmp_path / "a.hdr").read_bytes())
    content[252] = 1  # orient: coronal
    (tmp_path / "a.hdr").write_bytes(bytes(content))
    with pytest.raises(ImageError, match=r"a\.hdr: an Analyze pair whose slices are coronal"):
        read_image(tmp_path / "a.hdr")


def test_spms_affine_beside_an_analyze_pair_is_used(tmp_path: Path) -> None:
    image = nib.Spm99AnalyzeImage(HU, AFFINE)
    nib.save(image, tmp_path / "a.hdr")
    assert (tmp_path / "a.mat").is_file()
    read = read_image(tmp_path / "a.hdr")
    np.testing.assert_allclose(read.grid.affine, AFFINE, atol=1e-5)
    np.testing.assert_array_equal(read.array, HU)
    assert read.notes == ("an Analyze pair; its affine is that of a.mat",)


def test_an_analyze_scale_is_applied_once(tmp_path: Path) -> None:
    values = np.linspace(-3, 900.5, 120, dtype=np.float64).reshape(SHAPE)
    image = nib.Spm99AnalyzeImage(values, AFFINE)
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "a.hdr")
    seen = nib.load(tmp_path / "a.hdr").get_fdata()
    np.testing.assert_allclose(read_image(tmp_path / "a.hdr").array, seen, rtol=1e-5, atol=1e-3)


def test_freesurfer_without_an_orientation_is_noted(tmp_path: Path) -> None:
    mgh(tmp_path / "a.mgh")
    content = bytearray((tmp_path / "a.mgh").read_bytes())
    content[28:30] = b"\0\0"  # goodRASFlag
    (tmp_path / "a.mgh").write_bytes(bytes(content))
    read = read_image(tmp_path / "a.mgh")
    np.testing.assert_allclose(read.grid.affine, nib.load(tmp_path / "a.mgh").affine)
    assert read.notes[0].startswith("geometry: the header gives no orientation, ")


@pytest.mark.parametrize("name", ["a.mgz", "a.nii.bz2", "a.hdr"])
def test_a_cut_file_is_refused(name: str, tmp_path: Path) -> None:
    {"a.mgz": mgh, "a.nii.bz2": bzip2, "a.hdr": pair}[name](tmp_path / name)
    file = tmp_path / name.replace(".hdr", ".img")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"{name}: .*cut off or damaged"):
        read_image(tmp_path / name)


def test_a_folder_of_images_lists_a_pair_once(tmp_path: Path) -> None:
    pair(tmp_path / "a.hdr")
    itk(tmp_path / "b.mhd")
    mgh(tmp_path / "c.mgz")
    assert [file.name for file in find_images(tmp_path)] == ["a.hdr", "b.mhd", "c.mgz"]
    names = ["x.nii.bz2", "x.HDR.gz", "x.img", "x.mgz", "x.nhdr", "x.gipl.gz"]
    assert {case_id(name) for name in names} == {"x"}


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mgz", "a.mha", "a.hdr"])
def test_a_named_pipe_is_refused_and_never_waited_for(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    said: list[str] = []

    def read() -> None:
        for reader in (read_image, read_labels, read_grid):
            with pytest.raises(ImageError, match="it is a named pipe") as caught:
                reader(tmp_path / name)
            said.append(str(caught.value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert len(said) == 3 and said[0].startswith(f"{tmp_path / name}: ")


def test_a_pipe_as_detached_voxels_is_refused(tmp_path: Path) -> None:
    nhdr(tmp_path / "a.nhdr")
    (tmp_path / "voxels.raw").unlink()
    os.mkfifo(tmp_path / "voxels.raw")
    with pytest.raises(ImageError, match="it is a named pipe"):
        read_image(tmp_path / "a.nhdr")


def test_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nii").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match=r"a\.nii: it is a device"):
        read_image(tmp_path / "a.nii")
