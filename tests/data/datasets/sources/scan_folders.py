"""Folders of scans and labels as people have them."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from gridgate.data.datasets.importing.label_names import numbered
from gridgate.data.datasets.importing.pairs.pairing import pair_by_patterns, settle_unpaired
from gridgate.data.datasets.importing.pairs.patterns import Listing
from gridgate.data.datasets.importing.source import Source
from gridgate.data.datasets.sources.folder import folder_source, labels_of

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])
NAMES = ("Müller 01", "p.2", "case 3")


def nifti(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return path


def ct(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, (6, 5, 4)).astype(np.int16)


def labels(*values: int) -> np.ndarray:
    array = np.zeros((6, 5, 4), np.uint8)
    for place, value in enumerate(values):
        array[place] = value
    return array


def scans(folder: Path, names: tuple[str, ...] = NAMES) -> Path:
    for seed, name in enumerate(names):
        nifti(folder / "img" / f"{name} CT.nii.gz", ct(seed))
        nifti(folder / "seg" / f"{name} RTSS.nii.gz", labels(1, 2))
    return folder


def source(
    folder: Path,
    images: list[str] | str = "img/* CT.nii.gz",
    maps: str | None = "seg/* RTSS.nii.gz",
    given: dict[str, int] | None = None,
    masks: dict[str, str] | None = None,
    dataset: Path | None = None,
) -> Source:
    listing = Listing(folder, [dataset] if dataset else [])
    images = [images] if isinstance(images, str) else images
    pairing, _ = settle_unpaired(pair_by_patterns(listing, images, maps, masks), skip=False)
    pairing, found = labels_of(pairing, given)
    return folder_source(pairing, numbered(found))


def seg_nrrd(path: Path, array: np.ndarray, names: dict[int, str]) -> Path:
    """As 3D Slicer writes it, by SimpleITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array.transpose(2, 1, 0))
    image.SetSpacing([0.8, 0.8, 2.5])
    for index, (value, name) in enumerate(names.items()):
        image.SetMetaData(f"Segment{index}_Name", name)
        image.SetMetaData(f"Segment{index}_LabelValue", str(value))
        image.SetMetaData(f"Segment{index}_Layer", "0")
    sitk.WriteImage(image, str(path), True)
    return path


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and path.name != "lock"
    }
