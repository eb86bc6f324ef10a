"""The choice of the affine in sound NIfTI headers, and in headers broken in one place."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridgate.data.errors import ImageError
from gridgate.data.images.formats.nifti_affine import choose_affine
from gridgate.data.images.formats.nifti_voxels import read_header, read_voxels

SHAPE = (4, 5, 6)
A = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
B = A + np.array([[0, 0, 0, 7.0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


def header(
    sform: int = 0, qform: int = 0, *, s: NDArray[np.float64] = A, q: NDArray[np.float64] = A
) -> nib.Nifti1Header:
    made = nib.Nifti1Header()
    made.set_data_shape(SHAPE)
    made.set_data_dtype(np.int16)
    made.set_xyzt_units("mm")
    made.set_qform(q, qform)
    made.set_sform(s, sform)
    return made


def save(made: nib.Nifti1Header, path: Path) -> Path:
    """Write the header as it is: nibabel's own writer would set it right."""
    made = made.copy()
    made["vox_offset"] = 352
    made["magic"] = b"n+1"
    voxels = np.arange(np.prod(made.get_data_shape()), dtype=made.get_data_dtype())
    path.write_bytes(made.binaryblock + bytes(4) + voxels.tobytes())
    return path


def witness(path: Path) -> NDArray[np.float64]:
    """SimpleITK's affine, brought from LPS to RAS."""
    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


@pytest.mark.parametrize(
    ("sform", "qform", "source"),
    [(1, 1, "sform"), (2, 0, "sform"), (0, 1, "qform"), (4, 2, "sform")],
)
def test_each_form_that_is_set_is_used_without_a_remark(
    sform: int, qform: int, source: str
) -> None:
    choice = choose_affine(header(sform, qform))
    assert (choice.source, choice.why) == (source, "")
    np.testing.assert_allclose(choice.affine, A, atol=1e-4)


def test_a_form_whose_code_is_zero_is_not_used() -> None:
    np.testing.assert_allclose(choose_affine(header(0, 1, s=B, q=A)).affine, A, atol=1e-4)
    np.testing.assert_allclose(choose_affine(header(1, 0, s=B, q=A)).affine, B, atol=1e-4)


def test_disagreeing_forms_are_noted_and_the_sform_is_used() -> None:
    choice = choose_affine(header(1, 1, s=B, q=A))
    np.testing.assert_allclose(choice.affine, B, atol=1e-4)
    assert choice.source == "sform"
    assert "disagree by up to 7 mm" in choice.why


def test_forms_that_differ_by_less_than_a_tenth_of_a_millimetre_are_not_worth_a_note() -> None:
    near = A.copy()
    near[0, 3] += 0.05
    assert choose_affine(header(1, 1, s=near, q=A)).why == ""


@pytest.mark.parametrize(
    "broken", [np.diag([1.0, 0, 1, 1]), np.diag([1.0, np.nan, 1, 1]), np.diag([0.0, 0, 0, 1])]
)
def test_an_unusable_sform_gives_way_to_the_qform_and_says_so(broken: NDArray[np.float64]) -> None:
    made = header(1, 1)
    made["srow_x"], made["srow_y"], made["srow_z"] = broken[:3]
    choice = choose_affine(made)
    assert choice.source == "qform"
    np.testing.assert_allclose(choice.affine, A, atol=1e-4)
    assert "sform is unusable" in choice.why
    assert "qform is used" in choice.why


def test_no_form_at_all_is_nibabels_guess_and_says_so() -> None:
    made = header()
    choice = choose_affine(made)
    assert choice.source == "pixdim"
    np.testing.assert_allclose(choice.affine, made.get_best_affine())
    assert choice.why.startswith("geometry: ") and "check left and right" in choice.why


def test_no_form_and_no_voxel_size_is_refused() -> None:
    made = header()
    made["pixdim"][2] = 0
    with pytest.raises(ImageError, match="no usable geometry"):
        choose_affine(made)


def test_a_singular_sform_alone_falls_to_pixdim_with_both_remarks() -> None:
    made = header(1, 0)
    made["srow_z"] = 0
    choice = choose_affine(made)
    assert choice.source == "pixdim"
    sform, guess = choice.why.split("; ")
    assert "sform is unusable" in sform
    assert guess.startswith("geometry: the header gives voxel sizes but no orientation")


def test_a_zero_voxel_size_makes_the_qform_unusable_but_not_the_sform() -> None:
    made = header(1, 1)
    made["pixdim"][3] = 0
    choice = choose_affine(made)
    assert choice.source == "sform"
    np.testing.assert_allclose(choice.affine, A, atol=1e-4)
    assert "qform is unusable" in choice.why


def test_negative_voxel_sizes_are_mended_as_nibabel_does(tmp_path: Path) -> None:
    made = header(0, 1)
    made["pixdim"][1] *= -1
    choice = choose_affine(made)
    np.testing.assert_allclose(choice.affine, A, atol=1e-4)
    assert "negative voxel sizes" in choice.why
    np.testing.assert_allclose(
        choice.affine, nib.load(save(made, tmp_path / "n.nii")).affine, atol=1e-4
    )


def test_qfac_zero_counts_as_one(tmp_path: Path) -> None:
    made = header(0, 1)
    made["pixdim"][0] = 0
    choice = choose_affine(made)
    np.testing.assert_allclose(choice.affine, A, atol=1e-4)
    np.testing.assert_allclose(witness(save(made, tmp_path / "q.nii")), A, atol=1e-4)


def test_a_quaternion_a_little_too_long_is_scaled_as_the_standard_says(tmp_path: Path) -> None:
    made = header(0, 1)
    made["quatern_b"], made["quatern_c"], made["quatern_d"] = 0.6008, 0.8003, 0.0
    path = save(made, tmp_path / "long.nii")
    with pytest.raises(ValueError, match="w2 should be positive"):
        nib.load(path)
    choice = choose_affine(made)
    assert choice.source == "qform"
    assert "scaled to 1" in choice.why
    np.testing.assert_allclose(choice.affine, witness(path), atol=1e-3)
    # Results are written with the mended header, or nobody could open them.
    np.testing.assert_allclose(read_header(path).get_qform(), choice.affine, atol=1e-3)


def test_a_quaternion_that_is_no_rotation_is_not_used(tmp_path: Path) -> None:
    made = header(0, 1)
    made["quatern_b"] = 3
    choice = choose_affine(made)
    assert choice.source == "pixdim"
    assert "no rotation" in choice.why
    kept = read_header(save(made, tmp_path / "bad.nii"))
    np.testing.assert_allclose(kept.get_best_affine(), choice.affine)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e3), ("micron", 1e-3)])
def test_other_units_are_scaled_to_mm(unit: str, factor: float, tmp_path: Path) -> None:
    small = np.diag([1 / factor, 1 / factor, 1 / factor, 1.0]) @ A
    made = header(1, 1, s=small, q=small)
    made.set_xyzt_units(unit)
    choice = choose_affine(made)
    np.testing.assert_allclose(choice.affine, A, rtol=1e-5)
    np.testing.assert_allclose(
        choice.affine, witness(save(made, tmp_path / "u.nii")), rtol=1e-4, atol=1e-4
    )
    assert "scaled to mm" in choice.why


def test_shear_is_kept_where_the_sform_has_it() -> None:
    tilted = A.copy()
    tilted[1, 2] = 0.7
    choice = choose_affine(header(1, 0, s=tilted))
    np.testing.assert_allclose(choice.affine, tilted, atol=1e-4)


@settings(max_examples=40)
@given(
    st.tuples(*[st.floats(-1, 1, width=32)] * 4).filter(lambda q: np.linalg.norm(q) > 0.2),
    st.tuples(*[st.floats(0.25, 9, width=32)] * 3),
    st.tuples(*[st.floats(-400, 400, width=32)] * 3),
    st.tuples(*[st.booleans()] * 3),
    st.booleans(),
)
def test_any_rotation_and_flip_is_where_simpleitk_sees_it(
    tmp_path_factory: pytest.TempPathFactory,
    quaternion: tuple[float, ...],
    sizes: tuple[float, ...],
    origin: tuple[float, ...],
    flips: tuple[bool, ...],
    by_qform: bool,
) -> None:
    affine = np.eye(4)
    rotation = nib.quaternions.quat2mat(np.array(quaternion) / np.linalg.norm(quaternion))
    affine[:3, :3] = rotation * np.where(flips, -1.0, 1.0) * np.array(sizes)
    affine[:3, 3] = origin
    made = header(0 if by_qform else 1, 1 if by_qform else 0, s=affine, q=affine)
    path = save(made, tmp_path_factory.getbasetemp() / "any.nii")
    choice = choose_affine(read_header(path))
    np.testing.assert_allclose(choice.affine, affine, atol=2e-3)
    np.testing.assert_allclose(choice.affine, witness(path), atol=2e-3)


def test_choosing_does_not_change_the_header() -> None:
    made = header(0, 1)
    made["pixdim"][1] *= -1
    made["quatern_b"] = 1.001
    before = made.binaryblock
    choose_affine(made)
    assert made.binaryblock == before


def test_a_sound_header_is_read_byte_for_byte(tmp_path: Path) -> None:
    made = header(1, 1)
    made["pixdim"][0] = 0  # nibabel's reader would set it to 1
    path = save(made, tmp_path / "a.nii")
    assert read_header(path).binaryblock == path.read_bytes()[:348]


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("header_class", [nib.Nifti1Header, nib.Nifti2Header])
def test_both_versions_and_both_byte_orders(
    header_class: type[nib.Nifti1Header], endianness: str, tmp_path: Path
) -> None:
    made = header_class(endianness=endianness)
    made.set_data_dtype(np.dtype("i2").newbyteorder(endianness))
    made.set_data_shape(SHAPE)
    made.set_sform(A, 1)
    image_class = nib.Nifti2Image if header_class is nib.Nifti2Header else nib.Nifti1Image
    voxels = np.arange(120, dtype=np.int16).reshape(SHAPE)
    nib.save(image_class(voxels, None, made), tmp_path / "a.nii.gz")
    read = read_voxels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read.stored, voxels)
    np.testing.assert_allclose(read.choice.affine, A, atol=1e-4)


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    path = save(header(1, 1), tmp_path / "plain.nii")
    (tmp_path / "squeezed.nii").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "plain.nii.gz").write_bytes(path.read_bytes())
    for name in ("squeezed.nii", "plain.nii.gz"):
        np.testing.assert_array_equal(read_voxels(tmp_path / name).stored, read_voxels(path).stored)


def test_real_scans_lie_where_simpleitk_sees_them(shared_data: Path) -> None:
    paths = [
        *shared_data.glob("ct/*/*.nii.gz"),
        shared_data / "odd/CT_pitch_oblique.nii.gz",
        *shared_data.glob("dicom/*.nii.gz"),
        *sorted(shared_data.glob("openkbp_head_neck/imagesTr/*"))[:4],
        *sorted(shared_data.glob("msd_hippocampus/imagesTr/*"))[:4],
    ]
    assert len(paths) > 15
    for path in paths:
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        last = [float(size - 1) for size in reader.GetSize()]
        image = sitk.Image([1, 1, 1], sitk.sitkUInt8)
        image.SetOrigin(reader.GetOrigin())
        image.SetSpacing(reader.GetSpacing())
        image.SetDirection(reader.GetDirection())
        choice = choose_affine(read_header(path))
        for index in ([0.0, 0.0, 0.0], last, [last[0], 0.0, 0.0], [0.0, last[1], 0.0]):
            lps = image.TransformContinuousIndexToPhysicalPoint(index)
            np.testing.assert_allclose(
                (choice.affine @ [*index, 1.0])[:3],
                np.array(lps) * [-1, -1, 1],
                atol=5e-3,
                err_msg=str(path),
            )


def test_the_sarcoma_scans_have_a_qform_only(shared_data: Path) -> None:
    for path in shared_data.glob("ct/sarcoma_*/*.nii.gz"):
        assert choose_affine(read_header(path)).source == "qform"
