"""A dataset checked: each case opened once, in parallel, then all of them together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import DatasetError
from ...progress import Progress
from ..parallel import in_processes, worker_count
from .families import (
    body,
    files,
    geometry,
    image_values,
    label_values,
    outliers,
    placement,
    sides,
    twice,
)
from .findings import Finding, Report, in_order
from .listing import Listing, list_cases
from .measures import CaseNumbers, Job, measure_case
from .population import learn

_EXPLAIN = {
    *("label-flipped", "case-mirrored", "sides-swapped", "labels-swapped", "image-hu-offset"),
    *("image-not-hu", "image-scaled", "label-outside-body"),
    *("spacing-unit", "spacing-absurd", "label-interpolated", "label-scaled"),
    *("files-swapped", "label-undeclared", "case-twice", "image-constant", "label-twice"),
}

_ODD_IMAGE = {"image-8-bit", "image-clipped"}
"""Kinds of findings after which a case cannot but be unlike the others."""


def check_soundness(dataset_dir: str | Path, *, workers: int | None = None) -> Report:
    """Check a whole dataset: every file is read, each once.

    Args:
        dataset_dir: the dataset folder; nothing is written there.
        workers: processes, each with one case in memory at a time; None: one per CPU core, and
            none at all for a small dataset.

    Returns:
        Report; its findings tell what is wrong.

    Raises:
        DatasetError: no dataset.json, or one that names no labels or channels; no cases at all.

    Example:
        >>> check_soundness("dataset").count("error")  # doctest: +SKIP
        0
    """
    began = time.monotonic()
    listing = list_cases(dataset_dir)
    jobs = jobs_of(listing)
    if not jobs and not listing.findings:
        raise DatasetError(
            f"{listing.root}: the dataset has no cases; put scans into imagesTr and label maps "
            "into labelsTr"
        )
    with Progress(len(jobs), "checking", unit="cases") as progress:
        cases = []
        for case in in_processes(measure_case, jobs, workers=_workers(jobs, workers)):
            cases.append(case)
            progress.advance()
    cases.sort(key=lambda case: case.id)
    found = findings_of(cases, listing)
    return Report(listing.root, len(cases), found, time.monotonic() - began)


def jobs_of(listing: Listing) -> list[Job]:
    """One per case that has as many files as it should have."""
    return [
        Job(
            name,
            images,
            label,
            listing.channels,
            test=label is None,
            unannotated=listing.unannotated.get(name, frozenset()),
            ignore=listing.ignore,
        )
        for name, images, label in (*listing.cases, *listing.tests)
        if len(images) in (1, len(listing.channels))
    ]


def findings_of(cases: Sequence[CaseNumbers], listing: Listing) -> tuple[Finding, ...]:
    """All findings about measured cases, in order."""
    found = list(listing.findings)
    for name, images, _ in (*listing.cases, *listing.tests):
        if len(images) not in (1, len(listing.channels)):
            text = (
                f"{images[0]}: the case has {len(images)} image files, dataset.json names "
                f"{len(listing.channels)} channels; add the missing files"
            )
            found.append(Finding("pair-missing", "error", name, text))
    for case in cases:
        found += files.find(case) + geometry.find(case) + placement.find(case)
        found += label_values.find(case, listing) + image_values.find(case)
        found += body.find(case, listing)
    found += label_values.find_nowhere(cases, listing)
    found += twice.find(cases)
    population = learn(cases)
    found += sides.find(cases, population, listing)
    explained = {
        finding.case
        for finding in found
        if (finding.kind in _EXPLAIN and finding.level == "error") or finding.kind in _ODD_IMAGE
    }
    found += outliers.find(cases, population, listing, explained)
    return in_order(_without_consequences(found))


def _without_consequences(found: Sequence[Finding]) -> Iterator[Finding]:
    """The findings but for those that another one of the same case explains."""
    kinds: dict[str, set[str]] = {}
    for finding in found:
        kinds.setdefault(finding.case, set()).add(finding.kind)
    because = {
        **{kind: {"files-swapped"} for kind in ("image-not-hu", "image-scaled", "image-8-bit")},
        "label-outside-body": {"label-flipped", "image-hu-offset", "image-scaled", "image-not-hu"},
        "label-on-blank": {"label-flipped", "image-clipped", "image-8-bit", "image-constant"},
        "spacing-absurd": {"spacing-unit"},
        "label-spacing": {"spacing-unit"},
        "label-elsewhere": {"spacing-unit"},
        "forms-disagree": {"label-form", "image-form"},
        "label-tiny": {"label-scaled", "label-fractions", "spacing-absurd"},
    }
    errors = {(finding.case, finding.kind) for finding in found if finding.level == "error"}
    for finding in found:
        graver = finding.level != "error" and (finding.case, finding.kind) in errors
        if not graver and not because.get(finding.kind, set()) & kinds[finding.case]:
            yield finding


def _workers(jobs: Sequence[Job], workers: int | None) -> int:
    files = (path for job in jobs for path in (*job.images, *((job.label,) if job.label else ())))
    return worker_count(files, len(jobs), workers)
