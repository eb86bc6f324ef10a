"""Label maps whose values are not the declared labels, and labels that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..findings import DATASET, Finding
from ..listing import Listing
from ..measures import CaseNumbers

_MANY = 50  # values that no label map has
_NAMED = 6  # values that a text lists
_NEAR = 0.25  # a fraction this near to a declared value means it
_SAME = 2e-3


def find(case: CaseNumbers, listing: Listing) -> list[Finding]:
    """Findings about the values of a case's label map."""
    if case.label is None or not case.counts:
        return []
    path = case.label.path
    declared = sorted(
        {*listing.labels.values(), *(() if listing.ignore is None else (listing.ignore,))}
    )
    values = list(case.counts)
    strange = [value for value in values if value not in declared]
    if not strange:
        return _empty(case, path.as_posix(), declared) + _unannotated(case, path, listing)
    if _is_label_map(case, declared) and len(strange) > _MANY:
        text = (
            f"{path}: holds {len(values)} values as an image does, and {case.images[0].path} only "
            "declared labels: the two files were probably exchanged; exchange them back"
        )
        return [Finding("files-swapped", "error", case.id, text)]
    factor = _factor([value for value in values if value], [one for one in declared if one])
    if factor is not None:
        text = (
            f"{path}: its values are {_told(case, strange)}, the declared labels times "
            f"{factor:.6g}: probably scaled for display; divide by it"
        )
        return [Finding("label-scaled", "error", case.id, text, {"factor": factor})]
    if all(isinstance(value, int) for value in strange):
        return [_undeclared(case, path.as_posix(), strange, declared)]
    near = all(min(abs(value - one) for one in declared) <= _NEAR for value in values)
    binary = declared == [0, 1] and all(-_NEAR <= value <= 1 + _NEAR for value in values)
    share = sum(case.counts[value] for value in strange if not isinstance(value, int))
    numbers = {"voxels": share, "values": len(strange)}
    if near or binary:
        text = (
            f"{path}: {share} of its voxels are fractions ({_told(case, strange)}), as after a "
            "resampling with interpolation or a rounded scale; round them to the declared labels"
        )
        return [Finding("label-fractions", "error", case.id, text, numbers)]
    text = (
        f"{path}: {share} of its voxels are fractions between labels ({_told(case, strange)}), so "
        "it was resampled with interpolation, or is a map of probabilities; make it again with "
        "nearest neighbours"
    )
    return [Finding("label-interpolated", "error", case.id, text, numbers)]


def find_nowhere(cases: Sequence[CaseNumbers], listing: Listing) -> list[Finding]:
    """Findings about labels that no case has; label maps with values not declared tell nothing."""
    declared = {*listing.labels.values(), listing.ignore}
    read = [case for case in cases if case.counts and declared.issuperset(case.counts)]
    there = {value for case in read for value in case.counts}
    missing = {
        name: sum(value not in case.job.unannotated for case in read)
        for name, value in listing.labels.items()
        if value and value not in there
    }
    if not read or not missing:
        return []
    names = list(missing)
    told = ", ".join(
        f"{name} (annotated in none)" if not missing[name] else name for name in names[:_NAMED]
    ) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    text = (
        f"{listing.root / 'dataset.json'}: declares {told}, which none of {len(read)} label maps "
        "holds: nothing can be learned of it, and no network will find it; take it out, or add "
        "cases that have it"
    )
    return [Finding("label-nowhere", "warning", DATASET, text, {"labels": names})]


def _is_label_map(case: CaseNumbers, declared: Sequence[int]) -> bool:
    """Whether the image of a case can be a label map."""
    if len(case.images) != 1 or len(case.images[0].channels) != 1:
        return False
    channel = case.images[0].channels[0]
    few = channel.levels <= len(declared)
    return few and channel.lowest == 0 and channel.highest in declared


def _undeclared(
    case: CaseNumbers, path: str, strange: Sequence[int | float], declared: Sequence[int]
) -> Finding:
    why = "name them in dataset.json, or correct the label map"
    if min(strange) < 0:
        why = "a negative value often means 'not labelled'; give it a label, or name it ignore"
    elif list(strange) == [255]:
        why = "255 often means 'ignore'; name it ignore in dataset.json, or correct the label map"
    text = (
        f"{path}: holds values that dataset.json does not declare: {_told(case, strange)}; "
        f"declared are {', '.join(map(str, declared[:20]))}: {why}"
    )
    return Finding("label-undeclared", "error", case.id, text, {"values": list(strange)[:100]})


def _empty(case: CaseNumbers, path: str, declared: Sequence[int]) -> list[Finding]:
    if any(case.counts.get(value) for value in declared if value):
        return []
    text = (
        f"{path}: no voxel is labelled; if the case has nothing to label it may stay, else its "
        "label map was lost on the way"
    )
    return [Finding("label-empty", "warning", case.id, text)]


def _unannotated(case: CaseNumbers, path: Path, listing: Listing) -> list[Finding]:
    there = sorted(value for value in case.job.unannotated if case.counts.get(value))
    if not there:
        return []
    names = {value: name for name, value in listing.labels.items()}
    told = ", ".join(f"{names[value]} ({case.counts[value]} voxels)" for value in there)
    text = (
        f'{path}: holds {told}, which dataset.json\'s "annotated" does not name for this case; add '
        "it there, or take the label out of the map"
    )
    numbers = {"labels": [names[value] for value in there]}
    return [Finding("label-not-annotated", "error", case.id, text, numbers)]


def _factor(values: Sequence[int | float], declared: Sequence[int]) -> float | None:
    """What the declared labels were multiplied by; None where that is not it, or not clear."""
    if not values or not declared or min(values) <= 0:
        return None
    if len(values) == 1 and len(declared) > 1:
        return None  # it could be any of them
    for factor in (values[0] / declared[0], max(values) / max(declared), min(values)):
        if abs(factor - 1) > 0.3 and all(
            any(abs(value / factor - one) <= _SAME * max(one, 1) for one in declared)
            for value in values
        ):
            return float(factor)
    return None


def _told(case: CaseNumbers, values: Sequence[int | float]) -> str:
    often = sorted(sorted(values, key=lambda value: -case.counts[value])[:_NAMED])
    told = ", ".join(f"{value:.4g} ({case.counts[value]} voxels)" for value in often)
    return told + (f" and {len(values) - _NAMED} more" if len(values) > _NAMED else "")
