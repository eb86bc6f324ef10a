"""Attention coefficients of a trained network over a scan, as files: maps and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np

from ...data.dicom.series import DicomSeries
from ...data.errors import CheckpointError, ConfigError
from ...data.label_tables.caret import CARET, caret_extension
from ...data.label_tables.table import LabelTable
from ...data.output_folder import OutputFolder
from ...data.progress import progressed
from ..models.attention import Attention, attention_of
from ..plans.bundle_folders import own_weights
from ..training.folder.run_folder import EPOCHS, WEIGHTS
from .pictures.attention_epochs import attention_epochs_figure
from .pictures.figures import png

PICTURE = "attention.png"


def kept_checkpoints(bundle: Path) -> list[Path]:
    """Those of a training that kept some (`--keep_every`), by epoch; then its model.pt.

    Raises:
        CheckpointError: there is none.
    """
    found = sorted(bundle.glob(EPOCHS), key=lambda path: (len(path.name), path.name))
    last = own_weights(bundle)
    if last is not None:
        found.append(last)
    if not found:
        raise CheckpointError(f"{bundle}: no weights are there; name some by --checkpoints")
    return found


def found_checkpoint(bundle: Path, given: str) -> Path:
    """A checkpoint by its path, or by its name in the bundle's models.

    Raises:
        CheckpointError: there is none.
    """
    models = (bundle / WEIGHTS).parent
    for path in (Path(given), models / given):
        if path.is_file():
            return path
    raise CheckpointError(f"{given}: there is no such file, nor one of that name in {models}")


def write_attention(
    bundle: Path,
    checkpoints: Sequence[Path],
    scan: Path | list[Path] | DicomSeries,
    output: OutputFolder,
    *,
    name: str,
) -> list[Path]:
    """Write OUTPUT/<checkpoint>/<skip>_<gate>.nii of each checkpoint, and OUTPUT/attention.png.

    The maps are float32, 0 to 1, on the network's grid, with its affine; viewers lay them over the
    scan by it. The network's own segmentation of that grid is there too (labels.nii), and what
    it saw (seen.nii).

    Args:
        scan: an image file, one file per channel, or a DICOM series.
        name: of the case.

    Returns:
        The files.

    Raises:
        CheckpointError: weights are missing or another network's.
        ConfigError: the network has no attention over space, or two checkpoints have one name.
        ImageError: the scan cannot be read.
        OutputError: a file cannot be written, or another is in its place.
    """
    names = [path.stem for path in checkpoints]
    if len(set(names)) < len(names):
        raise ConfigError(f"two checkpoints have one name: {', '.join(names)}; rename one")
    found: dict[str, Attention] = {}
    files: list[Path] = []
    pairs = zip(names, checkpoints, strict=True)
    for own, checkpoint in progressed(pairs, len(names), "checkpoints"):
        maps = attention_of(bundle, checkpoint, scan)
        if maps is None:
            raise ConfigError(
                f"{bundle}: its network has no attention over space; Attention U-Net's gates are"
            )
        found[own] = maps
        files += _write(own, maps, output)
    picture = png(attention_epochs_figure(found, name=name))
    files.append(output.write(PICTURE, lambda stream: stream.write(picture)))
    return files


def _write(folder: str, maps: Attention, output: OutputFolder) -> list[Path]:
    arrays: dict[str, np.ndarray] = {"seen": maps.image, "labels": maps.labels}
    for skip, gates in maps.coefficients.items():
        for number, gate in enumerate(gates, start=1):
            arrays[f"{skip}_{number}" if len(gates) > 1 else skip] = gate
    files = []
    for name, array in arrays.items():
        made = nib.Nifti1Image(array, maps.affine)
        if name == "labels" and maps.names:
            content = caret_extension(LabelTable.of(maps.names, values=maps.values or None))
            made.header.extensions.append(nib.nifti1.Nifti1Extension(CARET, content))
        files.append(output.write(f"{folder}/{name}.nii", _saver(made)))
    return files


def _saver(image: nib.Nifti1Image) -> Callable[[BinaryIO], object]:
    content = image.to_bytes()
    return lambda stream: stream.write(content)
