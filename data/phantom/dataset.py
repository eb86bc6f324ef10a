"""Phantom CTs on disk: a dataset in the Decathlon layout, and a folder of scans to run on."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np

from ..datasets.dataset import write_dataset_json
from ..errors import DatasetError
from ..files import write_atomically
from ..geometry.grids import Grid
from ..output_folder import PRIVATE, OutputFolder
from ..progress import progressed
from .phantom import PHANTOM_LABELS, make_phantom

# Goes up when the phantom's look changes, so that an older dataset is not taken for this one.
_VERSION = 1
# What scanners and converters write; PIR has its sagittal slices along the last axis.
_SCAN_ORIENTATIONS = ("LPS", "RAS", "LAS", "PIR", "RPI", "LAI")
_SCAN_TILTS = (0.0, 0.0, 6.0, 0.0, 0.0, 12.0)


def write_phantom_dataset(
    root: str | os.PathLike[str],
    *,
    cases: int = 20,
    seed: int = 0,
    test_cases: int = 0,
    progress: bool = True,
) -> Path:
    """Write a labelled dataset of phantoms in the Decathlon layout, and return its folder.

    dataset.json is written last, so a folder that has one is finished: called again with the same
    arguments, nothing is done.

    Args:
        root: the dataset's folder, made if need be.
        cases: how many go to imagesTr and labelsTr (int16 HU, uint8), 1 or more; case number i is
            `make_phantom(seed + i)`, so seeds closer than that give datasets that share patients.
        seed: of the first case.
        test_cases: how many more go to imagesTs, without labels.
        progress: show how far it is, on stderr.

    Raises:
        DatasetError: `root` holds another dataset, or a number of cases cannot be.
        OutputError: a file cannot be written.
    """
    root = Path(root)
    if cases < 1 or test_cases < 0:
        raise DatasetError(
            f"{root}: {cases} cases and {test_cases} test cases were asked for; give 1 or more, 0 "
            "or more."
        )
    made_by = f"cases={cases} seed={seed} test_cases={test_cases} version={_VERSION}"
    listing = root / "dataset.json"
    if listing.exists():
        if _made_by(listing) == made_by:
            return root
        raise DatasetError(
            f"{listing} describes another dataset than the phantoms asked for ({made_by}). "
            "Give a new folder, or delete this one if it is not needed."
        )
    _write_cases(root, cases, test_cases, seed, progress)
    write_dataset_json(
        root,
        "Phantom",
        PHANTOM_LABELS,
        ("CT",),
        cases,
        description="Synthetic abdominal CTs; nobody's data, and no model of human anatomy.",
        licence="CC0 (synthetic)",
        phantom=made_by,
    )
    shutil.rmtree(root / PRIVATE, ignore_errors=True)  # a dataset that is whole is not continued
    return root


def _write_cases(root: Path, cases: int, test_cases: int, seed: int, progress: bool) -> None:
    names = [f"phantom_{number:03d}.nii.gz" for number in range(cases + test_cases)]
    images = [
        f"{'imagesTr' if number < cases else 'imagesTs'}/{name}"
        for number, name in enumerate(names)
    ]
    labels = [f"labelsTr/{name}" for name in names[:cases]]
    with OutputFolder(root) as output:
        # Left by a run that was stopped, perhaps with other arguments: not to be taken for cases of
        # this one. Files that somebody else put there stay.
        for folder in ("imagesTr", "labelsTr", "imagesTs"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for stale in (root / folder).glob("phantom_[0-9][0-9][0-9]*.nii.gz"):
                output.remove(f"{folder}/{stale.name}")
        output.refuse_foreign([*images, *labels])
        for number, image in enumerate(progressed(images, len(images), "phantoms", shown=progress)):
            phantom = make_phantom(seed + number)
            output.write(image, partial(_put, _ct(phantom.image, phantom.grid)))
            if number < cases:
                output.write(labels[number], partial(_put, _nifti(phantom.labels, phantom.grid)))


def write_phantom_scans(
    folder: str | os.PathLike[str], *, cases: int = 4, seed: int = 1000, broken: bool = True
) -> Path:
    """Write unlabelled phantom CTs to run a model on, and return their folder.

    `scan_<seed + i>.nii.gz` is `make_phantom(seed + i)` in orientations that vary, permuted and
    oblique ones included; one that is there is kept. `broken` adds `broken_scan.nii.gz`, cut off in
    the middle of its gzip stream as by a copy that failed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(cases):
        path = folder / f"scan_{seed + number}.nii.gz"
        if path.exists():
            continue
        kind = number % len(_SCAN_ORIENTATIONS)
        phantom = make_phantom(
            seed + number, orientation=_SCAN_ORIENTATIONS[kind], oblique_degrees=_SCAN_TILTS[kind]
        )
        write_atomically(path, partial(_put, _ct(phantom.image, phantom.grid)))
    path = folder / "broken_scan.nii.gz"
    if broken and not path.exists():
        phantom = make_phantom(seed + cases)
        content = _ct(phantom.image, phantom.grid)
        write_atomically(path, partial(_put, content[: int(len(content) * 0.6)]))
    return folder


def _made_by(listing: Path) -> object:
    """The arguments that made a phantom dataset; None for any other dataset.json."""
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("phantom") if isinstance(content, dict) else None


def _ct(image: np.ndarray, grid: Grid) -> bytes:
    """A CT file of HU as the whole numbers that scanners give."""
    return _nifti(np.rint(image).clip(-1024, 3071).astype(np.int16), grid)


def _nifti(array: np.ndarray, grid: Grid) -> bytes:
    """The bytes of a .nii.gz with sform and qform."""
    nifti = nib.Nifti1Image(array, grid.affine)
    nifti.set_sform(grid.affine, code=1)
    nifti.set_qform(grid.affine, code=1)
    nifti.header.set_xyzt_units("mm")
    # No time stamp: the same phantom is the same file.
    return gzip.compress(nifti.to_bytes(), compresslevel=1, mtime=0)


def _put(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)
