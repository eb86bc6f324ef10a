"""Which patterns pair the images and label maps of a folder, found by looking at its names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import ConfigError, GridgateError
from ....images.names import case_id
from ....images.reading import read_image
from ..segments import segments
from .pairing import Pairing, pair_by_patterns
from .patterns import Listing

_LABEL_WORDS = re.compile(
    r"(?<![a-z])(seg(mentation)?s?|labels?(tr)?|masks?|gt|truth|ground_?truth|rtss|rois?|"
    r"annot\w*|contours?|delineation\w*|manual|msk|lbl)(?![a-z])"
)
_IMAGE_WORDS = re.compile(
    r"(?<![a-z])(ct|cts|mr|mri|pet|im(a)?ge?s?(tr)?|scans?|vol(ume)?s?|orig(inal)?|dicom|dcm|raw|"
    r"t1|t2|flair)(?![a-z])"
)
_SEPARATORS = re.compile(r"[ _.\-]+")
_MOST = 120  # groups of names that are compared with each other
_SURE = 256  # values that a label map has at most


@dataclass(frozen=True)
class _Group:
    """What a pattern fits: case -> name."""

    pattern: str
    cases: Mapping[str, str]


def propose(listing: Listing) -> Pairing:
    """The pairing that a folder's names suggest: the patterns that pair the most cases.

    Label maps are told from images by their names' words (seg, label, mask, RTSS, ...), and where
    these say nothing by their content: few whole numbers.

    Raises:
        ConfigError: nothing in the folder looks like pairs of images and label maps.
    """
    names = list(listing.images()) + _seg_files(listing)
    groups = _groups(names)
    best: tuple[tuple[float, ...], str, str] | None = None
    for image in groups:
        for label in groups:
            if image is label:
                continue
            score = _score(*_apart(image, label), len(names))
            if score is not None and (best is None or score > best[0]):
                best = score, image.pattern, label.pattern
    if best is None:
        raise ConfigError(
            f"{listing.folder}: no pairs of images and label maps are seen in it ({len(names)} "
            "images); say which belong together: --images 'img/*.nii.gz' --labels 'seg/*.nii.gz', "
            "where the star stands for the case, or give a CSV with the columns case,image,label"
        )
    _, images, labels = best
    if not _LABEL_WORDS.search(labels.lower()) and _swapped(listing, images, labels):
        images, labels = labels, images
    pairing = pair_by_patterns(listing, *_widened(images, labels))
    used = {path for pair in pairing.pairs for path in (*pair.images, pair.label)}
    lost = set(pairing.unpaired)
    around = {parent for path in used if path is not None for parent in path.parents}
    unused = [
        name
        for name in names
        if not ({listing.folder / name} & (used | around)) and name not in lost
    ]
    return replace(pairing, unused=tuple(sorted(unused)))


def _widened(images: str, labels: str) -> tuple[list[str], str]:
    """The patterns without what both files' names begin with: liver_*.nii.gz, the case liver_1."""
    (one, image), (other, label) = (text.rpartition("/")[::2] for text in (images, labels))
    before = image.partition("*")[0]
    if "*" in image and before and before == label.partition("*")[0] and "*" not in one + other:
        image, label = image[len(before) :], label[len(before) :]
        images, labels = (f"{one}/" if one else "") + image, (f"{other}/" if other else "") + label
    return [images], labels


def _groups(names: list[str]) -> list[_Group]:
    """The groups of names that differ in one place: a part of the file's name, or a folder's."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        for pattern, case in _patterns(unicodedata.normalize("NFC", name)):
            found.setdefault(pattern, {}).setdefault(case, name)
    groups = [_Group(pattern, cases) for pattern, cases in found.items()]
    kept = sorted(groups, key=lambda one: (-len(one.cases), one.pattern))
    several = [group for group in kept if len(group.cases) > 1]
    return (several or kept)[:_MOST]


def _patterns(name: str) -> Iterator[tuple[str, str]]:
    """Each pattern with one star that fits a name, and what the star is then."""
    folders, _, file = name.rpartition("/")
    parts = folders.split("/") if folders else []
    for place, part in enumerate(parts):  # a folder per case
        yield "/".join([*parts[:place], "*", *parts[place + 1 :], file]), part
    stem = case_id(file)
    suffix = file[len(stem) :]
    base = f"{folders}/" if folders else ""
    cuts = [(match.start(), match.end()) for match in _SEPARATORS.finditer(stem)]
    begins = [0, *(end for _, end in cuts if end < len(stem))]
    ends = [len(stem), *(start for start, _ in cuts if start > 0)]
    for begin in begins:
        for end in ends:
            if begin < end:
                yield f"{base}{stem[:begin]}*{stem[end:]}{suffix}", stem[begin:end]
    if parts and parts[-1] in stem:
        before, _, after = stem.partition(parts[-1])
        yield "/".join([*parts[:-1], "*", f"{before}*{after}{suffix}"]), parts[-1]


def _apart(image: _Group, label: _Group) -> tuple[_Group, _Group]:
    """The groups without what both fit: that is the longer pattern's, as pairing has it."""
    both = set(image.cases.values()) & set(label.cases.values())
    if not both:
        return image, label
    wide = image if len(image.pattern) < len(label.pattern) else label
    left = _Group(wide.pattern, {key: one for key, one in wide.cases.items() if one not in both})
    return (left, label) if wide is image else (image, left)


def _score(image: _Group, label: _Group, total: int) -> tuple[float, ...] | None:
    """How good a pairing is, larger is better; None where it pairs nothing."""
    both = image.cases.keys() & label.cases.keys()
    if not both:
        return None
    left = len(image.cases) + len(label.cases) - 2 * len(both)
    is_label = bool(_LABEL_WORDS.search(_words(label.pattern)))
    is_image = not _LABEL_WORDS.search(_words(image.pattern))
    says_image = bool(_IMAGE_WORDS.search(_words(image.pattern)))
    says_otherwise = bool(_IMAGE_WORDS.search(_words(label.pattern))) and not is_label
    if len(both) == 1 and total > 2 and not (is_label and is_image):
        return None
    words = is_label + is_image + says_image - says_otherwise
    stars = max(image.pattern.count("*"), label.pattern.count("*"))
    length = len(image.pattern) + len(label.pattern)
    return (float(is_label and is_image), len(both) - left, words, -stars, length)


def _words(pattern: str) -> str:
    return pattern.lower()


def _swapped(listing: Listing, images: str, labels: str) -> bool:
    """Whether by content the label maps are the images: neither name says what it is."""
    pairing = pair_by_patterns(listing, [images], labels)
    pair = pairing.pairs[0]
    if pair.label is None:
        return False
    first, second = _looks_labelled(pair.images[0]), _looks_labelled(pair.label)
    if first == second:
        raise ConfigError(
            f"{listing.folder}: {pair.images[0].name} and {pair.label.name} seem to belong "
            "together, but not which of them is the label map; say it by --images and --labels"
        )
    return first


def _looks_labelled(path: Path) -> bool:
    try:
        array = read_image(path, keep_integers=True).array
    except GridgateError:
        return False
    values = np.unique(array)
    whole = bool((values == np.round(values)).all())
    return whole and values.size <= _SURE and float(values[0]) >= 0 and values.size < array.size / 8


def _seg_files(listing: Listing) -> list[str]:
    """DICOM files that are SEG: each is a label map, not a slice of a series."""
    found = []
    for folder in listing.dicom_folders():
        files = [name for name in listing.files if name.rpartition("/")[0] == folder]
        for name in files if len(files) < 3 else []:
            try:
                segments(listing.folder / name)
            except (GridgateError, AttributeError):
                continue
            found.append(name)
    return found
