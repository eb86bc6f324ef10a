"""Small NIfTI files in any storage."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

A = np.array([[-0.8, 0, 0, 100], [0, -0.8, 0, 90], [0, 0, 2.5, -300], [0, 0, 0, 1.0]])


SHAPE = (5, 6, 7)


RAMP = np.arange(210, dtype=np.int16).reshape(SHAPE)


def nifti(path: Path, array: NDArray[np.generic], *, slope: float = 1, inter: float = 0) -> Path:
    image = nib.Nifti1Image(array, A, dtype=array.dtype)
    image.header.set_slope_inter(slope, inter)
    nib.save(image, path)
    return path


def stored(path: Path, array: NDArray[np.generic], slope: float, inter: float) -> Path:
    """A file that stores exactly `array`; nibabel would divide by the slope on saving."""
    nifti(path, array)
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([slope, inter], dtype="<f4").tobytes()
    path.write_bytes(bytes(content))
    return path
