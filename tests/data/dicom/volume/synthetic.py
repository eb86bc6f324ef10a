"""Volumes of the synthetic series that `write_dicom` writes, and how they are refused."""

from pathlib import Path

import numpy as np
import pytest

from gridgate.data.dicom.series import DicomSeries, find_series
from gridgate.data.dicom.volume import read_series
from gridgate.data.errors import ImageError
from gridgate.data.images.reading import Image

START = np.array([-100.0, -80.0, 40.0])
UP = np.array([0.0, 0.0, 2.5])


def only(folder: Path) -> DicomSeries:
    series, _ = find_series(folder)
    assert len(series) == 1
    return series[0]


def read(folder: Path) -> Image:
    return read_series(only(folder))


def refusal(folder: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read(folder)
    assert str(caught.value).startswith(str(folder))
    return str(caught.value)


def stored(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 3000, (count, 5, 7)).astype(np.uint16)
