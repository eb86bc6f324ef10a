"""What SimpleITK reads besides: GIPL, VTK, HDF5; and files that are cut off or none."""

import locale
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.images.names import case_id, find_images
from gridgate.data.images.reading import (
    read_grid,
    read_image,
)
from gridgate.data.inputs.find import find_cases

from .written import AFFINE, HU, check_mask, itk


@pytest.mark.parametrize("name", ["a.vtk", "a.gipl", "a.gipl.gz", "a.h5", "a.hdf5", "A.VTK"])
def test_what_simpleitk_wrote(name: str, tmp_path: Path) -> None:
    itk(tmp_path / name.lower())
    (tmp_path / name.lower()).rename(tmp_path / name)
    image = read_image(tmp_path / name, keep_integers=True)
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, AFFINE, rtol=1e-6)
    doubtful = not name.endswith(("h5", "hdf5"))
    assert [note.startswith("geometry: the format stores no") for note in image.notes] == (
        [True] if doubtful else []
    )
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == [case_id(name)] and found.passed_over == []
    check_mask(tmp_path / name, tmp_path)


def test_vtk_in_ascii(tmp_path: Path) -> None:
    numbers = " ".join(str(value) for value in HU.ravel(order="F"))
    head = (
        "# vtk DataFile Version 2.0\nby hand\nASCII\nDATASET STRUCTURED_POINTS\n"
        "DIMENSIONS 6 5 4\nORIGIN -100 -90 -300\nSPACING 0.8 0.9 2.5\nPOINT_DATA 120\n"
        "SCALARS s short 1\nLOOKUP_TABLE default\n"
    )
    (tmp_path / "a.vtk").write_text(f"{head}{numbers}\n")
    image = read_image(tmp_path / "a.vtk")
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, AFFINE)
    (tmp_path / "a.vtk").write_text(f"{head}{numbers.rsplit(' ', 1)[0]}\n")
    with pytest.raises(ImageError, match=r"a\.vtk: .*cut off or damaged"):
        read_image(tmp_path / "a.vtk")


def test_vtk_without_spacing(tmp_path: Path) -> None:
    itk(tmp_path / "a.vtk")
    content = (tmp_path / "a.vtk").read_bytes()
    start = content.index(b"SPACING")
    end = content.index(b"\n", start) + 1
    (tmp_path / "b.vtk").write_bytes(content[:start] + content[end:])
    image = read_image(tmp_path / "b.vtk")
    np.testing.assert_array_equal(image.grid.spacing, [1, 1, 1])
    assert any("no voxel sizes" in note and "geometry: " in note for note in image.notes)


@pytest.mark.parametrize("name", ["a.vtk", "a.gipl", "a.gipl.gz", "a.h5", "a.mnc"])
def test_a_cut_file_is_refused(name: str, tmp_path: Path) -> None:
    itk(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) - 1])
    with pytest.raises(ImageError, match=name):
        read_image(tmp_path / name)


def mesh(path: Path) -> None:
    path.write_text("# vtk DataFile Version 3.0\nx\nASCII\nDATASET POLYDATA\nPOINTS 0 float\n")


def motion(path: Path) -> None:
    path.write_text("0.001  -0.002  0.003  0.1  0.2  0.3\n" * 20)


@pytest.mark.parametrize(
    ("name", "make"), [("x.vtk", mesh), ("x.par", motion), ("x.head", motion), ("x.h5", motion)]
)
def test_other_things_of_that_suffix_are_no_images(
    name: str, make: Callable[[Path], None], tmp_path: Path
) -> None:
    nib.save(nib.Nifti1Image(HU, AFFINE), tmp_path / "a.nii.gz")
    make(tmp_path / name)
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["a"]
    assert [one.source for one in found.passed_over] == [str(tmp_path / name)]
    assert [file.name for file in find_images(tmp_path)] == ["a.nii.gz"]
    with pytest.raises(ConfigError, match=name):
        find_cases(tmp_path / name)


def test_reading_leaves_the_processs_locale_alone(tmp_path: Path) -> None:
    # ITK's VTK reader sets "C", and Python would read text as ASCII from then on
    path = tmp_path / "a.vtk"
    sitk.WriteImage(sitk.Image(3, 4, 5, sitk.sitkInt16), str(path))
    before = locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False)
    read_grid(path)
    read_image(path)
    assert (locale.setlocale(locale.LC_ALL), locale.getpreferredencoding(False)) == before
