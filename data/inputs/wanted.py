"""Cases before their ids are made unique: the names that files and series want to have."""

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dicom.series import DicomSeries
from .channels import Scan


@dataclass(frozen=True)
class Wanted:
    """A case to be.

    Args:
        name: the id it wants, folders included.
        fallback: the id it gets where others want the first one too.
        image: a path, a path for each channel, or a series.
        files: the image files.
    """

    name: str
    fallback: str
    image: str | list[str] | DicomSeries
    files: tuple[Path, ...] = ()


def image_case(scan: Scan, base: Path) -> Wanted:
    """The case of a scan, named by its place below `base`."""
    first = scan.files[0]
    relative = _relative(first, base)
    folder = f"{relative.rpartition('/')[0]}/" if "/" in relative else ""
    image: str | list[str] | DicomSeries = [str(file) for file in scan.files]
    if scan.problem:
        image = failing(first.parent / scan.name, scan.problem)
    elif len(scan.files) == 1:
        image = str(first)
    return Wanted(folder + scan.name, folder + first.name.replace(".", "_"), image, scan.files)


def failing(place: Path, problem: str) -> DicomSeries:
    """A stand-in for a scan that cannot be read: reading it fails with the reason."""
    return DicomSeries("", "", "", place, (), problem=problem)


def series_cases(series: Sequence[DicomSeries], base: Path) -> list[Wanted]:
    """The cases of series: a folder's name, with number and description where it holds several."""
    groups: dict[str, list[DicomSeries]] = defaultdict(list)
    for one in series:
        groups[_relative(one.folder, base)].append(one)
    wanted = []
    for place, group in groups.items():
        # A series at the source itself is named after that folder.
        name = place if place != "." else os.path.basename(os.path.abspath(base)) or "series"
        if group[0].archive is not None and name.lower().endswith(".zip"):
            name = name[:-4]
        labels = [_label(one) for one in group]
        for one, label in zip(group, labels, strict=True):
            if len(group) == 1:
                own = name
            elif label and labels.count(label) == 1:
                own = f"{name}_{label}"
            else:
                own = f"{name}_{label}_{one.uid[-8:].replace('.', '_')}".replace("__", "_")
            wanted.append(Wanted(own, f"{name}_{one.uid or 'series'}", one))
    return wanted


def _label(series: DicomSeries) -> str:
    """Number and description, of letters that need no quotes in a shell."""
    return re.sub(r"[^\w.+-]+", "_", f"{series.number}_{series.description}").strip("._")


def _relative(path: Path, base: Path) -> str:
    return os.path.relpath(path, base).replace(os.sep, "/")
