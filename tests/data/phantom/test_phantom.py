"""The phantom: the same bits each time, organs in their places, files all readers agree on."""

import gzip
import json
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.affines import apply_affine
from scipy import ndimage

from gridgate.data.errors import ConfigError, DatasetError, OutputError
from gridgate.data.output_folder import OutputFolder
from gridgate.data.phantom.dataset import write_phantom_dataset, write_phantom_scans
from gridgate.data.phantom.phantom import PHANTOM_LABELS, Phantom, make_phantom

ORGANS = {name: value for name, value in PHANTOM_LABELS.items() if value}
# Seven seeds, of which some draw flipped and oblique grids.
SEEDS = range(7)
COARSE = (5.0, 5.0, 6.0)


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [make_phantom(seed) for seed in SEEDS]


def centres(
    labels: np.ndarray, affine: np.ndarray, values: dict[str, int]
) -> dict[str, np.ndarray]:
    """Centroid of each label in world mm (RAS+)."""
    return {
        name: apply_affine(affine, np.argwhere(labels == value).mean(axis=0))
        for name, value in values.items()
    }


def assert_laid_out_like_a_patient(centre: dict[str, np.ndarray]) -> None:
    """Relations that hold in every patient; RAS+ mm: right is +x, front +y, head +z."""
    right, front, up = range(3)
    assert centre["liver"][right] > centre["spleen"][right] + 80
    assert centre["right_kidney"][right] > centre["aorta"][right] + 20
    assert centre["aorta"][right] > centre["left_kidney"][right] + 20
    assert centre["pancreas"][front] > centre["left_kidney"][front] + 10
    assert centre["pancreas"][front] > centre["right_kidney"][front] + 10
    assert centre["liver"][front] > centre["spleen"][front]
    assert centre["liver"][up] > centre["right_kidney"][up]
    assert centre["spleen"][up] > centre["left_kidney"][up]


def test_same_seed_same_bits() -> None:
    first, second, other = (make_phantom(seed, spacing=COARSE) for seed in (3, 3, 4))
    assert first.image.tobytes() == second.image.tobytes()
    assert first.labels.tobytes() == second.labels.tobytes()
    assert first.grid.affine.tobytes() == second.grid.affine.tobytes()
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)


def test_default_volume(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        assert phantom.image.dtype == np.float32 and phantom.labels.dtype == np.uint8
        assert phantom.image.shape == phantom.labels.shape == tuple(phantom.grid.shape)
        spacing = nib.affines.voxel_sizes(phantom.grid.affine)
        assert np.all((spacing > 2) & (spacing < 5))
        view = spacing * phantom.image.shape
        assert np.all(view > (260, 210, 195)) and np.all(view < (345, 275, 260))
    assert len({nib.aff2axcodes(p.grid.affine) for p in phantoms}) >= 3, "orientations vary"


def test_organs_lie_as_in_a_patient(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        assert set(np.unique(phantom.labels)) == set(PHANTOM_LABELS.values())
        assert_laid_out_like_a_patient(centres(phantom.labels, phantom.grid.affine, ORGANS))


def test_a_real_patient_is_laid_out_so_too(shared_data: Path) -> None:
    """Holds the relations above, left and right among them, to a real scan that we did not make."""
    scan = nib.load(shared_data / "ct" / "totalsegmentator_3mm" / "labels_117.nii.gz")
    values = {
        "spleen": 1,
        "right_kidney": 2,
        "left_kidney": 3,
        "liver": 5,
        "pancreas": 7,
        "aorta": 52,
    }
    assert_laid_out_like_a_patient(centres(np.asarray(scan.dataobj), scan.affine, values))


def test_aorta_is_in_front_and_left_of_the_spine(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        affine = phantom.grid.affine
        aorta = apply_affine(affine, np.argwhere(phantom.labels == PHANTOM_LABELS["aorta"]))
        bone = apply_affine(affine, np.argwhere(ndimage.uniform_filter(phantom.image, 3) > 260))
        spine = bone[np.abs(bone[:, 0] - aorta[:, 0].mean()) < 40]
        spine = spine[(spine[:, 1] < aorta[:, 1].mean()) & (spine[:, 1] > aorta[:, 1].mean() - 50)]
        assert len(spine) > 300
        assert aorta[:, 0].mean() < spine[:, 0].mean() - 4
        assert aorta[:, 1].mean() > spine[:, 1].mean() + 15


@pytest.mark.parametrize(
    ("name", "millilitres", "hu"),
    [
        ("liver", (800, 2200), (95, 125)),
        ("spleen", (80, 450), (105, 145)),
        ("right_kidney", (80, 280), (145, 190)),
        ("left_kidney", (80, 280), (145, 190)),
        ("pancreas", (40, 160), (60, 95)),
        ("aorta", (40, 130), (165, 235)),
    ],
)
def test_sizes_and_hu(
    phantoms: list[Phantom], name: str, millilitres: tuple[float, float], hu: tuple[float, float]
) -> None:
    volumes, medians = [], []
    for phantom in phantoms:
        organ = phantom.labels == PHANTOM_LABELS[name]
        volumes.append(organ.sum() * abs(np.linalg.det(phantom.grid.affine[:3, :3])) / 1000)
        medians.append(np.median(phantom.image[organ]))
        parts, count = ndimage.label(organ)
        assert np.bincount(parts[organ]).max() > 0.97 * organ.sum(), f"{name} is in {count} parts"
    assert min(volumes) >= millilitres[0] and max(volumes) <= millilitres[1]
    assert min(medians) >= hu[0] and max(medians) <= hu[1]
    assert np.ptp(volumes) > 0.1 * np.mean(volumes), "cases differ in size"


def test_looks_like_ct(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        image = phantom.image
        assert image.min() >= -1024 and 400 < image.max() < 1500
        assert 0.2 < np.mean(image < -800) < 0.75  # air and lung
        assert 0.1 < np.mean((image > -150) & (image < -50)) < 0.5  # fat
        liver = ndimage.binary_erosion(phantom.labels == PHANTOM_LABELS["liver"], iterations=3)
        assert 8 < image[liver].std() < 25  # noise, texture and vessels


@pytest.mark.parametrize("orientation", ["LPS", "RPI", "PIR", "SLA"])
def test_orientation_turns_the_array_and_not_the_patient(orientation: str) -> None:
    spacing = {"R": 5.0, "L": 5.0, "A": 4.5, "P": 4.5, "S": 6.0, "I": 6.0}
    straight = make_phantom(5, spacing=(5.0, 4.5, 6.0), orientation="RAS", oblique_degrees=7)
    x, y, z = (spacing[code] for code in orientation)
    turned = make_phantom(5, spacing=(x, y, z), orientation=orientation, oblique_degrees=7)
    assert "".join(nib.aff2axcodes(turned.grid.affine)) == orientation
    np.testing.assert_allclose(nib.affines.voxel_sizes(turned.grid.affine), (x, y, z))
    for name in ("image", "labels"):
        back = nib.as_closest_canonical(nib.Nifti1Image(getattr(turned, name), turned.grid.affine))
        np.testing.assert_allclose(back.affine, straight.grid.affine, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(back.dataobj), getattr(straight, name))


def test_an_oblique_finer_grid_shows_the_same_patient() -> None:
    straight = make_phantom(6, spacing=(3.0, 3.0, 3.5), orientation="RAS", oblique_degrees=0)
    tilted = make_phantom(6, spacing=(2.5, 2.8, 3.0), orientation="LPS", oblique_degrees=10)
    cosines = tilted.grid.affine[:3, :3] / nib.affines.voxel_sizes(tilted.grid.affine)
    np.testing.assert_allclose(cosines.T @ cosines, np.eye(3), atol=1e-9)
    assert np.degrees(
        np.arccos((np.trace(cosines @ np.diag([-1, -1, 1])) - 1) / 2)
    ) == pytest.approx(10, abs=1e-4)
    to_straight = np.linalg.inv(straight.grid.affine) @ tilted.grid.affine
    # The nearest voxel of the straight grid, for each voxel of the tilted one.
    seen = ndimage.affine_transform(
        straight.labels, to_straight, output_shape=tilted.labels.shape, order=0
    )
    for name, value in ORGANS.items():
        a, b = seen == value, tilted.labels == value
        # Where the tilted grid leaves the straight one there is nothing to compare.
        inside = ndimage.affine_transform(
            np.ones(straight.labels.shape, np.uint8), to_straight, output_shape=b.shape, order=0
        ).astype(bool)
        assert 2 * (a & b & inside).sum() / ((a & inside).sum() + (b & inside).sum()) > 0.88, name


def test_shape_and_spacing_as_asked() -> None:
    both = make_phantom(1, shape=(20, 30, 10), spacing=(7.0, 6.0, 9.0), orientation="SPL")
    assert both.image.shape == (20, 30, 10)
    np.testing.assert_allclose(nib.affines.voxel_sizes(both.grid.affine), (7.0, 6.0, 9.0))
    shaped = make_phantom(1, shape=(48, 40, 32))
    assert shaped.image.shape == (48, 40, 32)
    assert set(np.unique(shaped.labels)) == set(PHANTOM_LABELS.values())
    assert make_phantom(1, shape=(1, 1, 1)).image.shape == (1, 1, 1)


def test_slabs_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make_phantom(2, spacing=COARSE, oblique_degrees=8)
    monkeypatch.setattr("gridgate.data.phantom.phantom._SLAB_VOXELS", 9_000)
    slabs = make_phantom(2, spacing=COARSE, oblique_degrees=8)
    # float32 coordinates may differ in their last bit between slabs.
    assert np.mean(whole.labels != slabs.labels) < 1e-4
    assert np.mean(np.abs(whole.image - slabs.image) > 0.1) < 1e-3


@pytest.mark.parametrize(
    ("seed", "options", "said"),
    [
        (-1, {}, "seed"),
        (0, {"shape": (0, 5, 5)}, "shape"),
        (0, {"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        (0, {"orientation": "LRS"}, "orientation"),
        (0, {"orientation": "LP"}, "orientation"),
        (0, {"oblique_degrees": 60}, "oblique_degrees"),
    ],
)
def test_impossible_grids_are_refused(seed: int, options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_phantom(seed, **options)


def test_dataset_is_decathlon_and_idempotent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)  # a bar is for a terminal
    root = write_phantom_dataset(tmp_path / "phantom", cases=2, seed=40, test_cases=1)
    assert "3/3" in capsys.readouterr().err
    listing = json.loads((root / "dataset.json").read_text())
    assert listing["channel_names"] == {"0": "CT"} and listing["labels"] == PHANTOM_LABELS
    assert listing["numTraining"] == 2 and listing["file_ending"] == ".nii.gz"
    assert listing["licence"] == "CC0 (synthetic)" and listing["name"] and listing["description"]
    files = {
        str(p.relative_to(root)): p.stat().st_mtime_ns
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }
    assert set(files) == {
        "dataset.json",
        "imagesTr/phantom_000.nii.gz",
        "imagesTr/phantom_001.nii.gz",
        "imagesTs/phantom_002.nii.gz",
        "labelsTr/phantom_000.nii.gz",
        "labelsTr/phantom_001.nii.gz",
    }
    write_phantom_dataset(root, cases=2, seed=40, test_cases=1)
    assert files == {
        str(p.relative_to(root)): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()
    }
    with pytest.raises(DatasetError, match="another dataset"):
        write_phantom_dataset(root, cases=3, seed=40)

    expected = make_phantom(41)
    scan = nib.load(root / "imagesTr/phantom_001.nii.gz")
    assert scan.get_data_dtype() == np.int16
    assert np.abs(np.asarray(scan.dataobj) - expected.image).max() <= 0.501
    assert scan.header["sform_code"] == scan.header["qform_code"] == 1
    assert scan.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(scan.header.get_qform(), scan.header.get_sform(), atol=1e-3)
    labels = nib.load(root / "labelsTr/phantom_001.nii.gz")
    assert labels.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(labels.dataobj), expected.labels)
    assert_same_for_simpleitk(root / "imagesTr/phantom_001.nii.gz")


def assert_same_for_simpleitk(path: Path) -> None:
    """Nibabel and SimpleITK see one geometry and the same voxels; ITK's world is LPS."""
    ours, other = nib.load(path), sitk.ReadImage(str(path))
    assert other.GetSize() == ours.shape
    matrix = np.array(other.GetDirection()).reshape(3, 3) * np.array(other.GetSpacing())
    lps = np.diag([-1.0, -1.0, 1.0])
    np.testing.assert_allclose(lps @ matrix, ours.affine[:3, :3], atol=1e-4)
    np.testing.assert_allclose(lps @ np.array(other.GetOrigin()), ours.affine[:3, 3], atol=1e-2)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(other).T, np.asarray(ours.dataobj))


def test_a_stopped_run_is_done_again(tmp_path: Path) -> None:
    with OutputFolder(tmp_path) as output:  # a longer run that was stopped
        output.write("imagesTr/phantom_017.nii.gz", lambda stream: stream.write(b"a phantom"))
    write_phantom_dataset(tmp_path, cases=1, progress=False)
    assert [p.name for p in (tmp_path / "imagesTr").iterdir()] == ["phantom_000.nii.gz"]


def test_a_dataset_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text('{"name": "mine"}')
    with pytest.raises(DatasetError, match="another dataset"):
        write_phantom_dataset(tmp_path, cases=1)
    assert [p.name for p in tmp_path.iterdir()] == ["dataset.json"]
    with pytest.raises(DatasetError, match="0 cases"):
        write_phantom_dataset(tmp_path / "new", cases=0)


def test_scans_to_run_on(tmp_path: Path) -> None:
    folder = write_phantom_scans(tmp_path / "scans", cases=4, seed=1000)
    paths = sorted(folder.iterdir())
    assert [p.name for p in paths] == [
        "broken_scan.nii.gz",
        *(f"scan_{1000 + i}.nii.gz" for i in range(4)),
    ]
    orientations = set()
    for path in paths[1:]:
        assert_same_for_simpleitk(path)
        orientations.add(nib.aff2axcodes(nib.load(path).affine))
    assert len(orientations) == 4
    before = {p: p.stat().st_mtime_ns for p in paths}
    write_phantom_scans(folder, cases=4, seed=1000)
    assert before == {p: p.stat().st_mtime_ns for p in folder.iterdir()}

    with pytest.raises(EOFError), gzip.open(paths[0]) as stream:
        stream.read()
    with pytest.raises(Exception):  # noqa: B017 - whatever nibabel raises for it, but not a volume
        np.asarray(nib.load(paths[0]).dataobj)
    assert not list(write_phantom_scans(tmp_path / "none", cases=0, broken=False).iterdir())


def test_files_of_somebody_else_stay_when_phantoms_are_written(tmp_path: Path) -> None:
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    theirs = folder / "phantom_001_ours.nii.gz"
    theirs.write_bytes(b"a scan")
    write_phantom_dataset(tmp_path, cases=2, progress=False)
    assert theirs.read_bytes() == b"a scan"
    other = tmp_path / "other" / "labelsTr"
    other.mkdir(parents=True)
    (other / "phantom_000.nii.gz").write_bytes(b"a label")
    with pytest.raises(OutputError, match="not written by Gridgate"):
        write_phantom_dataset(tmp_path / "other", cases=2, progress=False)
    assert (other / "phantom_000.nii.gz").read_bytes() == b"a label"
    assert not list((tmp_path / "other" / "imagesTr").iterdir())
