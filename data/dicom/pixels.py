"""Pixels of slices and frames, rescaled; decoded by GDCM through SimpleITK, or by pydicom."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from ..errors import ImageError
from .slices import SliceHeader

Plane = NDArray[np.generic]

# PhotometricInterpretation in any byte order and with or without its type.
_INVERSE = re.compile(rb"((?:\x28\x00\x04\x00|\x00\x28\x00\x04).{4})MONOCHROME1", re.DOTALL)


class Pixels:
    """The pixels of a series, slice by slice; may be used from several threads.

    Args:
        headers: of the slices.
        files: of the series; a header's `file` is an index of them.
    """

    def __init__(self, headers: Sequence[SliceHeader], files: Sequence[Path]) -> None:
        self.headers, self.files = headers, files
        self._lock = Lock()
        self._frames: dict[int, NDArray[np.generic]] = {}

    def plane(self, index: int) -> Plane:
        """(rows, columns) of the slice with this index, rescaled by its slope and intercept.

        Raises:
            ImageError: the pixels cannot be decoded, or are not of the size that the header says.
        """
        header = self.headers[index]
        if header.frame is None:
            plane = _read_image(self.files[header.file], header)
        else:
            plane = self._stored_frames(header)[header.frame]
        if plane.shape != header.size[::-1]:
            raise ImageError(
                f"{header.short}: its pixels are {plane.shape}, its header says "
                f"{header.size[::-1]}; export it again"
            )
        if header.frame is not None:
            plane = _rescaled(plane, header.slope, header.intercept)
        return plane if header.correction is None else _rescaled(plane, *header.correction)

    def _stored_frames(self, header: SliceHeader) -> NDArray[np.generic]:
        """(frames, rows, columns) of a multi-frame file, not rescaled; decoded once."""
        with self._lock:
            if header.file not in self._frames:
                several = [one for one in self.headers if one.file == header.file]
                self._frames[header.file] = _read_frames(self.files[header.file], several)
            frames = self._frames[header.file]
        if header.frame is not None and header.frame >= len(frames):
            raise ImageError(
                f"{header.short}: the file holds the pixels of {len(frames)} frames only; "
                "copy it again"
            )
        return frames


def _read_image(file: Path, header: SliceHeader) -> Plane:
    """(rows, columns), rescaled by GDCM where the file's own tags say how."""
    array = _by_gdcm(file, header)
    whole = array.size == header.size[0] * header.size[1]
    return array.reshape(array.shape[-2:]) if whole else array


def _read_frames(file: Path, headers: Sequence[SliceHeader]) -> NDArray[np.generic]:
    """Stored values of all frames; what pydicom has no decoder for, such as JPEG 2000, by GDCM."""
    try:
        array = pixel_array(file, raw=True)
    except Exception:  # pydicom raises errors of a dozen types, for want of a decoder as well
        array = None
    if array is not None:
        return array.reshape(-1, *array.shape[-2:])
    scales = {(one.slope, one.intercept) for one in headers}
    rescaled = _by_gdcm(file, headers[0])
    rescaled = rescaled.reshape(-1, *rescaled.shape[-2:])
    if len(scales) > 1:
        raise ImageError(
            f"{Path(headers[0].name).name}: its frames are compressed, and rescaled in different "
            "ways; export it uncompressed, or one file per slice"
        )
    if all(one.frame for one in headers):
        raise ImageError(
            f"{Path(headers[0].name).name}: its frames are compressed, and the first of them, "
            "whose rescaling counts for all then, is none of the volume; export it uncompressed, "
            "or one file per slice"
        )
    slope, intercept = scales.pop()
    # GDCM has applied them; what is asked for are the stored values
    return np.rint((rescaled.astype(np.float64) - intercept) / slope).astype(np.int32)


def _by_gdcm(file: Path, header: SliceHeader) -> NDArray[np.generic]:
    """Pixels with the file's rescaling; GDCM would invert MONOCHROME1, which is for display."""
    if not header.inverse:
        return _decoded(file, header)
    content, count = _INVERSE.subn(rb"\1MONOCHROME2", file.read_bytes(), count=1)
    if not count:
        raise ImageError(
            f"{Path(header.name).name}: MONOCHROME1 in a deflated file is not read; export it "
            "uncompressed"
        )
    with tempfile.TemporaryDirectory(prefix="gridgate-") as folder:
        plain = Path(folder) / "image.dcm"
        plain.write_bytes(content)
        return _decoded(plain, header)


def _decoded(file: Path, header: SliceHeader) -> NDArray[np.generic]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        return sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        # GDCM gives no reason: cut off, damaged and not known to it look the same.
        raise ImageError(
            f"{Path(header.name).name}: its pixels cannot be decoded; the file is cut off, "
            "damaged or compressed in an unusual way: "
            "copy it again, or export the series uncompressed"
        ) from None


def _rescaled(plane: Plane, slope: float, intercept: float) -> Plane:
    """Whole numbers stay whole numbers where slope and intercept are."""
    if plane.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer():
        wide = plane.astype(np.int64) * int(slope) + int(intercept)
        fits = np.iinfo(np.int32).min <= wide.min() and wide.max() <= np.iinfo(np.int32).max
        return wide.astype(np.int32) if fits else wide
    return plane.astype(np.float64) * slope + intercept
