"""Which DICOM series a folder or a zip holds, whatever the files are called; and their files."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import ImageError
from ..progress import progressed
from ..walk import PassedOver, walk_files
from .listing.archive import look_into_archive, unpacked
from .listing.grouping import group_series
from .listing.headers import look_at_file
from .listing.types import Damaged, DicomSeries, Found

__all__ = ["DicomSeries", "find_series", "local_files", "series_of_files", "unlisted"]

_MANY = 500  # files from which on a progress bar is worth its line


def find_series(
    path: str | Path, *, modality: str | None = "CT"
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """The image series in a folder (recursively) or a zip, or the one that a file belongs to.

    Files that are not DICOM, DICOMDIR and hidden files are ignored. The order of the result is that
    of the folders, then of the series' numbers.

    Args:
        path: a folder, a .zip, or one DICOM file, which means its series among the files beside it.
        modality: only series of it; None takes every modality that is images.

    Returns:
        The series, and what was passed over: localizers, other modalities, segmentations, reports
        and others without pixels, damaged files.

    Raises:
        ImageError: there is no such path, it cannot be listed, or the zip is damaged or encrypted.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        files, broken = [], []
        for file, error in walk_files(path):
            if error is not None and file == path:
                raise ImageError(
                    f"{path}: cannot be listed ({error.strerror}); ask for read access"
                )
            if error is not None:
                broken.append(unlisted(file, error))
            else:
                files.append(file)
        series, passed = series_of_files(files, modality=modality)
        return series + broken, passed
    if not path.exists():
        raise ImageError(f"{path}: there is no such file or folder; check the path")
    if path.suffix.lower() == ".zip":
        return group_series(*look_into_archive(path), modality=modality, archive=path)
    beside = [file for file, error in walk_files(path.parent, recursive=False) if error is None]
    if path not in beside:  # a hidden file that was asked for
        beside.append(path)
    series, passed = series_of_files(beside, modality=modality)
    return [one for one in series if str(path) in one.files], passed


def series_of_files(
    files: Iterable[Path], *, modality: str | None = "CT", progress: bool = False
) -> tuple[list[DicomSeries], list[PassedOver]]:
    """As `find_series`, of files that were listed already; files that are not DICOM are ignored."""
    files = [Path(os.path.abspath(file)) for file in files]
    found: list[Found] = []
    damaged: list[Damaged] = []
    shown = progress and len(files) >= _MANY
    for file in progressed(
        files, len(files), "looking for DICOM", unit="files", leave=False, shown=shown
    ):
        one = look_at_file(file)
        if isinstance(one, Found):
            found.append(one)
        elif one is not None:
            damaged.append(one)
    return group_series(found, damaged, modality=modality)


@contextmanager
def local_files(series: DicomSeries) -> Iterator[list[Path]]:
    """The series' files on the disk, in the order of `series.files`; of a zip while the block runs.

    Raises:
        ImageError: the series has a `problem`; or the zip is damaged, or the temporary disk has no
            room.
    """
    if series.problem:
        raise ImageError(series.problem)
    if series.archive is None:
        yield [Path(file) for file in series.files]
        return
    with unpacked(series.archive, series.files) as files:
        yield files


def unlisted(path: Path, error: OSError) -> DicomSeries:
    """A stand-in for a folder that cannot be listed: reading it fails with the reason."""
    reason = (
        f"{path}: the folder cannot be listed ({error.strerror}), so its scans are missing; "
        "ask for read access"
    )
    return DicomSeries("", "", "", path, (), problem=reason)
