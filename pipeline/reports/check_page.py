"""check.html: what a check of a dataset found, with a picture of each case that is concerned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ...data.datasets.entries import IGNORE_NAME
from ...data.datasets.listed import CaseFiles
from ...data.datasets.soundness.findings import DATASET, LEVELS, Finding, Report
from ...data.datasets.soundness.intensities import is_ct
from ...data.datasets.soundness.listing import Listing, list_cases
from ...data.datasets.soundness.mending.case import open_case
from ...data.datasets.soundness.mending.steps import STEPS, Opened, Volume, mend, mends
from ...data.errors import GridgateError
from ...data.geometry.label_grids import nearest_labels
from ...data.output_folder import OutputFolder
from ...data.progress import progressed
from . import page
from .check_text import headline
from .pictures.album import Album
from .pictures.figures import case_figure, literal
from .pictures.grey_window import grey_window
from .pictures.slices import View

PAGE = "check.html"
PICTURES = 50
"""Cases that get a picture, those with errors first."""

_MOST_ROWS = 400


def write_check_page(folder: str | Path, report: Report, *, pictures: int = PICTURES) -> Path:
    """Write check.html, and its pictures as PNG files to the folder `pictures` beside it.

    A picture shows the label map as it is, filled, and as `gridgate check --fix` would mend it, as
    an outline. A case that cannot be read has none.

    Args:
        folder: made if absent.
        report: of the check.
        pictures: at most so many cases get one.

    Returns:
        The page.

    Raises:
        OutputError: it cannot be written; a file that Gridgate did not write is in its place.
        ConfigError: another run is writing there.
    """
    with OutputFolder(folder) as output:
        output.refuse_foreign([PAGE])
        content = _content(report, Album.of(output), pictures)
        return output.write(PAGE, lambda stream: stream.write(content))


def _content(report: Report, album: Album, pictures: int) -> bytes:
    """The page; its pictures go to the album."""
    listing = list_cases(report.dataset)
    cases = {case[0]: case for case in (*listing.cases, *listing.tests)}
    of_case: dict[str, list[Finding]] = {}
    for finding in report.findings:
        of_case.setdefault(finding.case, []).append(finding)
    sections = [_kinds(report)]
    if DATASET in of_case:
        sections.append(page.Section("The dataset", _texts(of_case.pop(DATASET))))
    shown = list(of_case.items())[:pictures]
    for name, found in progressed(shown, len(shown), "drawing", unit="cases"):
        blocks: list[page.Block] = [*_texts(found)]
        drawn = _picture(cases.get(name), found, listing, album)
        sections.append(page.Section(name, [*blocks, *([drawn] if drawn else [])]))
    rest = list(of_case.items())[pictures:]
    if rest:
        sections.append(_without_pictures(rest))
    return page.render(
        page.Page(
            title=f"Check of {report.dataset.resolve().name}",
            intro=headline(report),
            key_numbers=[
                ("cases", str(report.cases)),
                *((f"{level}s", str(report.count(level))) for level in LEVELS),
            ],
            sections=sections,
        )
    )


def _kinds(report: Report) -> page.Section:
    rows = []
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        found = report.of_kind(kind)
        cells = [
            page.Cell(found[0].level, kind="bad" if found[0].level == "error" else ""),
            page.Cell(str(len(found)), number=True),
            page.Cell(mends(kind) or "needs a person", kind="wide"),
        ]
        rows.append((kind, cells))
    if not rows:
        return page.Section("What was found", [page.Paragraph("Nothing: the dataset is sound.")])
    columns = [
        page.Column("kind"),
        page.Column("level"),
        page.Column("findings", number=True),
        page.Column("--fix"),
    ]
    return page.Section("What was found", [page.Table(columns, rows)])


def _texts(found: Sequence[Finding]) -> list[page.Block]:
    return [
        page.Paragraph(
            f"{finding.level}: {finding.kind}. {finding.text}.",
            kind={"error": "bad", "note": "soft"}.get(finding.level, ""),
        )
        for finding in found
    ]


def _without_pictures(rest: Sequence[tuple[str, Sequence[Finding]]]) -> page.Section:
    rows = [
        (
            name,
            [
                page.Cell(finding.level),
                page.Cell(finding.kind),
                page.Cell(finding.text, kind="wide"),
            ],
        )
        for name, found in rest
        for finding in found
    ]
    caption = "" if len(rows) <= _MOST_ROWS else f"The first {_MOST_ROWS} of {len(rows)}."
    columns = [page.Column(name) for name in ("case", "level", "kind", "what")]
    return page.Section(
        "Further cases, without pictures", [page.Table(columns, rows[:_MOST_ROWS], caption)]
    )


def _picture(
    case: CaseFiles | None, found: Sequence[Finding], listing: Listing, album: Album
) -> page.Picture | None:
    """The case's picture; None where it cannot be read."""
    if case is None or any(finding.kind == "image-unreadable" for finding in found):
        return None
    if any(finding.kind == "label-unreadable" for finding in found):
        case = (case[0], case[1], None)
    try:
        opened = open_case(case, listing)
        after = _mended(case, found, listing)
    except GridgateError:
        return None
    kinds = ", ".join(dict.fromkeys(finding.kind for finding in found))
    content = album.keep(case[0], _figure(opened, after, listing, case[0]))
    caption = "Filled: the label map as it is."
    if after is not None:
        caption += " Outlined: as --fix mends it."
    return page.Picture(content, f"{case[0]}: {kinds}", caption)


def _mended(case: CaseFiles, found: Sequence[Finding], listing: Listing) -> Opened | None:
    """The case as it would be mended; None where nothing changes that a picture shows."""
    steps = [finding for kind in STEPS for finding in found if finding.kind == kind]
    if not steps or case[2] is None:
        return None
    opened = open_case(case, listing)
    try:
        for finding in steps:
            mend(opened, finding, sorted(_declared(listing).values()))
    except GridgateError:
        return None
    return opened if any(one.done for one in (*opened.images, opened.label) if one) else None


def _figure(before: Opened, after: Opened | None, listing: Listing, name: str) -> Figure:
    image = before.images[0] if after is None else after.images[0]
    values, names = list(_declared(listing).values()), list(_declared(listing))
    filled = _on(image, before.label, values)
    if filled.max() == len(values):
        names.append("not declared")
    outlined = None if after is None else View.of(_on(image, after.label, values), image.affine)
    return case_figure(
        View.of(image.array, image.affine),
        View.of(filled, image.affine),
        labels=names,
        name=literal(name),
        truth=outlined,
        window=grey_window(image.array, ct=is_ct(listing.channels[0])),
        filled="label map",
        outlined="mended",
    )


def _declared(listing: Listing) -> dict[str, int]:
    """Names and values of the labels; those of voxels to ignore come last."""
    return listing.labels | ({} if listing.ignore is None else {IGNORE_NAME: listing.ignore})


def _on(image: Volume, label: Volume | None, values: Sequence[int]) -> NDArray[np.int64]:
    """A label map's values on the image's grid, as numbers of the labels; others come last."""
    if label is None:
        return np.zeros(image.array.shape, dtype=np.int64)
    array = nearest_labels(np.asarray(label.array), label.grid, image.grid)
    result = np.zeros(array.shape, dtype=np.int64)
    whole = np.rint(array)
    for number, value in enumerate(values):
        result[whole == value] = number
    result[~np.isin(whole, values)] = len(values)
    return result
