"""Lengths in other units than mm, and missing voxel sizes: NRRD, MetaImage and NIfTI."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from gridgate.data.errors import ImageError
from gridgate.data.images.formats.nifti_affine import choose_affine
from gridgate.data.images.reading import read_grid, read_image

RAW = np.arange(120, dtype="<i2")
AFFINE = np.array([[-0.8, 0, 0, 100], [0, -0.9, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


def nrrd(path: Path, *lines: str) -> Path:
    head = ["NRRD0005", "type: short", "dimension: 3", "sizes: 6 5 4", "endian: little"]
    content = "\n".join([*head, "encoding: raw", *lines, "", ""])
    path.write_bytes(content.encode() + RAW.tobytes())
    return path


def metaimage(path: Path, *lines: str) -> Path:
    head = ["ObjectType = Image", "NDims = 3", "DimSize = 6 5 4", "ElementType = MET_SHORT"]
    content = "\n".join([*head, *lines, "ElementDataFile = LOCAL", ""])
    path.write_bytes(content.encode() + RAW.tobytes())
    return path


def geometry(factor: float) -> tuple[str, str, str]:
    sizes = [(0.8 / factor, 0, 0), (0, 0.9 / factor, 0), (0, 0, 2.5 / factor)]
    vectors = " ".join("(" + ",".join(f"{n:.9g}" for n in vector) + ")" for vector in sizes)
    origin = ",".join(f"{n / factor:.9g}" for n in (-100, -90, -300))
    return "space: LPS", f"space directions: {vectors}", f"space origin: ({origin})"


@pytest.mark.parametrize(
    ("unit", "apart", "said"),
    [("micron", 50.0, 0.0), ("micron", 50_000.0, 50.0), ("meter", 0.05, 50.0), ("mm", 0.05, 0.0)],
)
def test_how_far_two_forms_are_apart_is_in_mm(unit: str, apart: float, said: float) -> None:
    image = nib.Nifti1Image(np.zeros((6, 5, 4), np.int16), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] += apart
    image.header.set_xyzt_units(unit)
    image.set_sform(AFFINE, 1)
    image.set_qform(moved, 1)
    choice = choose_affine(image.header)
    assert choice.disagree_mm == pytest.approx(said, rel=1e-3)
    assert (f"disagree by up to {said:.4g} mm" in choice.why) == (said > 0)


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("cm", 10), ("um", 1e-3), ("µm", 1e-3), ("m", 1e3), ("meters", 1e3), ("nm", 1e-6)],
)
def test_nrrd_space_units_are_scaled_to_mm_and_noted(
    unit: str, factor: float, tmp_path: Path
) -> None:
    units = f'space units: "{unit}" "{unit}" "{unit}"'
    image = read_image(nrrd(tmp_path / "a.nrrd", *geometry(factor), units))
    np.testing.assert_allclose(image.grid.affine, AFFINE, rtol=1e-6)
    assert len(image.notes) == 1 and "not in mm" in image.notes[0]
    np.testing.assert_allclose(read_grid(tmp_path / "a.nrrd").affine, AFFINE, rtol=1e-6)


@pytest.mark.parametrize("units", ['space units: "mm" "mm" "mm"', 'space units: "" "" ""', "# no"])
def test_nrrd_in_mm_has_no_note(units: str, tmp_path: Path) -> None:
    image = read_image(nrrd(tmp_path / "a.nrrd", *geometry(1), units))
    np.testing.assert_allclose(image.grid.affine, AFFINE)
    assert image.notes == ()


def test_a_unit_for_each_axis(tmp_path: Path) -> None:
    units = 'space units: "mm" "mm" "cm"'
    image = read_image(nrrd(tmp_path / "a.nrrd", *geometry(1), units))
    np.testing.assert_allclose(image.grid.affine, np.diag([1, 1, 10, 1]) @ AFFINE)


def test_an_unknown_unit_is_refused(tmp_path: Path) -> None:
    units = 'space units: "pixel" "pixel" "pixel"'
    with pytest.raises(ImageError, match=r"a\.nrrd: its lengths are in a unit that is not known"):
        read_image(nrrd(tmp_path / "a.nrrd", *geometry(1), units))


def test_nrrd_with_spacings_only(tmp_path: Path) -> None:
    image = read_image(nrrd(tmp_path / "a.nrrd", "spacings: 0.8 0.9 2.5"))
    np.testing.assert_allclose(image.grid.spacing, [0.8, 0.9, 2.5])
    assert any("gives voxel sizes but no directions" in note for note in image.notes)
    image = read_image(
        nrrd(tmp_path / "b.nrrd", "spacings: 0.08 0.09 0.25", 'units: "cm" "cm" "cm"')
    )
    np.testing.assert_allclose(image.grid.spacing, [0.8, 0.9, 2.5])
    assert any("not in mm" in note for note in image.notes)


@pytest.mark.parametrize("line", ["# nothing", "spacings: nan nan nan"])
def test_nrrd_without_any_voxel_size_is_1_mm_with_a_note(line: str, tmp_path: Path) -> None:
    image = read_image(nrrd(tmp_path / "a.nrrd", line))
    np.testing.assert_array_equal(image.grid.spacing, [1, 1, 1])
    assert any(
        note.startswith("geometry: the NRRD file gives no voxel sizes") for note in image.notes
    )


def test_a_voxel_size_of_zero_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.nrrd: .*spacing"):
        read_image(nrrd(tmp_path / "a.nrrd", "spacings: 0.8 0.9 0"))
    with pytest.raises(ImageError, match=r"its ElementSpacing \(4 4 0\) gives no voxel size"):
        read_image(metaimage(tmp_path / "a.mha", "ElementSpacing = 4 4 0"))


def test_metaimage_without_a_voxel_size_is_1_mm_with_a_note(tmp_path: Path) -> None:
    image = read_image(metaimage(tmp_path / "a.mha", "Offset = -100 -90 -300"))
    np.testing.assert_array_equal(image.grid.spacing, [1, 1, 1])
    assert image.notes == (
        "geometry: the MetaImage gives no voxel sizes (ElementSpacing), 1 mm is assumed: check the "
        "spacing",
    )


def test_element_size_in_place_of_element_spacing(tmp_path: Path) -> None:
    image = read_image(metaimage(tmp_path / "a.mha", "ElementSize = 0.8 0.9 2.5"))
    np.testing.assert_allclose(image.grid.spacing, [0.8, 0.9, 2.5])
    assert "ElementSize is used" in image.notes[0]
    both = ("ElementSpacing = 0.8 0.9 2.5", "ElementSize = 0.8 0.9 1")
    image = read_image(metaimage(tmp_path / "b.mha", *both))
    np.testing.assert_allclose(image.grid.spacing, [0.8, 0.9, 2.5])
    assert "differ" in image.notes[0]
    same = ("ElementSpacing = 0.8 0.9 2.5", "ElementSize = 0.80 0.90 2.50")
    assert read_image(metaimage(tmp_path / "c.mha", *same)).notes == ()


def test_metaimage_units_and_signs(tmp_path: Path) -> None:
    lines = ("ElementSpacing = 0.08 0.09 0.25", "Offset = -10 -9 -30", "DistanceUnits = cm")
    image = read_image(metaimage(tmp_path / "a.mha", *lines))
    np.testing.assert_allclose(image.grid.affine, AFFINE)
    assert "not in mm" in image.notes[0]
    image = read_image(metaimage(tmp_path / "b.mha", "ElementSpacing = 0.8 -0.9 2.5"))
    assert image.grid.orientation == "LAS" and "is negative" in image.notes[0]


def test_an_anatomical_orientation_without_a_matrix_is_noted(tmp_path: Path) -> None:
    spacing = "ElementSpacing = 0.8 0.9 2.5"
    image = read_image(metaimage(tmp_path / "a.mha", spacing, "AnatomicalOrientation = RAS"))
    assert image.notes[0].startswith("geometry: ") and "left and right" in image.notes[0]
    matrix = "TransformMatrix = 1 0 0 0 1 0 0 0 1"
    lines = (spacing, matrix, "AnatomicalOrientation = RAI")
    assert read_image(metaimage(tmp_path / "b.mha", *lines)).notes == ()


@pytest.mark.parametrize("code", [4, 5, 6, 7])
def test_a_nifti_unit_that_is_none_is_noted(code: int) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((6, 5, 4))
    header.set_sform(AFFINE, 1)
    header["xyzt_units"] = 8 + code
    choice = choose_affine(header)
    np.testing.assert_allclose(choice.affine, AFFINE, atol=1e-5)
    assert f"no known unit of length ({code}), mm is assumed" in choice.why


def test_voxels_of_a_metre_are_doubted() -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((6, 5, 4))
    header.set_sform(AFFINE, 1)
    header["xyzt_units"] = 1
    choice = choose_affine(header)
    np.testing.assert_allclose(choice.affine[:3], AFFINE[:3] * 1000, rtol=1e-5)
    assert "voxels 2500 mm long: check its unit" in choice.why


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ("left-posterior-superior", False),
        ("right-anterior-superior", False),
        ("3D-left-handed", True),
        ("3D-right-handed", True),
        ("scanner-xyz", True),
    ],
)
def test_an_nrrd_space_that_names_no_patients_axes_is_told(
    space: str, told: bool, tmp_path: Path
) -> None:
    # "left" of a left-handed space is no side of a patient
    _, directions, origin = geometry(1)
    notes = read_image(nrrd(tmp_path / "a.nrrd", f"space: {space}", directions, origin)).notes
    assert any(note.startswith("geometry: ") for note in notes) is told
