"""The scan behind a row of cases.csv, whose column ``input`` is text: paths, or a DICOM series."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ....data.dicom.series import DicomSeries, find_series
from ....data.dicom.volume import read_series
from ....data.errors import ImageError
from ....data.images.reading import Image, read_axes, read_image

Source = Path | list[Path] | DicomSeries

_SERIES = re.compile(r"(?P<folder>.+) \(series [^()]+\)", re.DOTALL)


def find_scan(text: str) -> Source:
    """What a transform that loads a case takes, from the text in cases.csv.

    Args:
        text: a path; several, joined by ";", a file per channel; or "FOLDER (series UID)", where
            the folder may be a zip.

    Returns:
        A path, which may no longer be there; a list of paths; or the series.

    Raises:
        ImageError: the folder or zip is gone or cannot be listed, or no longer holds the series.
    """
    if Path(text).exists():
        return Path(text)
    if match := _SERIES.fullmatch(text):
        for series in find_series(match["folder"], modality=None)[0]:
            if str(series) == text:
                return series
        raise ImageError(f"{text}: the folder no longer holds this series")
    parts = text.split(";")
    return Path(text) if len(parts) == 1 else [Path(part) for part in parts]


def read_scan(text: str) -> Image:
    """The scan of a row as an image of one channel, the first of several; as stored, or in HU.

    Voxels that are not finite are replaced, since this is for display.

    Raises:
        ImageError: it cannot be found or read.
    """
    source = find_scan(text)
    if isinstance(source, DicomSeries):
        return read_series(source, uneven="resample")
    first = source[0] if isinstance(source, list) else source
    channels = read_axes(first)[3:]
    count = int(np.prod(channels)) if channels else 1
    image = read_image(first, channels=max(count, 1), non_finite="replace", keep_integers=True)
    return image if count < 2 else replace(image, array=image.array[0])
