"""Slices of one scan that each have a SeriesInstanceUID of their own: joined, or told once.

Some exports give every slice a series of its own. Such slices are joined where nothing speaks
against it: one study, patient, frame of reference, orientation, pixel spacing, size, number and
description of the series, at least three of them, at different places on a straight line. Whether
they are evenly spaced is for the reader to judge, as with any series. Others of them are one
series that cannot be read, with the reason, not one failed case per slice.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .types import Found

Key = Callable[["Candidate"], Hashable]

_FEWEST = 3
_SAME_PLACE_MM = 0.01
_OFF_LINE_SHARE = 0.05  # of the mean distance between slices
_SAME_DIRECTION = 3  # decimals of direction cosines


@dataclass(frozen=True)
class Candidate:
    """A series to be.

    Args:
        images: its files.
        copied: it is there in several folders.
        notes: what was odd about it.
        problem: why it cannot be read, or "".
    """

    images: list[Found]
    copied: bool
    notes: list[str]
    problem: str = ""


def join_scattered(wanted: Iterable[tuple[list[Found], bool, list[str]]]) -> list[Candidate]:
    """Join series of one slice each that are slices of one scan; the others stay as they are.

    Args:
        wanted: (images, copied, notes) of each series.
    """
    result: list[Candidate] = []
    alone: list[Candidate] = []
    for images, copied, notes in wanted:
        single = len(images) == 1 and bool(images[0].uid) and _geometry(images[0]) is not None
        (alone if single else result).append(Candidate(images, copied, notes))
    for likely in _by_place(alone):
        rest: list[Candidate] = []
        for group in _split(likely, _strict_key):
            if _line(group):
                result.append(_joined(group, _joined_note(group)))
            else:
                rest += group
        if len(rest) < 2:
            result += rest
        else:
            result.append(_joined(rest, "", _problem(rest)))
    return result


def _by_place(alone: Sequence[Candidate]) -> list[list[Candidate]]:
    """Slices that could be of one scan: of one patient, one plane, one size, in one folder.

    Where each lies in a folder of its own, the folder above counts.
    """
    in_folder = Counter(one.images[0].folder for one in alone)

    def key(one: Candidate) -> Hashable:
        image = one.images[0]
        geometry = _geometry(image)
        assert geometry is not None
        several = in_folder[image.folder] > 1
        folder = image.folder if several else os.path.dirname(image.folder)
        plane = tuple(np.round(geometry[1], _SAME_DIRECTION).tolist())
        return folder, image.modality, image.place.patient, image.place.size, plane

    return _split(alone, key)


def _strict_key(one: Candidate) -> Hashable:
    image = one.images[0]
    place = image.place
    return place.study, place.frame_of_reference, place.spacing, image.number, image.description


def _split(candidates: Iterable[Candidate], key: Key) -> list[list[Candidate]]:
    groups: dict[Hashable, list[Candidate]] = defaultdict(list)
    for one in candidates:
        groups[key(one)].append(one)
    return list(groups.values())


def _line(group: Sequence[Candidate]) -> bool:
    """Whether slices lie at different places on a straight line, as those of one scan do."""
    if len(group) < _FEWEST:
        return False
    geometry = [_geometry(one.images[0]) for one in group]
    positions = np.array([one[0] for one in geometry if one is not None])
    along = np.array(geometry[0][1] if geometry[0] is not None else ())
    depth = positions @ np.cross(along[:3], along[3:])
    order = np.argsort(depth)
    positions, depth = positions[order], depth[order]
    length = depth[-1] - depth[0]
    if (np.diff(depth) <= _SAME_PLACE_MM).any():
        return False
    line = positions[0] + np.outer((depth - depth[0]) / length, positions[-1] - positions[0])
    off = np.linalg.norm(positions - line, axis=1)
    return bool(off.max() <= max(0.1, _OFF_LINE_SHARE * length / (len(group) - 1)))


def _geometry(image: Found) -> tuple[list[float], list[float]] | None:
    """(position, orientation), or None where they are no numbers."""
    try:
        position = [float(text) for text in image.place.position]
        orientation = [float(text) for text in image.place.orientation]
    except ValueError:
        return None
    usable = len(position) == 3 and len(orientation) == 6
    return (position, orientation) if usable and np.isfinite(position + orientation).all() else None


def _joined(group: Sequence[Candidate], note: str, problem: str = "") -> Candidate:
    notes = [note] if note else []
    for one in group:
        notes += [more for more in one.notes if more not in notes]
    images = [image for one in group for image in one.images]
    return Candidate(images, any(one.copied for one in group), notes, problem)


def _joined_note(group: Sequence[Candidate]) -> str:
    return (
        f"each of its {len(group)} slices has a SeriesInstanceUID of its own; they were joined, as "
        "study, frame of reference, orientation, pixel spacing, size, number and description are "
        "the same"
    )


def _problem(group: Sequence[Candidate]) -> str:
    names = ", ".join(sorted(os.path.basename(one.images[0].name) for one in group)[:3])
    more = ", ..." * (len(group) > 3)
    return (
        f"{len(group)} files ({names}{more}) have a SeriesInstanceUID of their own each, and "
        f"{_difference(group)}, so they cannot be told to be one scan; export the scan with one "
        "SeriesInstanceUID"
    )


def _difference(group: Sequence[Candidate]) -> str:
    places = [one.images[0].place for one in group]
    for what, values in (
        ("StudyInstanceUID", [place.study for place in places]),
        ("FrameOfReferenceUID", [place.frame_of_reference for place in places]),
        ("PixelSpacing", [str(place.spacing) for place in places]),
        ("SeriesNumber", [one.images[0].number for one in group]),
        ("SeriesDescription", [one.images[0].description for one in group]),
    ):
        if len(set(values)) > 1:
            return f"differ in {what}"
    if len(group) < _FEWEST:
        return f"are only {len(group)}"
    return "do not lie one after the other on a straight line"
