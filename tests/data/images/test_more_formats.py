"""AFNI, Philips, MINC, VTK, GIPL and ITK's HDF5 against nibabel, SimpleITK and hand-made files."""

import bz2
import gzip
import locale
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.io import netcdf_file

from gridgate.data.errors import ConfigError, ImageError
from gridgate.data.images.names import case_id, find_images
from gridgate.data.images.reading import (
    read_axes,
    read_grid,
    read_image,
    read_labels,
    write_labels,
)
from gridgate.data.inputs.find import find_cases

NIBABELS = Path(nib.__file__).parent / "tests" / "data"
SHAPE = (6, 5, 4)
AFFINE = np.array([[-0.8, 0, 0, 100], [0, -0.9, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
RAS = np.array([[0.8, 0, 0, -100], [0, 0.9, 0, -90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
HU = (np.arange(120, dtype=np.int16).reshape(SHAPE) * 11 - 1000).astype(np.int16)
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}


def afni(path: Path, *, packing: str = "", factor: float = 0.0, voxels: object = HU) -> None:
    """A .HEAD and .BRIK as AFNI's documentation describes them, AFFINE in LPS row by row."""
    array = np.asarray(voxels)
    attributes = [
        ("integer", "DATASET_RANK", "3 1 0 0 0 0 0 0"),
        ("integer", "DATASET_DIMENSIONS", "6 5 4 0 0"),
        ("float", "DELTA", "0.8 0.9 2.5"),
        ("float", "IJK_TO_DICOM_REAL", "0.8 0 0 -100 0 0.9 0 -90 0 0 2.5 -300"),
        ("integer", "BRICK_TYPES", {"int16": "1", "uint8": "0", "float32": "3"}[array.dtype.name]),
        ("float", "BRICK_FLOAT_FACS", f"{factor}"),
        ("string", "BYTEORDER_STRING", "'LSB_FIRST~"),
    ]
    text = ""
    for kind, name, value in attributes:
        count = len(value) - 1 if kind == "string" else len(value.split())
        text += f"\ntype = {kind}-attribute\nname = {name}\ncount = {count}\n {value}\n"
    path.write_text(text)
    body = array.astype(array.dtype.newbyteorder("<")).tobytes(order="F")
    path.with_name(f"{path.stem}.BRIK{packing}").write_bytes(PACK[packing](body))


def minc1(path: Path, *, voxels: NDArray[np.int16] = HU, attributes: bool = True) -> None:
    """A MINC 1 file whose scaling gives the values back: zspace, yspace, xspace."""
    with netcdf_file(path.with_suffix(".cdf"), "w") as out:
        for name, size, step, start, axis in (
            ("zspace", 4, 2.5, -300.0, (0.0, 0, 1)),
            ("yspace", 5, 0.9, -90.0, (0.0, 1, 0)),
            ("xspace", 6, 0.8, -100.0, (1.0, 0, 0)),
        ):
            out.createDimension(name, size)
            one = out.createVariable(name, "i", ())
            one.spacing = b"regular__"
            if attributes:
                one.step, one.start, one.direction_cosines = step, start, axis
        image = out.createVariable("image", "h", ("zspace", "yspace", "xspace"))
        image.signtype = b"signed__"
        image.valid_range = np.array([-32768.0, 32767.0])
        image[:] = voxels.transpose(2, 1, 0)
        for name, value in (("image-max", 32767.0), ("image-min", -32768.0)):
            limit = out.createVariable(name, "d", ("zspace",))
            limit[:] = value
    packing = path.suffix if path.suffix in PACK else ""
    path.write_bytes(PACK[packing](path.with_suffix(".cdf").read_bytes()))
    path.with_suffix(".cdf").unlink()


def itk(path: Path) -> None:
    image = sitk.GetImageFromArray(HU.transpose(2, 1, 0))
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin((-100, -90, -300))
    sitk.WriteImage(image, str(path))


def copied(folder: Path, *names: str) -> None:
    """Files of nibabel's own tests."""
    for name in names:
        if not (NIBABELS / name).is_file():
            pytest.skip("nibabel is installed without its test data")
        shutil.copy(NIBABELS / name, folder / name)


def check_mask(path: Path, folder: Path) -> None:
    """A mask of an image is a NIfTI file in the image's grid."""
    image = read_image(path)
    mask = (image.array > np.median(image.array)).astype(np.uint8)
    write_labels(folder / "mask.nii.gz", mask, like=image)
    written = nib.load(folder / "mask.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), mask)
    np.testing.assert_allclose(written.affine, image.grid.affine, atol=1e-4)
    assert int(written.header["sform_code"]) >= 1


@pytest.mark.parametrize("packing", ["", ".gz", ".bz2"])
def test_afni_is_read_by_either_file(packing: str, tmp_path: Path) -> None:
    afni(tmp_path / "a+orig.HEAD", packing=packing)
    for name in ("a+orig.HEAD", f"a+orig.BRIK{packing}"):
        image = read_image(tmp_path / name, keep_integers=True)
        np.testing.assert_array_equal(image.array, HU)
        assert image.array.dtype == np.int16 and image.notes == ()
        np.testing.assert_allclose(image.grid.affine, AFFINE)
        np.testing.assert_array_equal(read_grid(tmp_path / name).affine, image.grid.affine)
        assert read_axes(tmp_path / name)[:3] == SHAPE
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["a+orig"] and found.passed_over == []
    found = find_cases(tmp_path / f"a+orig.BRIK{packing}")
    assert [case["id"] for case in found.cases] == ["a+orig"] and found.passed_over == []
    check_mask(tmp_path / "a+orig.HEAD", tmp_path)


def test_afnis_factor_is_applied(tmp_path: Path) -> None:
    afni(tmp_path / "a.HEAD", factor=0.5)
    np.testing.assert_allclose(read_image(tmp_path / "a.HEAD").array, HU * 0.5)
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.uint8)
    afni(tmp_path / "l.HEAD", voxels=labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "l.HEAD").array, labels)


def test_afnis_own_files_as_nibabel_reads_them(tmp_path: Path) -> None:
    copied(tmp_path, "scaled+tlrc.HEAD", "scaled+tlrc.BRIK")
    copied(tmp_path, "example4d+orig.HEAD", "example4d+orig.BRIK.gz")
    seen = nib.load(NIBABELS / "scaled+tlrc.HEAD")
    image = read_image(tmp_path / "scaled+tlrc.HEAD")
    np.testing.assert_allclose(image.array, seen.get_fdata()[..., 0], rtol=1e-6)
    np.testing.assert_allclose(image.grid.affine, seen.affine)
    several = read_image(tmp_path / "example4d+orig.HEAD", channels=3)
    seen = nib.load(NIBABELS / "example4d+orig.HEAD")
    np.testing.assert_array_equal(several.array, np.moveaxis(seen.get_fdata(), -1, 0))
    with pytest.raises(ImageError, match=r"a volume of one channel has three"):
        read_image(tmp_path / "example4d+orig.HEAD")


def test_an_afni_header_that_cannot_be_used(tmp_path: Path) -> None:
    afni(tmp_path / "a.HEAD")
    text = (tmp_path / "a.HEAD").read_text()
    (tmp_path / "a.HEAD").write_text(text.replace("IJK_TO_DICOM_REAL", "OTHER"))
    with pytest.raises(ImageError, match=r"a\.HEAD: .*it lacks IJK_TO_DICOM_REAL"):
        read_image(tmp_path / "a.HEAD")
    (tmp_path / "a.HEAD").write_text(text.replace("0.8 0 0 -100", "0 0 0 -100"))
    with pytest.raises(ImageError, match=r"a\.HEAD: .*no usable geometry"):
        read_grid(tmp_path / "a.HEAD")
    (tmp_path / "a.HEAD").write_text(text)
    body = (tmp_path / "a.BRIK").read_bytes()
    (tmp_path / "a.BRIK").write_bytes(body[:-7])
    with pytest.raises(ImageError, match=r"a\.HEAD: .*cut off or damaged"):
        read_image(tmp_path / "a.HEAD")
    (tmp_path / "a.BRIK").rename(tmp_path / "b.BRIK")
    with pytest.raises(ImageError, match=r"its voxels a\.BRIK are not beside it"):
        read_image(tmp_path / "a.HEAD")
    with pytest.raises(ImageError, match=r"its header b\.HEAD is not beside it"):
        read_image(tmp_path / "b.BRIK")
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == ["a"]
    assert [one.source for one in found.passed_over] == [str(tmp_path / "b.BRIK")]


PHILIPS = ("phantom_EPI_asc_CLEAR_2_1", "phantom_varscale")


@pytest.mark.parametrize("name", PHILIPS)
def test_philips_is_read_with_the_consoles_values(name: str, tmp_path: Path) -> None:
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    seen = nib.load(NIBABELS / f"{name}.PAR")
    volumes = seen.shape[3] if len(seen.shape) > 3 else 1
    values = seen.get_fdata() if volumes == 1 else np.moveaxis(seen.get_fdata(), -1, 0)
    for suffix in ("PAR", "REC"):
        image = read_image(tmp_path / f"{name}.{suffix}", channels=volumes)
        np.testing.assert_allclose(image.array, values, rtol=1e-6)
        np.testing.assert_allclose(image.grid.affine, seen.affine)
    assert "scanner's console" in image.notes[0]
    np.testing.assert_allclose(read_grid(tmp_path / f"{name}.REC").affine, seen.affine)
    assert read_axes(tmp_path / f"{name}.PAR") == seen.shape
    found = find_cases(tmp_path)
    assert [case["id"] for case in found.cases] == [name] and found.passed_over == []


def test_a_volume_of_philips_gives_a_mask(tmp_path: Path) -> None:
    name = PHILIPS[0]
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    lines = (tmp_path / f"{name}.PAR").read_text().splitlines(keepends=True)
    # One line per slice behind the general part: keep those of the first dynamic.
    kept = [line for line in lines if not line.strip() or line[0] in "#." or line.split()[2] == "1"]
    text = "".join(kept).replace("dynamics            :   3", "dynamics            :   1")
    (tmp_path / f"{name}.PAR").write_text(text)
    seen = nib.load(tmp_path / f"{name}.PAR")
    assert len(seen.shape) == 3
    image = read_image(tmp_path / f"{name}.PAR")
    np.testing.assert_allclose(image.array, seen.get_fdata(), rtol=1e-6)
    check_mask(tmp_path / f"{name}.PAR", tmp_path)


def test_philips_cut_off(tmp_path: Path) -> None:
    name = PHILIPS[0]
    copied(tmp_path, f"{name}.PAR", f"{name}.REC")
    body = (tmp_path / f"{name}.REC").read_bytes()
    (tmp_path / f"{name}.REC").write_bytes(body[:-100])
    with pytest.raises(ImageError, match=r"\.PAR: .*cut off or damaged"):
        read_image(tmp_path / f"{name}.PAR", channels=3)
    copied(tmp_path, "phantom_truncated.PAR", "phantom_truncated.REC")
    with pytest.raises(ImageError, match=r"truncated\.PAR: its PAR header cannot be understood"):
        read_image(tmp_path / "phantom_truncated.PAR")


@pytest.mark.parametrize("name", ["a.mnc", "a.mnc.gz", "a.mnc.bz2"])
def test_minc_1_is_read(name: str, tmp_path: Path) -> None:
    minc1(tmp_path / name)
    image = read_image(tmp_path / name)
    # The array has the file's axes, z y x; as a NIfTI of the canonical order it is HU again.
    assert image.array.shape == (4, 5, 6) and image.notes == ()
    turned = nib.as_closest_canonical(nib.Nifti1Image(image.array, image.grid.affine))
    np.testing.assert_allclose(turned.get_fdata(), HU, atol=1e-3)
    np.testing.assert_allclose(turned.affine, RAS, atol=1e-4)
    np.testing.assert_array_equal(read_grid(tmp_path / name).affine, image.grid.affine)
    check_mask(tmp_path / name, tmp_path)
    (tmp_path / "mask.nii.gz").unlink()
    assert [case["id"] for case in find_cases(tmp_path).cases] == ["a"]
    labels = (np.arange(120).reshape(SHAPE) % 3).astype(np.int16)
    minc1(tmp_path / name, voxels=labels)
    np.testing.assert_array_equal(read_labels(tmp_path / name).array, labels.transpose(2, 1, 0))


def test_minc_without_steps_is_doubtful(tmp_path: Path) -> None:
    minc1(tmp_path / "a.mnc", attributes=False)
    image = read_image(tmp_path / "a.mnc")
    np.testing.assert_array_equal(image.grid.spacing, [1, 1, 1])
    assert [note.startswith("geometry: voxels of 1 mm") for note in image.notes] == [True]


def test_mincs_own_files(tmp_path: Path) -> None:
    copied(tmp_path, "minc1_1_scale.mnc", "minc2_1_scale.mnc", "minc1_4d.mnc", "minc2_4d.mnc")
    copied(tmp_path, "small.mnc", "minc2-no-att.mnc", "minc2_baddim.mnc")
    one, two = (read_image(tmp_path / f"minc{k}_1_scale.mnc") for k in (1, 2))
    seen = nib.load(NIBABELS / "minc1_1_scale.mnc")
    np.testing.assert_allclose(one.array, seen.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(one.grid.affine, seen.affine)
    # The same volume as MINC 2, whose axes come in the other order.
    np.testing.assert_allclose(two.array, one.array.transpose(2, 1, 0), rtol=1e-5)
    np.testing.assert_allclose(two.grid.affine, one.grid.affine[:, [2, 1, 0, 3]])
    assert one.notes == two.notes == ()
    # As nibabel's tests state it for small.mnc.
    small = read_image(tmp_path / "small.mnc")
    affine = np.array([[7.0, 0, 0, -98], [0, 8, 0, -134], [0, 0, 9, -72], [0, 0, 0, 1]])
    np.testing.assert_allclose(small.grid.affine, affine)
    assert small.array.mean() == pytest.approx(31.2127952, rel=1e-6)
    np.testing.assert_allclose(read_grid(tmp_path / "small.mnc").affine, affine)
    assert read_image(tmp_path / "minc2-no-att.mnc").notes[-1].startswith("geometry: ")
    check_mask(tmp_path / "small.mnc", tmp_path)
    with pytest.raises(ImageError, match=r"minc1_4d\.mnc: .*time among them"):
        read_image(tmp_path / "minc1_4d.mnc")
    with pytest.raises(ImageError, match=r"minc2_baddim\.mnc: .*SimpleITK can"):
        read_image(tmp_path / "minc2_baddim.mnc")
    several = read_image(tmp_path / "minc2_4d.mnc", channels=2)
    expected = nib.load(NIBABELS / "minc1_4d.mnc").get_fdata()
    np.testing.assert_allclose(several.array, expected.transpose(0, 3, 2, 1), rtol=1e-5)


def test_a_minc_file_of_itk_may_be_mirrored(tmp_path: Path) -> None:
    itk(tmp_path / "a.mnc")
    image = read_image(tmp_path / "a.mnc", keep_integers=True)
    np.testing.assert_array_equal(image.array, HU)
    np.testing.assert_allclose(image.grid.affine, RAS)
    assert "geometry: " in image.notes[0] and "check left and right" in image.notes[0]
    (tmp_path / "b.mnc.gz").write_bytes(gzip.compress((tmp_path / "a.mnc").read_bytes()))
    with pytest.raises(ImageError, match=r"b\.mnc\.gz: a compressed MINC 2 file"):
        read_image(tmp_path / "b.mnc.gz")


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
