"""Which images and label maps of a user's are one case, before anything of them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ....errors import ConfigError, DatasetError
from ..source import id_of
from .patterns import Listing, first_folder, match_pattern

_NAMED = 12  # cases that an error lists
_SHOWN = 8  # rows of a table at its begin and as many at its end


@dataclass(frozen=True)
class Pair:
    """One case of a user's.

    Args:
        id: safe as a file's name.
        images: a file or a folder of DICOM per channel.
        label: a file, or a folder with one DICOM SEG; None where masks are given or there is none.
        masks: label name -> the file of its mask.
        folder: what the first star stands for, where it is a folder and another star follows.
        patient: whose case it is, where that is known; "" else.
    """

    id: str
    images: tuple[Path, ...]
    label: Path | None = None
    masks: Mapping[str, Path] = field(default_factory=dict)
    folder: str = ""
    patient: str = ""


@dataclass(frozen=True)
class Pairing:
    """All cases of a user's folder or table.

    Args:
        origin: the folder or the table.
        pairs: the cases, sorted by id.
        unpaired: what has no counterpart -> why, in words.
        options: the command line's options that give this pairing.
        unused: images in the folder that are in no pair.
    """

    origin: Path
    pairs: tuple[Pair, ...]
    unpaired: Mapping[str, str]
    options: str = ""
    unused: tuple[str, ...] = ()


def pair_by_patterns(
    listing: Listing,
    images: Sequence[str],
    labels: str | None = None,
    masks: Mapping[str, str] | None = None,
) -> Pairing:
    """Pair what patterns fit: what their stars stand for is the case.

    What two patterns fit is the longer one's: of `*.nii.gz` and `*_seg.nii.gz`, a_seg.nii.gz is
    the second's alone.

    Args:
        images: a pattern per channel, see `match_pattern`.
        labels: the label maps' pattern.
        masks: label name -> pattern of its masks, in the place of `labels`.

    Raises:
        ConfigError: a pattern that is none, fits nothing, or fits two files of one case; one
            pattern for two things.
    """
    named = {"": labels} if labels is not None else dict(masks or {})
    every = [*images, *named.values()]
    if len(set(every)) < len(every):
        raise ConfigError(f"one pattern stands for two things: {', '.join(every)}")
    found = [_one_each(listing, pattern, every) for pattern in images]
    maps = {name: _one_each(listing, pattern, every) for name, pattern in named.items()}
    imaged = set.intersection(*map(set, found))
    # a case may lack some masks, where a label was not drawn
    labelled = set().union(*map(set, maps.values())) if maps else set()
    unpaired: dict[str, str] = {}
    for case in sorted(set().union(*map(set, found)) - imaged):
        there = next(one[case] for one in found if case in one)
        lacks = next(pattern for pattern, one in zip(images, found, strict=True) if case not in one)
        unpaired[_told(there, listing)] = f"the case {case!r} has no image {lacks!r}"
    for case in sorted(imaged - labelled):
        unpaired[_told(found[0][case], listing)] = f"no label map of the case {case!r}"
    for case in sorted(labelled - set().union(*map(set, found))):
        there = next(one[case] for one in maps.values() if case in one)
        unpaired[_told(there, listing)] = f"no image of the case {case!r}"
    pairs = [
        Pair(
            id_of(case),
            tuple(one[case] for one in found),
            maps[""][case] if labels is not None else None,
            {name: one[case] for name, one in maps.items() if name and case in one},
            first_folder(listing, images[0], found[0][case]),
        )
        for case in sorted(imaged & labelled)
    ]
    options = [f"--images '{pattern}'" for pattern in images]
    options += [f"--labels '{labels}'"] if labels is not None else []
    return Pairing(listing.folder, _unique(pairs), unpaired, " ".join(options))


def settle_unpaired(pairing: Pairing, *, skip: bool) -> tuple[Pairing, tuple[str, ...]]:
    """The pairing without what has no counterpart, and a note for each of these.

    Raises:
        DatasetError: there is some, and it is not to be skipped; or there is no pair at all.
    """
    lost = [f"{name}: {why}" for name, why in pairing.unpaired.items()]
    if lost and not skip:
        shown = "".join(f"\n  {line}" for line in lost[:_NAMED])
        more = f"\n  and {len(lost) - _NAMED} more" if len(lost) > _NAMED else ""
        raise DatasetError(
            f"{pairing.origin}: {len(pairing.pairs)} cases have an image and a label map; these "
            f"files have no counterpart:{shown}{more}\nAdd what is missing, correct the patterns, "
            "or leave them out by --skip_unpaired"
        )
    if not pairing.pairs:
        raise DatasetError(f"{pairing.origin}: no image has a label map; check {pairing.options}")
    return replace(pairing, unpaired={}), tuple(f"left out: {line}" for line in lost)


def by_folder(pairing: Pairing, *, wanted: bool) -> tuple[Pairing, tuple[str, ...]]:
    """The pairing with a folder's cases as one patient's, if wanted; else a note that it may be so.

    Raises:
        ConfigError: it is wanted, and the cases do not lie in folders of folders.
    """
    shared: dict[str, list[str]] = {}
    for pair in pairing.pairs:
        if pair.folder and not pair.patient:
            shared.setdefault(pair.folder, []).append(pair.id)
    if wanted:
        if not shared:
            raise ConfigError(
                f"{pairing.origin}: --patients_by_folder is for folders of a patient's scans each, "
                "as --images '*/*/ct.nii.gz'; leave it out"
            )
        pairs = tuple(replace(pair, patient=pair.patient or pair.folder) for pair in pairing.pairs)
        return replace(pairing, pairs=pairs), ()
    several = {folder: cases for folder, cases in shared.items() if len(cases) > 1}
    if len(several) < 2:
        return pairing, ()
    folder, cases = next(iter(several.items()))
    note = (
        f"{len(several)} folders hold several cases, such as {folder} ({', '.join(cases[:3])}): if "
        "these are scans of one patient, say so by --patients_by_folder, so that none of them is "
        "validated by a network that was trained on another"
    )
    return pairing, (note,)


def as_table(pairing: Pairing) -> str:
    """The pairing as lines of text: case, image, label map; the first and the last few.

    >>> folder = Path("scans")
    >>> pair = Pair("a", (folder / "a CT.nii.gz",), folder / "a seg.nii.gz")
    >>> print(as_table(Pairing(folder, (pair,), {})))
    case  image        label
    a     a CT.nii.gz  a seg.nii.gz
    """
    base = pairing.origin if pairing.origin.suffix.lower() != ".csv" else pairing.origin.parent
    rows = [("case", "image", "label")]
    pairs = list(pairing.pairs)
    cut = len(pairs) > 2 * _SHOWN
    for pair in pairs[:_SHOWN] + pairs[-_SHOWN:] if cut else pairs:
        images = " + ".join(_short(image, base) for image in pair.images)
        label = _short(pair.label, base) if pair.label else f"{len(pair.masks)} masks"
        rows.append((pair.id, images, label))
    if cut:
        rows.insert(1 + _SHOWN, ("...", f"({len(pairs) - 2 * _SHOWN} more)", "..."))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def _one_each(listing: Listing, pattern: str, every: Sequence[str]) -> dict[str, Path]:
    """Case -> path of what a pattern fits, but for what a narrower one of the patterns fits."""
    found = match_pattern(listing, pattern)
    for other in every:
        if other != pattern and len(other) > len(pattern):
            taken = {name for names in match_pattern(listing, other).values() for name in names}
            left = {
                case: [one for one in names if one not in taken] for case, names in found.items()
            }
            found = {case: names for case, names in left.items() if names}
    if not found:
        raise ConfigError(
            f"{listing.folder}: nothing in it fits the pattern {pattern!r}; there is, for example, "
            f"{next(iter(listing.files), 'nothing at all')!r}"
        )
    for case, names in found.items():
        if len(names) > 1:
            raise ConfigError(
                f"{listing.folder}: the case {case!r} is there twice: {names[0]} and {names[1]} "
                f"both fit {pattern!r}; make the pattern narrower"
            )
    return {case: listing.folder / names[0] for case, names in found.items()}


def _unique(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    seen: dict[str, Pair] = {}
    for pair in pairs:
        other = seen.setdefault(pair.id.casefold(), pair)
        if other is not pair:
            raise ConfigError(
                f"{other.images[0]} and {pair.images[0]} would both be the case {pair.id}; rename "
                "one"
            )
    return tuple(pairs)


def _told(path: Path, listing: Listing) -> str:
    return _short(path, listing.folder)


def _short(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
