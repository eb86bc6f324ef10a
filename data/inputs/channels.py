"""Files named as nnU-Net names them, case_0000 and case_0001: the channels of one case."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError
from ..images.names import case_id
from ..images.reading import read_axes

_CHANNEL = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Scan:
    """The image files of one case.

    Args:
        name: of the case, without folders.
        files: one, or one for each channel, in their order.
        problem: why they are no scan, in words; mostly "".
    """

    name: str
    files: tuple[Path, ...]
    problem: str = ""


def scans_of(files: Iterable[Path], *, channels: int) -> list[Scan]:
    """The scans that the image files of one folder are.

    Args:
        files: images of one folder.
        channels: that a bundle wants. Several: files `case_0000`, `case_0001` are the scan `case`;
            a file of another name, or one that holds all channels itself, is a scan of its own.
            One: `case_0000` is the scan `case` where all files of the folder end in _0000, else
            each file's name is its scan's.

    >>> [scan.name for scan in scans_of([Path("a_0000.nii.gz"), Path("b_0000.mha")], channels=1)]
    ['a', 'b']
    >>> [scan.name for scan in scans_of([Path("a_0000.nii.gz"), Path("a_0001.nii.gz")], channels=1)]
    ['a_0000', 'a_0001']
    """
    files = sorted(files)
    matches = {file: _CHANNEL.fullmatch(case_id(file)) for file in files}
    if channels == 1:
        single = all(match is not None and match[2] == "0000" for match in matches.values())
        return [
            Scan(match[1] if single and match is not None else case_id(file), (file,))
            for file, match in matches.items()
        ]
    scans = []
    groups: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for file, match in matches.items():
        if match is None or _holds(file, channels):
            scans.append(Scan(case_id(file), (file,)))
        else:
            groups[match[1]].append((int(match[2]), file))
    scans += [_grouped(name, group, channels) for name, group in groups.items()]
    return scans


def _grouped(name: str, group: list[tuple[int, Path]], channels: int) -> Scan:
    group = sorted(group)
    files = tuple(file for _, file in group)
    numbers = [number for number, _ in group]
    if numbers == list(range(channels)):
        return Scan(name, files)
    there = ", ".join(file.name for file in files[:8])
    last = f"{name}_{channels - 1:04d}"
    problem = (
        f"{files[0].parent / name}: {channels} channels need one file each, {name}_0000 to {last}; "
        f"there are {there}"
    )
    return Scan(name, files, problem)


def _holds(file: Path, channels: int) -> bool:
    """Whether a file holds all channels itself."""
    try:
        axes = read_axes(file)
    except ImageError:
        return False  # reading it will say what is wrong
    return len(axes) > 3 and axes[-1] == channels
