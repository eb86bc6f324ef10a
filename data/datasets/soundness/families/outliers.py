"""Cases unlike the others: tiny or missing labels, odd volumes, intensities, places, spacing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from ..findings import Finding
from ..listing import Listing
from ..measures import CaseNumbers
from ..population import LEAST, ODD_PLACE, Population, brightness, places_of

_TINY = 0.03  # of the usual volume
_TINY_VOXELS = 5
_ODD_VOLUME, _TIMES = 6.0, 3.0
_ODD_INTENSITY = 7.0
_OFTEN = 0.9
_ONE_FACTOR = 3.0
_UNITS = {10.0: "cm", 1000.0: "metres", 0.1: "tenths of a mm", 0.001: "micrometres"}


def find(
    cases: Sequence[CaseNumbers],
    population: Population,
    listing: Listing,
    explained: Collection[str],
) -> list[Finding]:
    """Findings about cases against the rest of the dataset.

    Args:
        cases: all of them.
        population: learned of them.
        listing: names the labels.
        explained: ids of cases whose oddness has a cause that was found; they are left out, but
            for tiny labels and units.
    """
    names = {value: name for name, value in listing.labels.items()}
    found = _units(cases)
    in_other_units = {finding.case for finding in found}
    for case in cases:
        if case.label is None or case.id in in_other_units:
            continue
        found += _sizes(case, population, names, odd=case.id not in explained)
        if case.id not in explained:
            found += _missing(case, population, names)
            found += _intensities(case, population, names) + _places(case, population, names)
    return found


def _units(cases: Sequence[CaseNumbers]) -> list[Finding]:
    """Voxels that are 10 or 1000 times those of the others: a header in another unit."""
    sizes = {case.id: np.sort(case.grid.spacing) for case in cases if case.grid is not None}
    if len(sizes) < LEAST:
        return []
    middle = np.median(list(sizes.values()), axis=0)
    found = []
    for case in cases:
        ratios = sizes.get(case.id, middle) / middle
        ratio = float(np.median(ratios))
        if ratios.max() > _ONE_FACTOR * ratios.min():
            continue  # an edge that is wrong alone is no matter of units
        for factor, unit in _UNITS.items():
            if 0.4 * factor < 1 / ratio < 2.5 * factor and not 0.25 < ratio < 4:
                text = (
                    f"{case.images[0].path}: its voxels are {ratio:.3g} times as long as those of "
                    f"the other cases: the header is probably in {unit}; multiply it by {factor:g}"
                )
                numbers = {"factor": factor}
                found.append(Finding("spacing-unit", "error", case.id, text, numbers))
                break
    return found


def _sizes(
    case: CaseNumbers, population: Population, names: dict[int, str], *, odd: bool
) -> list[Finding]:
    found = []
    for value, label in case.labels.items():
        usually = population.volumes.get(value)
        if label.place is None:
            continue  # its voxels' size may be wrong
        if value not in names or (usually is None and label.voxels > _TINY_VOXELS):
            continue
        ratio = label.ml / float(np.exp(usually.middle)) if usually is not None else 0.0
        numbers = {"label": names[value], "ml": label.ml, "voxels": label.voxels, "ratio": ratio}
        size = f"{_path(case)}: the label {names[value]} has {label.ml:.3g} ml"
        if ratio < _TINY or label.voxels <= _TINY_VOXELS:
            rest = f", {ratio:.1%} of the usual volume" if ratio else ""
            text = f"{size} ({label.voxels} voxels){rest}: a remnant, or a click beside; look at it"
            found.append(Finding("label-tiny", "warning", case.id, text, numbers))
        elif odd and usually is not None:
            deviation = float(usually.deviation(np.log(label.ml)))
            if abs(deviation) > _ODD_VOLUME and not 1 / _TIMES < ratio < _TIMES:
                text = f"{size}, {ratio:.2g} times the usual volume; look at it"
                found.append(Finding("volume-outlier", "note", case.id, text, numbers))
    return found


def _missing(case: CaseNumbers, population: Population, names: dict[int, str]) -> list[Finding]:
    if not any(label.place for label in case.labels.values()):
        return []
    gone = [
        names[value]
        for value, share in population.share.items()
        if share >= _OFTEN
        and value in names
        and value not in case.labels
        and value not in case.job.unannotated
    ]
    if not gone:
        return []
    text = (
        f"{_path(case)}: has no {', '.join(gone)}, which nearly all other cases have; if it was "
        'not drawn, training takes it for background: say by dataset.json\'s "annotated" which '
        "labels were drawn"
    )
    return [Finding("label-missing", "note", case.id, text, {"labels": gone})]


def _intensities(case: CaseNumbers, population: Population, names: dict[int, str]) -> list[Finding]:
    odd = {}
    for value, usually in population.intensities.items():
        here = brightness(case, value)
        if here is not None and value in names:
            deviation = float(usually.deviation(here))
            if abs(deviation) > _ODD_INTENSITY:
                odd[names[value]] = round(deviation, 1)
    if not odd:
        return []
    told = ", ".join(f"{name} ({deviation:+.0f})" for name, deviation in odd.items())
    text = (
        f"{_path(case)}: what the image shows in {told} is unlike the other cases (in robust "
        "standard deviations): the label map of another scan, or another contrast; look at it"
    )
    return [Finding("intensity-outlier", "warning", case.id, text, {"deviations": odd})]


def _places(case: CaseNumbers, population: Population, names: dict[int, str]) -> list[Finding]:
    """The label that lies most oddly to the others; those drag the others with them."""
    odd = population.oddness_of_each(places_of(case))
    if not odd:
        return []
    value, most = max(odd.items(), key=lambda item: float(item[1].max()))
    if most.max() < ODD_PLACE or value not in names:
        return []
    axes = [name for name, one in zip("xyz", most, strict=True) if one >= ODD_PLACE]
    text = (
        f"{_path(case)}: {names[value]} lies to the other labels otherwise than in the other cases "
        f"(along {' and '.join(axes)}, {most.max():.0f} robust standard deviations on average): "
        "wrong values, or the label map of another scan; look at it"
    )
    numbers = {"label": names[value], "axes": axes}
    return [Finding("position-outlier", "warning", case.id, text, numbers)]


def _path(case: CaseNumbers) -> Path:
    return case.label.path if case.label is not None else case.images[0].path
