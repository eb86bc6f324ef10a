"""Reading what cannot be read: each defect is named, with the file and what to do."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import GridgateError, ImageError
from gridgate.data.images import reading as images
from gridgate.data.images.reading import read_grid, read_image, read_labels

from .nifti_files import RAMP, SHAPE, nifti


def nrrd(path: Path, *fields: str) -> Path:
    head = [
        "NRRD0004",
        "type: short",
        "dimension: 3",
        "sizes: 5 6 7",
        "endian: little",
        "encoding: raw",
        *fields,
    ]
    path.write_bytes("\n".join(head).encode() + b"\n\n" + RAMP.ravel("F").astype("<i2").tobytes())
    return path


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((5, 6), 1), ((5, 6, 7, 2), 1), ((5, 6, 7), 2), ((5, 6, 7, 3), 2), ((5, 6, 7, 2, 2), 2)],
)
def test_other_axes_are_refused_with_the_shape(
    shape: tuple[int, ...], channels: int, tmp_path: Path
) -> None:
    path = nifti(tmp_path / "a.nii.gz", np.zeros(shape, np.int16))
    with pytest.raises(ImageError, match=r"a\.nii\.gz.*has the axes \(5, 6"):
        read_image(path, channels=channels)


def test_a_flat_or_moving_itk_image_is_refused(tmp_path: Path) -> None:
    for number, size in enumerate([[4, 4], [4, 4, 4, 2]]):
        path = tmp_path / f"{number}.mha"
        sitk.WriteImage(sitk.Image(size, sitk.sitkInt16), str(path))
        with pytest.raises(ImageError, match="a volume has three"):
            read_image(path)


def test_a_scan_of_nothing_but_nan_is_refused(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(ImageError, match="none of its voxels"):
        read_image(path, non_finite="replace")


@pytest.mark.parametrize(
    ("value", "reason"), [(0.5, "1 of its voxels are fractions"), (-1, "negative"), (np.nan, "NaN")]
)
def test_what_is_no_label_map_is_refused(value: float, reason: str, tmp_path: Path) -> None:
    array = np.ones(SHAPE, np.float32)
    array[0, 0, 0] = value
    with pytest.raises(ImageError, match=f"a.nii.*{reason}"):
        read_labels(nifti(tmp_path / "a.nii", array))


def test_colour_and_complex_voxels_are_refused(tmp_path: Path) -> None:
    colour = np.zeros(SHAPE, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    with pytest.raises(ImageError, match="colour picture"):
        read_image(nifti(tmp_path / "rgb.nii.gz", colour))
    with pytest.raises(ImageError, match="not real numbers"):
        read_image(nifti(tmp_path / "c.nii.gz", np.zeros(SHAPE, np.complex64)))
    sitk.WriteImage(sitk.Image([3, 3, 3], sitk.sitkComplexFloat32), str(tmp_path / "c.nrrd"))
    with pytest.raises(ImageError, match="not real numbers"):
        read_image(tmp_path / "c.nrrd")


def test_each_defect_of_a_file_has_its_words(tmp_path: Path) -> None:
    whole = nifti(tmp_path / "whole.nii", RAMP).read_bytes()
    packed = gzip.compress(whole, mtime=0)
    flipped = bytearray(packed)
    flipped[-6] ^= 0xFF  # in gzip's checksum
    defects = {
        "empty.nii.gz": (b"", "empty"),
        "short_header.nii": (whole[:200], "damaged"),
        "short.nii": (whole[:500], "cut off"),
        "short.nii.gz": (packed[: len(packed) // 2], "cut off"),
        "no_checksum.nii.gz": (packed[:-8], "cut off"),
        "checksum.nii.gz": (bytes(flipped), "damaged"),
        "garbage.nii.gz": (packed[:40] + bytes(range(60)) + packed[100:], "damaged"),
        "text.nii.gz": (b"this is not a scan" * 40, "not a NIfTI file"),
        "text.nrrd": (b"this is not a scan" * 40, "SimpleITK"),
        "empty.mha": (b"", "empty"),
        "picture.png": (b"\x89PNG", "suffix is none of"),
    }
    for name, (content, words) in defects.items():
        path = tmp_path / name
        path.write_bytes(content)
        for read in (read_image, read_labels):
            with pytest.raises(ImageError, match=words) as caught:
                read(path)
            assert str(caught.value).startswith(f"{path}: ")


def test_a_short_nrrd_is_refused(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "n.nrrd", "spacings: 2 3 4")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.txt"])
@pytest.mark.parametrize("read", [read_image, read_labels, read_grid])
def test_missing_files_and_folders(read: Callable[..., object], name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\..*does not exist"):
        read(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(ImageError, match=r"a\..*is a folder"):
        read(str(tmp_path / name))


def test_no_permission_has_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permission bits do not bind root, as which tests may run.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(images, "_read", refuse)
    with pytest.raises(GridgateError, match=r"x\.nii: no permission"):
        read_image(tmp_path / "x.nii")


@pytest.mark.parametrize("dims", [[3, 5, 6, 30000], [3, 5, 0, 7], [3, 5, -6, 7], [9, 5, 6, 7]])
def test_a_header_that_promises_other_voxels_is_refused(dims: list[int], tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", RAMP)
    content = bytearray(path.read_bytes())
    content[40:48] = np.array(dims, dtype="<i2").tobytes()
    path.write_bytes(bytes(content))
    with pytest.raises(ImageError, match=r"a\.nii"):
        read_image(path)


def test_odd_files_of_the_shared_data(shared_data: Path) -> None:
    with pytest.raises(ImageError, match=r"spine_report_RGB\.nii\.gz: .*colour"):
        read_image(shared_data / "odd/spine_report_RGB.nii.gz")
    with pytest.raises(ImageError, match=r"truncated_example_ct\.nii\.gz: the file is cut off"):
        read_image(shared_data / "odd/truncated_example_ct.nii.gz")
    with pytest.raises(ImageError, match=r"axes \(128, 128, 34, 2\)"):
        read_labels(shared_data / "ct/chest_10mm_nrrd/SegmentationOverlapping.seg.nrrd")
