"""Phantom CTs on disk: a dataset in the Decathlon layout, and a folder of scans to run on."""

from __future__ import annotations

import gzip
import json
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from ..datasets.dataset import write_dataset_json
from ..errors import DatasetError
from ..files import write_atomically
from ..geometry.grids import Grid
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
        progress: show a line on stderr.

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
    return root


def _write_cases(root: Path, cases: int, test_cases: int, seed: int, progress: bool) -> None:
    for folder in ("imagesTr", "labelsTr", "imagesTs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        # Left by a run that was stopped, perhaps with other arguments: not to be taken for cases of
        # this one.
        for stale in (root / folder).glob("phantom_[0-9][0-9][0-9]*.nii.gz"):
            stale.unlink()
    for number in range(cases + test_cases):
        if progress:
            print(
                f"\rphantom {number + 1}/{cases + test_cases}", end="", file=sys.stderr, flush=True
            )
        phantom = make_phantom(seed + number)
        name = f"phantom_{number:03d}.nii.gz"
        training = number < cases
        _write_ct(
            root / ("imagesTr" if training else "imagesTs") / name, phantom.image, phantom.grid
        )
        if training:
            _write_nifti(root / "labelsTr" / name, phantom.labels, phantom.grid)
    if progress:
        print(file=sys.stderr)


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
        _write_ct(path, phantom.image, phantom.grid)
    path = folder / "broken_scan.nii.gz"
    if broken and not path.exists():
        phantom = make_phantom(seed + cases)
        _write_ct(path, phantom.image, phantom.grid, keep=0.6)
    return folder


def _made_by(listing: Path) -> object:
    """The arguments that made a phantom dataset; None for any other dataset.json."""
    try:
        content = json.loads(listing.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("phantom") if isinstance(content, dict) else None


def _write_ct(path: Path, image: np.ndarray, grid: Grid, *, keep: float = 1.0) -> None:
    """Write HU as the whole numbers that scanners give."""
    _write_nifti(path, np.rint(image).clip(-1024, 3071).astype(np.int16), grid, keep=keep)


def _write_nifti(path: Path, array: np.ndarray, grid: Grid, *, keep: float = 1.0) -> None:
    """Write a .nii.gz with sform and qform, or the first `keep` of its bytes."""
    nifti = nib.Nifti1Image(array, grid.affine)
    nifti.set_sform(grid.affine, code=1)
    nifti.set_qform(grid.affine, code=1)
    nifti.header.set_xyzt_units("mm")
    # No time stamp: the same phantom is the same file.
    content = gzip.compress(nifti.to_bytes(), compresslevel=1, mtime=0)
    write_atomically(path, lambda stream: stream.write(content[: int(len(content) * keep)]))
