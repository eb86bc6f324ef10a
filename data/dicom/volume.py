"""A DICOM series as a volume: laid out by `layout`, values settled by `intensities`."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from ..errors import ImageError
from ..geometry.grids import Grid
from ..images.reading import Image
from .frames import frame_headers, is_multi_frame
from .intensities import doubts, settle_rescaling
from .layout import Layout, Uneven, lay_out
from .listing.headers import read_header
from .pixels import Pixels
from .series import DicomSeries, local_files
from .slices import SLICE_TAGS, SliceHeader, slice_header
from .uneven import UnevenError


def read_series(
    series: DicomSeries,
    *,
    keep_integers: bool = False,
    threads: int = 1,
    uneven: Uneven = "refuse",
) -> Image:
    """Read a series as a volume in HU, or in the units of its rescaling.

    Each slice is rescaled by its own slope and intercept; where a CT lacks them, the values decide,
    see `gridgate.data.dicom.intensities`. Where the geometry is irregular, it is mended and noted,
    or refused: `gridgate.data.dicom.layout` says by what rule. Missing slices are interpolated
    linearly between their neighbours. Multi-frame objects (Enhanced CT) are read frame by frame.

    Args:
        series: from `find_series`.
        keep_integers: int16, or int32 where HU do not fit, instead of float32, as long as all
            slices are rescaled by whole numbers.
        threads: that decode slices; GDCM gives Python's lock free, so that more are faster for
            compressed series.
        uneven: slices that are not evenly spaced are refused, or with "resample" interpolated
            linearly onto the finest even grid, which the volume then has.

    Returns:
        Image: array (columns, rows, slices), slices ordered along the normal of their plane; grid
        in RAS+ mm, with shear where the gantry was tilted; `path` is the series' folder or zip,
        `header` None. A note that begins with "intensities: " says that the values may not be HU.

    Raises:
        ImageError: names the series, what is wrong and what to do.

    Example:
        >>> series, passed_over = find_series("patient/CT")  # doctest: +SKIP
        >>> image = read_series(series[0])  # doctest: +SKIP
        >>> image.array.shape, image.grid.spacing, image.notes  # doctest: +SKIP
    """
    with named_errors(series), local_files(series) as files:
        headers = slice_headers(series, files)
        layout = lay_out(headers, uneven=uneven)
        pixels = Pixels(headers, files)
        _check_duplicates(layout, pixels)
        pixels.headers, settled = settle_rescaling(headers, _in_order(layout), pixels.plane)
        array = _fill(layout, pixels, keep_integers, threads)
        settled += doubts(array, headers, settled)
    notes = series.notes + layout.notes + settled
    return Image(array, Grid(layout.shape, layout.affine), series.folder, None, notes)


def series_layout(
    series: DicomSeries, *, uneven: Uneven = "refuse"
) -> tuple[Layout, list[SliceHeader]]:
    """How `read_series` puts a series together, without reading pixels.

    Returns:
        The layout, and the headers that its `sources` are indices of, in the order of
            `series.files`.

    Raises:
        ImageError: as `read_series`, but for what is wrong with pixels.
    """
    with named_errors(series), local_files(series) as files:
        headers = slice_headers(series, files)
        return lay_out(headers, uneven=uneven), headers


def slice_headers(series: DicomSeries, files: Sequence[Path]) -> list[SliceHeader]:
    """The header of each slice: one per file, or one per frame of a multi-frame file.

    Args:
        files: of `local_files`.

    Raises:
        ImageError: names the file, not the series.
    """
    return headers_of(series, read_headers(series, files, SLICE_TAGS))


def headers_of(series: DicomSeries, sources: Sequence[FileDataset]) -> list[SliceHeader]:
    """As `slice_headers`, of headers that were read already, in the order of `series.files`."""
    headers: list[SliceHeader] = []
    for number, (source, name) in enumerate(zip(sources, series.files, strict=True)):
        if _is_multi_frame(source, name):
            headers += frame_headers(source, name, number)
        else:
            headers.append(slice_header(source, name, number))
    if not headers:
        raise ImageError("it holds localizers only; give the scan itself")
    return headers


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


def _is_multi_frame(source: FileDataset, name: str) -> bool:
    try:
        return is_multi_frame(source)
    except Exception as error:  # pydicom converts values late, with errors of a dozen types
        raise ImageError(
            f"{Path(name).name} has a damaged DICOM header ({error}); export it again"
        ) from error


def _in_order(layout: Layout) -> list[int]:
    """Indices of the slices that the volume is made of, from the first to the last."""
    used: dict[int, None] = {}
    for source, blend in zip(layout.sources, layout.blends, strict=True):
        for index in (source,) if blend is None else (blend.below, blend.above):
            if index is not None:
                used[index] = None
    return list(used)


def _fill(layout: Layout, pixels: Pixels, keep_integers: bool, threads: int) -> NDArray[np.generic]:
    whole = keep_integers and all(one.whole for one in pixels.headers)
    for dtype in (np.int16, np.int32) if whole else (np.float32,):
        # Slices one after the other in memory, as SimpleITK has them: (Z, Y, X) in C order.
        stack = np.empty(layout.shape[::-1], dtype=dtype)
        if _decode_into(stack, layout, pixels, threads) and _interpolate(stack, layout, pixels):
            return stack.transpose(2, 1, 0)
    raise ImageError(
        "its values do not fit into 32 bits; its rescaling must be wrong, export it again"
    )


def _decode_into(stack: NDArray[np.generic], layout: Layout, pixels: Pixels, threads: int) -> bool:
    """Whether all slices fit into the stack's type; it is of no use where they do not."""

    def put(z: int, source: int) -> bool:
        plane = pixels.plane(source)
        if not _fits(plane, stack.dtype):
            return False
        stack[z] = plane
        return True

    planes = [(z, source) for z, source in enumerate(layout.sources) if source is not None]
    if threads == 1:
        return all(put(z, source) for z, source in planes)
    pool = ThreadPoolExecutor(threads)
    try:
        return all(pool.map(put, *zip(*planes, strict=True)))
    finally:
        pool.shutdown(cancel_futures=True)


def _interpolate(stack: NDArray[np.generic], layout: Layout, pixels: Pixels) -> bool:
    """Fill the planes that are mixtures of two slices; whether these fit into the stack's type."""
    at_hand: dict[int, NDArray[np.float64]] = {}
    for z, blend in enumerate(layout.blends):
        if blend is None:
            continue
        for index in (blend.below, blend.above):
            if index not in at_hand:
                plane = pixels.plane(index)
                if not _fits(plane, stack.dtype):
                    return False
                at_hand[index] = plane.astype(np.float64)
        at_hand = {index: at_hand[index] for index in (blend.below, blend.above)}
        mixed = (1 - blend.share) * at_hand[blend.below] + blend.share * at_hand[blend.above]
        stack[z] = np.rint(mixed) if stack.dtype.kind == "i" else mixed
    return True


def _check_duplicates(layout: Layout, pixels: Pixels) -> None:
    for kept, dropped in layout.duplicates:
        if np.array_equal(pixels.plane(kept), pixels.plane(dropped)):
            continue
        one, other = pixels.headers[kept], pixels.headers[dropped]
        tags = [
            tag
            for (tag, value), (_, second) in zip(one.acquisition, other.acquisition, strict=True)
            if value != second
        ]
        by = f" (they differ in {', '.join(tags)})" if tags else ""
        raise ImageError(
            f"{one.short} and {other.short} are at one place and hold "
            f"different pixels{by}, so the "
            f"series holds {len(layout.duplicates)} slices of more than one acquisition; split it, "
            "and give each alone"
        )


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
        kind = UnevenError if isinstance(error, UnevenError) else ImageError
        raise kind(text if text.startswith(start) else f"{series}: {text}") from error.__cause__
    except MemoryError as error:
        raise ImageError(
            f"{series}: its voxels do not fit into memory; crop or resample it first"
        ) from error
