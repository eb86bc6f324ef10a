"""Reading: every format and storage, against nibabel and SimpleITK."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from gridgate.data.errors import ImageError
from gridgate.data.geometry.grids import same_grid
from gridgate.data.images.reading import read_axes, read_grid, read_image, read_labels

from .nifti_files import RAMP, SHAPE, A, nifti, stored


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64]
)
def test_every_storage_becomes_float32(dtype: type, tmp_path: Path) -> None:
    array = RAMP.astype(dtype) - dtype(0)
    image = read_image(nifti(tmp_path / "a.nii.gz", array))
    assert image.array.dtype == np.float32
    np.testing.assert_array_equal(image.array, RAMP)
    assert image.grid.shape == SHAPE
    np.testing.assert_allclose(image.grid.affine, A, atol=1e-4)
    assert image.notes == ()
    assert image.array.flags.writeable


@pytest.mark.parametrize(
    ("storage", "lowest", "highest", "inter", "kept"),
    [
        (np.uint8, 0, 255, 0, np.int16),
        (np.int8, -128, 127, 0, np.int16),
        (np.int16, -32768, 32767, 0, np.int16),
        (np.uint16, 0, 4095, 0, np.int16),
        (np.uint16, 0, 65535, 0, np.int32),
        (np.uint16, 0, 65535, -32768, np.int16),  # the sum fits where neither number does
        (np.int16, -32768, 0, 40000, np.int32),
        (np.int16, 0, 3000, -1024, np.int16),
        (np.int32, -1024, 3071, 0, np.int16),
        (np.int32, -1024, 70000, 0, np.int32),
        (np.int64, -1024, 70000, 5, np.int32),
        (np.int64, 0, 2**40, 0, np.float32),
        (np.int32, 0, 2**31 - 1, 1, np.float32),
        (np.int16, 0, 3000, 0.5, np.float32),
        (np.float32, 0, 3000, 0, np.float32),
    ],
)
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_integers_are_kept_in_the_smallest_type_that_holds_them(
    storage: type,
    lowest: int,
    highest: int,
    inter: float,
    kept: type,
    byte_order: str,
    tmp_path: Path,
) -> None:
    array = RAMP.astype(storage)
    array[0, 0, :2] = [lowest, highest]
    header = nib.Nifti1Header(endianness=byte_order)
    header.set_data_dtype(np.dtype(storage).newbyteorder(byte_order))
    nib.save(nib.Nifti1Image(array, A, header), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[112:120] = np.array([1, inter], dtype=f"{byte_order}f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    found = read_image(tmp_path / "a.nii", keep_integers=True).array
    assert found.dtype == kept and found.dtype.isnative and found.flags.writeable
    np.testing.assert_array_equal(found, (array.astype(object) + inter).astype(kept))
    np.testing.assert_allclose(found, nib.load(tmp_path / "a.nii").get_fdata(), rtol=1e-7)
    np.testing.assert_array_equal(found.astype(np.float32), read_image(tmp_path / "a.nii").array)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_integers_are_kept_in_itk_formats_and_channels(suffix: str, tmp_path: Path) -> None:
    for storage, kept in (
        (sitk.sitkInt16, np.int16),
        (sitk.sitkInt32, np.int16),
        (sitk.sitkFloat32, np.float32),
    ):
        sitk.WriteImage(
            sitk.Cast(sitk.GetImageFromArray(RAMP.T.copy()), storage), str(tmp_path / f"a{suffix}")
        )
        found = read_image(tmp_path / f"a{suffix}", keep_integers=True).array
        assert found.dtype == kept
        np.testing.assert_array_equal(found, RAMP)
    two = read_image(
        nifti(tmp_path / "c.nii", np.stack([RAMP, RAMP + 500], -1)), channels=2, keep_integers=True
    )
    assert two.array.dtype == np.int16
    np.testing.assert_array_equal(two.array, [RAMP, RAMP + 500])


def test_a_slope_makes_floats_of_integers(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.nii", RAMP, 0.5, -1024)
    found = read_image(path, keep_integers=True).array
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, RAMP * 0.5 - 1024)


def test_slope_and_intercept_are_applied_once(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.nii", RAMP, 0.5, -1024)
    np.testing.assert_array_equal(read_image(path).array, RAMP * 0.5 - 1024)
    np.testing.assert_array_equal(read_image(path).array, nib.load(path).get_fdata())
    np.testing.assert_array_equal(
        read_image(path).array, sitk.GetArrayFromImage(sitk.ReadImage(str(path))).T
    )


def test_a_slope_of_zero_means_none(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_image(stored(tmp_path / "a.nii", RAMP, 0, 5)).array, RAMP)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_itk_formats_lie_where_nifti_lies(suffix: str, tmp_path: Path) -> None:
    turned = sitk.GetImageFromArray(RAMP.T.copy())
    turned.SetSpacing((0.8, 0.9, 2.5))
    turned.SetOrigin((-10, 20, -300))
    turned.SetDirection(nib.eulerangles.euler2mat(x=0.3, y=0.1, z=-0.2).ravel().tolist())
    for name in (f"a{suffix}", "a.nii.gz"):
        sitk.WriteImage(turned, str(tmp_path / name))
    one, other = read_image(tmp_path / f"a{suffix}"), read_image(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(one.array, RAMP)
    np.testing.assert_array_equal(one.array, other.array)
    assert same_grid(one.grid, other.grid, tolerance_mm=1e-3)
    assert same_grid(read_grid(tmp_path / f"a{suffix}"), one.grid)
    assert one.header is None
    assert one.notes == ()


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


def test_nrrd_in_ras_and_in_lps_are_one_place(tmp_path: Path) -> None:
    ras = nrrd(
        tmp_path / "r.nrrd",
        "space: right-anterior-superior",
        "space directions: (2,0,0) (0,3,0) (0,0,4)",
        "space origin: (1,2,3)",
    )
    expected = np.diag([2.0, 3.0, 4.0, 1.0])
    expected[:3, 3] = [1, 2, 3]
    np.testing.assert_allclose(read_grid(ras).affine, expected)
    lps = nrrd(
        tmp_path / "l.nrrd",
        "space: left-posterior-superior",
        "space directions: (-2,0,0) (0,-3,0) (0,0,4)",
        "space origin: (-1,-2,3)",
    )
    np.testing.assert_allclose(read_grid(lps).affine, expected)
    np.testing.assert_array_equal(read_image(lps).array, RAMP)


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-anterior-superior", (-1, 1)),
        ("right-anterior-superior-time", (1, 1)),
        ("RAST", (1, 1)),
        ("left-anterior-superior-time", (-1, 1)),
        ("LAST", (-1, 1)),
        ("left-posterior-superior-time", (-1, -1)),
        ("LPST", (-1, -1)),
    ],
)
def test_nrrd_in_other_patient_spaces(space: str, signs: tuple[int, int], tmp_path: Path) -> None:
    """Of four axes the last is time, of length 1."""
    head = ["space directions: (2,0,0) (0,3,0) (0,0,4)", "space origin: (1,2,3)"]
    if space.lower().endswith(("time", "st")):
        head = ["space directions: (2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)"]
        head += ["space origin: (1,2,3,0)"]
        path = nrrd(tmp_path / "r.nrrd", f"space: {space}", *head)
        text = path.read_bytes().replace(b"dimension: 3", b"dimension: 4")
        path.write_bytes(text.replace(b"sizes: 5 6 7", b"sizes: 5 6 7 1"))
    else:
        path = nrrd(tmp_path / "r.nrrd", f"space: {space}", *head)
    x, y = signs
    expected = np.diag([2.0 * x, 3.0 * y, 4.0, 1.0])
    expected[:3, 3] = [x, 2 * y, 3]
    image = read_image(path)
    np.testing.assert_allclose(image.grid.affine, expected)
    assert not image.notes


def test_nrrd_without_a_patient_space_is_noted(tmp_path: Path) -> None:
    image = read_image(nrrd(tmp_path / "n.nrrd", "spacings: 2 3 4"))
    assert image.grid.orientation == "LPS"
    assert "patient space" in image.notes[0]


def test_trailing_axes_of_one_are_dropped(tmp_path: Path) -> None:
    for number, shape in enumerate([(*SHAPE, 1), (*SHAPE, 1, 1)]):
        path = nifti(tmp_path / f"{number}.nii.gz", RAMP.reshape(shape))
        np.testing.assert_array_equal(read_image(path).array, RAMP)
        np.testing.assert_array_equal(read_labels(path).array, RAMP)
        assert read_grid(path).shape == SHAPE


def test_one_slice_is_a_volume(tmp_path: Path) -> None:
    assert read_image(nifti(tmp_path / "a.nii", RAMP[:, :, :1])).grid.shape == (5, 6, 1)


def test_channels_come_first(tmp_path: Path) -> None:
    two = np.stack([RAMP, RAMP + 500], axis=-1)
    for number, array in enumerate([two, two[:, :, :, None]]):
        image = read_image(nifti(tmp_path / f"{number}.nii.gz", array), channels=2)
        np.testing.assert_array_equal(image.array, [RAMP, RAMP + 500])
        assert image.grid.shape == SHAPE
    vector = sitk.GetImageFromArray(two.transpose(2, 1, 0, 3).copy(), isVector=True)
    sitk.WriteImage(vector, str(tmp_path / "v.mha"))
    np.testing.assert_array_equal(
        read_image(tmp_path / "v.mha", channels=2).array, [RAMP, RAMP + 500]
    )


@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr", ".nii.gz"])
def test_axes_of_the_header_are_those_of_the_voxels(suffix: str, tmp_path: Path) -> None:
    for count in (1, 2, 3):
        path = tmp_path / f"{count}{suffix}"
        array = np.stack([RAMP] * count, axis=-1).transpose(2, 1, 0, 3).copy()
        image = sitk.GetImageFromArray(array if count > 1 else array[..., 0], isVector=count > 1)
        sitk.WriteImage(image, str(path))
        axes = read_axes(path)
        assert axes[:3] == SHAPE and axes[-1:] == ((count,) if count > 1 else SHAPE[-1:])
        assert read_grid(path).shape == SHAPE
        assert read_image(path, channels=count).array.shape[-3:] == SHAPE


def test_nan_and_infinity_are_counted(tmp_path: Path) -> None:
    array = RAMP.astype(np.float32) - 50
    array[0, 0, :3] = [np.nan, np.inf, -np.inf]
    path = nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(ImageError, match="3 of 210 voxels are NaN or infinite"):
        read_image(path)
    image = read_image(path, non_finite="replace")
    np.testing.assert_array_equal(image.array[0, 0, :3], [-47, -47, -47])
    np.testing.assert_array_equal(image.array.ravel()[3:], array.ravel()[3:])
    assert image.notes == (
        "3 NaN or infinite voxels were replaced by the lowest finite value, -47",
    )


def test_large_numbers_are_not_taken_for_infinity(tmp_path: Path) -> None:
    array = np.full(SHAPE, 3e38, np.float32)  # their sum overflows
    np.testing.assert_array_equal(read_image(nifti(tmp_path / "a.nii", array)).array, array)


def test_read_grid_reads_no_voxels(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", RAMP)
    path.write_bytes(path.read_bytes()[:360])
    assert read_grid(path).shape == SHAPE


def test_real_scans_have_simpleitks_voxels(shared_data: Path) -> None:
    for name in (
        "ct/sarcoma_002/CT_image.nii.gz",
        "ct/totalsegmentator_3mm/ct.nii.gz",
        "ct/chest_10mm_nrrd/CTChest4.nrrd",
        "odd/CT_pitch_oblique.nii.gz",
    ):
        expected = sitk.GetArrayFromImage(sitk.ReadImage(str(shared_data / name))).transpose(
            2, 1, 0
        )
        np.testing.assert_array_equal(read_image(shared_data / name).array, expected, err_msg=name)
