"""A DICOM series as a volume: laid out by `gridgate.data.dicom.layout`, pixels decoded by GDCM through SimpleITK."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from ..errors import ImageError
from ..geometry.grids import Grid
from ..images.reading import Image
from .headers import read_header
from .layout import Layout, lay_out
from .series import DicomSeries, local_files
from .slices import SLICE_TAGS, SliceHeader, slice_header


def read_series(series: DicomSeries, *, keep_integers: bool = False, threads: int = 1) -> Image:
    """Read a series as a volume in HU, or in the units of its rescaling; each slice by its own slope and intercept.

    Where the geometry is irregular, it is mended and noted, or refused:
    `gridgate.data.dicom.layout` says by what rule. Missing slices are interpolated linearly between
    their neighbours.

    Args:
        series: from `find_series`.
        keep_integers: int16, or int32 where HU do not fit, instead of float32, as long as all
            slices are rescaled by whole numbers.
        threads: that decode slices; GDCM gives Python's lock free, so that more are faster for
            compressed series.

    Returns:
        Image: array (columns, rows, slices), slices ordered along the normal of their plane; grid
        in RAS+ mm, with shear where the gantry was tilted; `path` is the series' folder or zip,
        `header` None.

    Raises:
        ImageError: names the series, what is wrong and what to do.
    """
    with named_errors(series), local_files(series) as files:
        headers = _headers(series, files)
        layout = lay_out(headers)
        _check_duplicates(layout, headers, files)
        array = _fill(layout, headers, files, keep_integers, threads)
    return Image(
        array, Grid(layout.shape, layout.affine), series.folder, None, series.notes + layout.notes
    )


def series_layout(series: DicomSeries) -> tuple[Layout, list[SliceHeader]]:
    """How `read_series` puts a series together, without reading pixels.

    Returns:
        The layout, and the headers that its `sources` are indices of, in the order of
            `series.files`.

    Raises:
        ImageError: as `read_series`, but for what is wrong with pixels.
    """
    with named_errors(series), local_files(series) as files:
        headers = _headers(series, files)
        return lay_out(headers), headers


def read_headers(
    series: DicomSeries, files: Sequence[Path], tags: list[str] | None = None
) -> list[FileDataset]:
    """The headers of a series' files with the keywords in `tags`, or whole.

    Args:
        files: of `local_files`.

    Raises:
        ImageError: names the file, not the series: gone, not readable, damaged.
    """
    headers = []
    for file, name in zip(files, series.files, strict=True):
        short = Path(name).name
        try:
            headers.append(read_header(file, tags))
        except FileNotFoundError:
            raise ImageError(f"{short} is gone since the series was listed; start again") from None
        except OSError as error:
            raise ImageError(
                f"{short} cannot be read ({error.strerror or error}); ask for read access"
            ) from None
        except Exception as error:  # pydicom raises errors of a dozen types on damaged headers
            raise ImageError(
                f"{short} has a damaged DICOM header ({error}); copy it again"
            ) from error
    return headers


def _headers(series: DicomSeries, files: Sequence[Path]) -> list[SliceHeader]:
    headers = read_headers(series, files, SLICE_TAGS)
    return [slice_header(header, name) for header, name in zip(headers, series.files, strict=True)]


def _fill(
    layout: Layout,
    headers: Sequence[SliceHeader],
    files: Sequence[Path],
    keep_integers: bool,
    threads: int,
) -> NDArray[np.generic]:
    whole = keep_integers and all(
        one.slope.is_integer() and one.intercept.is_integer() for one in headers
    )
    for dtype in (np.int16, np.int32) if whole else (np.float32,):
        # Slices one after the other in memory, as SimpleITK has them: (Z, Y, X) in C order.
        stack = np.empty(layout.shape[::-1], dtype=dtype)
        if _decode_into(stack, layout, headers, files, threads):
            break
    else:
        raise ImageError(
            "its values do not fit into 32 bits; its rescaling must be wrong, export it again"
        )
    for z, source in enumerate(layout.sources):
        if source is None:
            stack[z] = _between(stack, layout.sources, z)
    return stack.transpose(2, 1, 0)


def _decode_into(
    stack: NDArray[np.generic],
    layout: Layout,
    headers: Sequence[SliceHeader],
    files: Sequence[Path],
    threads: int,
) -> bool:
    """Whether all slices fit into the stack's type, where that is integer; it is of no use where they do not."""

    def put(z: int, source: int) -> bool:
        pixels = _decode(files[source], headers[source])
        if not _fits(pixels, stack.dtype):
            return False
        stack[z] = pixels
        return True

    planes = [(z, source) for z, source in enumerate(layout.sources) if source is not None]
    if threads == 1:
        return all(put(z, source) for z, source in planes)
    pool = ThreadPoolExecutor(threads)
    try:
        return all(pool.map(put, *zip(*planes, strict=True)))
    finally:
        pool.shutdown(cancel_futures=True)


def _between(
    stack: NDArray[np.generic], sources: Sequence[int | None], z: int
) -> NDArray[np.generic]:
    below = max(k for k in range(z) if sources[k] is not None)
    above = min(k for k in range(z, len(sources)) if sources[k] is not None)
    share = (z - below) / (above - below)
    mixed = (1 - share) * stack[below].astype(np.float64) + share * stack[above].astype(np.float64)
    return np.rint(mixed) if stack.dtype.kind == "i" else mixed


def _check_duplicates(
    layout: Layout, headers: Sequence[SliceHeader], files: Sequence[Path]
) -> None:
    for kept, dropped in layout.duplicates:
        if np.array_equal(
            _decode(files[kept], headers[kept]), _decode(files[dropped], headers[dropped])
        ):
            continue
        one, other = headers[kept], headers[dropped]
        tags = [
            tag
            for (tag, value), (_, second) in zip(one.acquisition, other.acquisition, strict=True)
            if value != second
        ]
        by = f" (they differ in {', '.join(tags)})" if tags else ""
        raise ImageError(
            f"{Path(one.name).name} and {Path(other.name).name} are at one place and hold "
            f"different pixels{by}, so the "
            f"series holds {len(layout.duplicates)} slices of more than one acquisition; split it, "
            "and give each alone"
        )


def _decode(file: Path, header: SliceHeader) -> NDArray[np.generic]:
    """(rows, columns), rescaled by the file's slope and intercept."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    name = Path(header.name).name
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        # GDCM gives no reason: cut off, damaged and not known to it look the same.
        raise ImageError(
            f"{name}: its pixels cannot be decoded; the file is cut off, damaged or compressed in "
            "an unusual way: "
            "copy it again, or export the series uncompressed"
        ) from None
    array = (
        array.reshape(array.shape[-2:]) if array.size == header.size[0] * header.size[1] else array
    )
    if array.shape != header.size[::-1]:
        raise ImageError(
            f"{name}: its pixels are {array.shape}, its header says {header.size[::-1]}; export it "
            "again"
        )
    return array


def _fits(pixels: NDArray[np.generic], dtype: np.dtype[np.generic]) -> bool:
    if dtype.kind == "f" or np.can_cast(pixels.dtype, dtype):
        return True
    limits = np.iinfo(dtype.name)
    return bool(pixels.min() >= limits.min and pixels.max() <= limits.max)


@contextmanager
def named_errors(series: DicomSeries) -> Iterator[None]:
    """Put the series in front of the text of an ImageError that the block raises."""
    try:
        yield
    except ImageError as error:
        text = str(error)
        start = str(series.archive or series.folder)
        raise ImageError(
            text if text.startswith(start) else f"{series}: {text}"
        ) from error.__cause__
    except MemoryError as error:
        raise ImageError(
            f"{series}: its voxels do not fit into memory; crop or resample it first"
        ) from error
