"""Predictions on disk: in the scan's own grid for nibabel and for SimpleITK."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from gridgate.data.geometry.grids import Grid, same_grid
from gridgate.data.images.reading import Image, read_image, read_labels
from gridgate.data.images.writing import (
    smallest_unsigned,
    write_image,
    write_labels,
    write_probabilities,
)

A = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])
SHAPE = (5, 6, 7)


def scan(path: Path, shape: tuple[int, ...] = SHAPE, **codes: int) -> Image:
    image = nib.Nifti1Image(np.ones(shape, np.int16), A)
    image.set_sform(A, codes.get("sform", 1))
    image.set_qform(A, codes.get("qform", 1))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return read_image(path)


def assert_same_forms(path: Path, like: Path) -> None:
    """What nibabel and SimpleITK read must be the scan's; SimpleITK reads NIfTI-1 only."""
    one, other = nib.load(path), nib.load(like)
    assert one.shape == other.shape[:3]
    for form in ("get_sform", "get_qform"):
        (affine, code), (expected, expected_code) = (
            getattr(each, form)(coded=True) for each in (one, other)
        )
        assert code == expected_code
        np.testing.assert_array_equal(affine, expected)
    assert one.header.get_xyzt_units() == other.header.get_xyzt_units()
    np.testing.assert_array_equal(one.affine, other.affine)
    if isinstance(other, nib.Nifti2Image):
        return
    a, b = (sitk.ReadImage(str(each)) for each in (path, like))
    assert a.GetSize() == b.GetSize()[:3]
    assert a.GetSpacing() == b.GetSpacing()[:3]
    assert a.GetOrigin() == b.GetOrigin()[:3]
    assert a.GetDirection() == b.GetDirection()


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (2, 0), (0, 1), (0, 0), (4, 2)])
def test_forms_codes_and_units_are_the_scans(sform: int, qform: int, tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz", sform=sform, qform=qform)
    write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, int), like=like)
    assert_same_forms(tmp_path / "out.nii.gz", like.path)


def test_forms_that_disagree_stay_so(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones(SHAPE, np.int16), A)
    other = A.copy()
    other[:3, 3] += 9
    other[0, 1] = 0.3  # shear, which a recomputed qform would lose
    image.set_sform(other, 2)
    image.set_qform(A, 1)
    nib.save(image, tmp_path / "scan.nii")
    like = read_image(tmp_path / "scan.nii")
    assert "disagree" in like.notes[0]
    write_labels(tmp_path / "out.nii", np.ones(SHAPE, int), like=like)
    assert_same_forms(tmp_path / "out.nii", like.path)
    assert same_grid(read_labels(tmp_path / "out.nii").grid, like.grid, tolerance_mm=0)


def test_real_scans_keep_their_forms(shared_data: Path, tmp_path: Path) -> None:
    for name in (
        "ct/sarcoma_002/CT_image.nii.gz",
        "ct/totalsegmentator_3mm/ct.nii.gz",
        "odd/CT_pitch_oblique.nii.gz",
        "openkbp_head_neck/imagesTr/okbp_017.nii.gz",
        "msd_hippocampus/imagesTr/hippocampus_001.nii.gz",
        "dicom/abdomen_20_slices_labels_117.nii.gz",
    ):
        like = read_image(shared_data / name)
        labels = (like.array > like.array.mean()).astype(np.int64)
        out = tmp_path / Path(name).name
        write_labels(out, labels, like=like)
        assert_same_forms(out, shared_data / name)
        np.testing.assert_array_equal(read_labels(out).array, labels)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_scan_of_another_format_gives_its_affine_to_both_forms(name: str, tmp_path: Path) -> None:
    image = sitk.Image(list(SHAPE), sitk.sitkInt16)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10, 20, -300))
    image.SetDirection(nib.eulerangles.euler2mat(x=0.3, y=0.1, z=-0.2).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / name))
    like = read_image(tmp_path / name)
    write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, np.uint8), like=like)
    written = nib.load(tmp_path / "out.nii.gz")
    for affine, code in (written.get_sform(coded=True), written.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(affine, like.grid.affine, atol=1e-4)
    assert written.header.get_xyzt_units()[0] == "mm"
    again = sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    np.testing.assert_allclose(again.GetOrigin(), image.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(again.GetSpacing(), image.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(again.GetDirection(), image.GetDirection(), atol=1e-6)


def test_a_sheared_grid_without_header_speaks_through_the_sform(tmp_path: Path) -> None:
    tilted = A.copy()
    tilted[1, 2] = 0.7
    like = Image(
        np.zeros(SHAPE, np.float32), Grid(SHAPE, tilted), tmp_path / "tilted.nrrd", None, ()
    )
    write_labels(tmp_path / "out.nii", np.ones(SHAPE, int), like=like)
    written = nib.load(tmp_path / "out.nii")
    assert (int(written.header["sform_code"]), int(written.header["qform_code"])) == (1, 0)
    np.testing.assert_allclose(written.affine, tilted, atol=1e-4)
    np.testing.assert_allclose(written.header.get_zooms(), like.grid.spacing, atol=1e-5)


@settings(max_examples=40)
@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.integers(0, 70000),
    st.sampled_from(["C", "F"]),
    st.sampled_from([np.uint8, np.int16, np.int64, bool]),
)
def test_labels_come_back_as_they_went(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    highest: int,
    order: str,
    dtype: type,
) -> None:
    like = scan(tmp_path_factory.getbasetemp() / "scan.nii", shape)
    highest = min(highest, 1 if dtype is bool else np.iinfo(dtype).max)
    labels = np.random.default_rng(0).integers(0, highest + 1, shape)
    labels.flat[0] = highest
    out = tmp_path_factory.getbasetemp() / "out.nii.gz"
    write_labels(out, np.asarray(labels.astype(dtype), order=order), like=like)  # type: ignore[call-overload]
    raw = nib.load(out)
    assert raw.get_data_dtype() == smallest_unsigned(highest)
    np.testing.assert_array_equal(np.asarray(raw.dataobj), labels)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(out))).T, labels)


def test_nothing_of_the_scans_intensities_stays_in_the_header(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full(SHAPE, 3, np.int16), A)
    image.header["cal_max"], image.header["cal_min"] = 3000, -1000
    image.header.set_intent("vector")
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"PATIENT^NAME"))
    nib.save(image, tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[112:120] = np.array([2.0, -1024.0], dtype="<f4").tobytes()
    (tmp_path / "scan.nii").write_bytes(bytes(content))
    like = read_image(tmp_path / "scan.nii")
    assert like.array[0, 0, 0] == 6 - 1024
    write_labels(tmp_path / "out.nii", np.ones(SHAPE, int), like=like)
    raw = (tmp_path / "out.nii").read_bytes()
    assert np.frombuffer(raw[108:120], "<f4").tolist() == [
        352,
        1,
        0,
    ]  # vox_offset, scl_slope, scl_inter
    assert np.frombuffer(raw[124:132], "<f4").tolist() == [0, 0]  # cal_max, cal_min
    assert np.frombuffer(raw[68:70], "<i2")[0] == 0  # intent_code
    assert b"PATIENT" not in raw
    assert len(raw) == 352 + np.prod(SHAPE)


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_and_nifti_2_scans(image_class: type[nib.Nifti1Image], tmp_path: Path) -> None:
    header = image_class.header_class(endianness=">")
    header.set_data_dtype(">i2")
    header.set_sform(A, 2)
    header.set_qform(A, 1)
    nib.save(image_class(np.ones(SHAPE, np.int16), None, header), tmp_path / "scan.nii")
    like = read_image(tmp_path / "scan.nii")
    write_labels(tmp_path / "out.nii", np.full(SHAPE, 300), like=like)
    assert_same_forms(tmp_path / "out.nii", like.path)
    assert type(nib.load(tmp_path / "out.nii")) is image_class
    np.testing.assert_array_equal(read_labels(tmp_path / "out.nii").array, 300)


def test_a_scan_with_a_trailing_axis(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz", (*SHAPE, 1))
    write_labels(tmp_path / "out.nii.gz", np.ones(SHAPE, int), like=like)
    written = nib.load(tmp_path / "out.nii.gz")
    assert written.shape == SHAPE
    np.testing.assert_array_equal(written.affine, nib.load(like.path).affine)


def test_a_result_in_the_mended_grid_of_a_scan_nibabel_refuses(tmp_path: Path) -> None:
    scan(tmp_path / "scan.nii", sform=0)
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[256:268] = np.array(
        [0.6008, 0.8003, 0.0], dtype="<f4"
    ).tobytes()  # quaternion longer than 1
    (tmp_path / "scan.nii").write_bytes(bytes(content))
    with pytest.raises(ValueError, match="w2"):
        nib.load(tmp_path / "scan.nii")
    like = read_image(tmp_path / "scan.nii")
    assert like.notes
    write_labels(tmp_path / "out.nii", np.ones(SHAPE, int), like=like)
    np.testing.assert_allclose(nib.load(tmp_path / "out.nii").affine, like.grid.affine, atol=1e-4)


def test_probabilities_are_read_as_0_to_1_by_others(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    shares = (np.arange(np.prod(SHAPE)) % 256).reshape(SHAPE).astype(np.uint8)
    shares[0, 0, :2] = [0, 255]
    write_probabilities(tmp_path / "p.nii.gz", shares, like=like)
    by_nibabel = nib.load(tmp_path / "p.nii.gz")
    assert by_nibabel.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(by_nibabel.dataobj.get_unscaled(), shares)
    by_itk = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "p.nii.gz"), sitk.sitkFloat64)).T
    for found in (
        by_nibabel.get_fdata(),
        by_itk,
        read_image(tmp_path / "p.nii.gz", keep_integers=True).array,
    ):
        np.testing.assert_allclose(found, shares / 255, atol=1e-6)
    assert_same_forms(tmp_path / "p.nii.gz", tmp_path / "scan.nii.gz")


def test_images_are_float32(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    values = np.random.default_rng(0).normal(size=SHAPE)
    write_image(tmp_path / "out.nii.gz", values, like=like)
    assert nib.load(tmp_path / "out.nii.gz").get_data_dtype() == np.float32
    np.testing.assert_array_equal(
        read_image(tmp_path / "out.nii.gz").array, values.astype(np.float32)
    )
    assert_same_forms(tmp_path / "out.nii.gz", like.path)


def test_one_input_gives_one_file_byte_for_byte(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    for name in ("a.nii.gz", "b.nii.gz"):
        write_labels(tmp_path / name, np.ones(SHAPE, int), like=like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_folders_on_the_way_are_made_and_the_umask_holds(tmp_path: Path) -> None:
    like = scan(tmp_path / "scan.nii.gz")
    out = tmp_path / "new" / "folder" / "out.nii.gz"
    before = os.umask(0o027)
    try:
        write_labels(out, np.ones(SHAPE, int), like=like)
    finally:
        os.umask(before)
    assert out.stat().st_mode & 0o777 == 0o640


def test_smallest_unsigned() -> None:
    for maximum, dtype in ((0, "u1"), (255, "u1"), (256, "u2"), (65536, "u4"), (2**32, "u8")):
        assert smallest_unsigned(maximum) == np.dtype(dtype)
    for impossible in (-1, 2**64):
        with pytest.raises(ValueError, match="no unsigned"):
            smallest_unsigned(impossible)


@pytest.mark.parametrize("wart", ["metres", "singular sform"])
def test_a_scan_that_nibabel_places_otherwise_keeps_its_forms(wart: str, tmp_path: Path) -> None:
    scan(tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    if wart == "metres":
        content[123] = content[123] & ~7 | 1  # xyzt_units
    else:
        content[312:328] = bytes(16)  # srow_z
    (tmp_path / "scan.nii").write_bytes(bytes(content))
    like = read_image(tmp_path / "scan.nii")
    assert like.notes
    assert not np.allclose(like.grid.affine, nib.load(like.path).affine)
    write_labels(tmp_path / "out.nii", np.ones(SHAPE, int), like=like)
    assert_same_forms(tmp_path / "out.nii", like.path)
    assert same_grid(read_labels(tmp_path / "out.nii").grid, like.grid, tolerance_mm=0)
