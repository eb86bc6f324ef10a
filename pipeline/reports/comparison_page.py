"""report.html of a comparison: ranks, tables, the spread over cases, what changed most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...data.datasets.dataset import Dataset
from ...data.errors import ConfigError, DatasetError, GridgateError
from ...data.output_folder import OutputFolder
from ..batch.results.case_result import DONE
from ..batch.results.table_file import read_case_table
from ..comparison.friedman import LEAST_RUNS, friedman_ranks
from ..comparison.paired import MEAN, Paired, amounts, shared_means
from ..comparison.ranking import LEVEL, Ranked
from ..comparison.runs import BETTER, Run, labels_left_out, shared_cases, shared_labels
from ..comparison.tables import means_table, pairs_table, title
from . import page
from .cases import CaseFiles, Truth, names_by_value, outlined, truths_of
from .page import Block, Cell, Column, Paragraph, Picture, Section, SideBySide, Table, number
from .pictures.album import Album
from .pictures.critical_difference import critical_difference_figure
from .pictures.figures import case_figure, png
from .pictures.grey_window import grey_window
from .pictures.labels import spoken
from .pictures.slices import image_view
from .pictures.spread import spread_figure


@dataclass(frozen=True)
class Compared:
    """What the page is about.

    Args:
        runs: in the order in which they were given.
        metrics: those compared.
        pairs: of each metric.
        ranks: best first.
        pictures: how many cases to show.
        dataset: for the truth in the pictures; None draws none.
    """

    runs: Sequence[Run]
    metrics: Sequence[str]
    pairs: Sequence[Paired]
    ranks: Sequence[Ranked]
    pictures: int = 3
    dataset: Dataset | None = None


def comparison_page(compared: Compared, output: OutputFolder) -> bytes:
    """The page; its pictures are written to the folder `pictures` of the output, too.

    Raises:
        OutputError: a picture cannot be written, or another file is in its place.
    """
    album = Album.of(output)
    cases = {case for run in compared.runs for case in run.cases}
    first = [one.name for one in compared.ranks if one.rank == compared.ranks[0].rank]
    sections = [
        _ranks(compared, album),
        _means(compared),
        _spread(compared, album),
        _pairs(compared),
    ]
    sections.append(_changed(compared, album))
    return page.render(
        page.Page(
            title="Runs compared",
            intro=", ".join(f"{run.name} ({run.source})" for run in compared.runs),
            key_numbers=[
                ("runs", str(len(compared.runs))),
                ("cases", str(len(cases))),
                ("first by rank", first[0] if len(first) == 1 else f"{len(first)} share it"),
                (
                    "differences of labels",
                    f"{sum(p.wilcoxon_holm < LEVEL for p in compared.pairs if p.label != MEAN)} of "
                    f"{sum(p.label != MEAN for p in compared.pairs)}",
                ),
            ],
            sections=sections,
        )
    )


def _ranks(compared: Compared, album: Album) -> Section:
    rows = [
        (
            one.name,
            [
                Cell(f"{one.rank:.2f}", number=True),
                Cell(f"{one.interval[0]:.2f} to {one.interval[1]:.2f}", number=True),
                Cell(f"{100 * one.firsts:.0f} %", share=one.firsts),
                Cell(f"{one.wins:.2f}", number=True),
            ],
        )
        for one in compared.ranks
    ]
    heads = [Column("run"), Column("rank", True), Column("of 95 % of samples", True)]
    heads += [Column("first"), Column("beats", True)]
    caption = (
        "As the Decathlon ranks: of each label and metric a run's place is by how many others it "
        "is significantly better than (one-sided Wilcoxon, Holm, p < 0.05); rank is the mean of "
        "the places. Samples draw the cases again: first is the share of them in which none has a "
        "lower rank. Beats: the mean number of others."
    )
    blocks: list[Block] = [Table(heads, rows, caption=caption)]
    if len(compared.runs) >= LEAST_RUNS:
        blocks.append(_critical_difference(compared, album))
    return Section("Ranks", blocks)


def _critical_difference(compared: Compared, album: Album) -> Block:
    metric = compared.metrics[0]
    try:
        ranks = friedman_ranks(compared.runs, metric)
        if ranks is None:
            return Paragraph("Too few cases for a critical-difference diagram.", "soft")
        figure, dark = (critical_difference_figure(ranks, dark=one) for one in (False, True))
    except ConfigError as error:
        return Paragraph(f"{error}.", "soft")
    caption = (
        f"Mean rank over {ranks.cases} cases by {title(metric)}, the mean of each case's labels; 1 "
        "is best. A bar joins runs that Nemenyi's test does not tell apart at 0.05; Friedman's "
        f"test that all are alike: p = {ranks.friedman:.2g}."
    )
    content = album.keep("critical_difference", figure)
    alt = "Critical-difference diagram: the runs along their mean rank"
    return Picture(content, alt=alt, caption=caption, dark=png(dark))


def _means(compared: Compared) -> Section:
    heads, rows = means_table(compared.runs, compared.metrics)
    columns = [Column(heads[0]), *(Column(head, number=n > 0) for n, head in enumerate(heads[1:]))]
    table = [
        (spoken(label), [Cell(name), *(Cell(cell, number=True) for cell in cells)])
        for label, name, *cells in rows
    ]
    caption = "Mean and standard deviation over the cases of which all runs have a number."
    told = [
        Paragraph(f"{text}.", "soft") for text in labels_left_out(compared.runs, compared.metrics)
    ]
    return Section("Means", [Table(columns, table, caption=caption), *told])


def _spread(compared: Compared, album: Album) -> Section:
    blocks: list[Block] = []
    for metric in compared.metrics:
        numbers = {}
        for label in shared_labels(compared.runs, metric):
            cases = shared_cases(compared.runs, metric, label)
            by_run = [amounts(run, metric, label) for run in compared.runs]
            numbers[label] = [[by_case[case] for case in cases] for by_case in by_run]
        if not numbers:
            continue
        told = (numbers, [run.name for run in compared.runs], title(metric))
        content = album.keep(f"spread_{metric}", spread_figure(*told))
        dark = png(spread_figure(*told, dark=True))
        alt = f"{title(metric)} of every case, per label and run"
        caption = "A dot per case; boxes hold the middle half, the line is the median."
        blocks.append(Picture(content, alt=alt, caption=caption, dark=dark))
    return Section("Cases", blocks)


def _pairs(compared: Compared) -> Section:
    heads, rows = pairs_table(compared.pairs)
    columns = [Column(heads[0]), *(Column(head) for head in heads[1:])]
    table = [(first, [Cell(cell) for cell in cells]) for first, *cells in rows]
    caption = (
        "Difference: the mean over cases of the second's number less the first's, with the "
        "bootstrap interval (BCa). p-values are two-sided, and corrected (Holm) for all labels and "
        "pairs of a metric together; better: the run with the better mean where Wilcoxon's p is "
        "below 0.05. d: the mean difference in its standard deviations."
    )
    return Section("Pairs", [Table(columns, table, caption=caption, sortable=True)])


def _changed(compared: Compared, album: Album) -> Section:
    """The cases of the first two runs that differ most by the first metric."""
    metric, (one, two) = compared.metrics[0], compared.runs[:2]
    first, second = shared_means(one, two, metric)
    both = [case for case in first if not math.isnan(first[case])]
    ordered = sorted(both, key=lambda case: -abs(second[case] - first[case]))
    rows = [
        (
            case,
            [
                Cell(number(first[case], 3), number=True),
                Cell(number(second[case], 3), number=True),
                _change(metric, second[case] - first[case]),
            ],
        )
        for case in ordered[:10]
    ]
    heads = [Column("case"), Column(one.name, True), Column(two.name, True), Column("change", True)]
    caption = f"{title(metric)}, the mean over labels of each case; the ten that changed most."
    blocks: list[Block] = [Table(heads, rows, caption=caption)]
    for case in ordered[: compared.pictures]:
        blocks += _both_masks(case, compared, album)
    return Section("What changed most", blocks)


def _change(metric: str, change: float) -> Cell:
    worse = bool(change) and (change < 0) == BETTER[metric]
    return Cell(f"{change:+.3f}", number=True, kind="bad" if worse else "")


def _both_masks(case: str, compared: Compared, album: Album) -> list[Block]:
    """A case with the mask of each of the first two runs, where both are folders of ours."""
    pictures: list[Picture] = []
    for run in compared.runs[:2]:
        folder = run.source.parent
        labels, values = _labels_of(run)
        try:
            row = {row["case"]: row for row in read_case_table(folder / "cases.csv")}[case]
            if row["status"] != DONE:
                return []
            truth_file, why = _truth(case, compared, labels, values)
            files = CaseFiles(folder, row, truth_file)
            image, mask, truth = files.image, files.mask, files.true_mask
        except (GridgateError, OSError, KeyError):
            return [Paragraph(f"{case}: no pictures; {folder} has no scan and mask of it.", "soft")]
        figure = case_figure(
            image_view(image),
            mask,
            truth=None if truth is None else outlined(truth),
            labels=names_by_value(labels, values),
            name=f"{case}, {run.name}",
            window=grey_window(image.array),
        )
        content = album.keep(f"{case}_{len(pictures)}", figure)
        pictures.append(Picture(content, alt=f"Slices of {case} with the mask of {run.name}"))
    return [SideBySide(pictures), *([Paragraph(why, "soft")] if why else [])]


def _labels_of(run: Run) -> tuple[list[str], list[int] | None]:
    """Names in the order of their values, the background first; and values that leave some out."""
    names = sorted(run.labels, key=lambda label: run.values.get(label, 0))
    values = [run.values.get(name, 0) for name in names]
    usual = not any(values) or values == list(range(1, len(values) + 1))
    return ["background", *names], None if usual else values


def _truth(
    case: str, compared: Compared, labels: Sequence[str], values: Sequence[int] | None
) -> tuple[Truth | None, str]:
    """That of a case, where the dataset is given and its labels are those of the masks; or why."""
    if compared.dataset is None:
        return None, ""
    try:
        return truths_of(compared.dataset, labels, region_values=values).get(case), ""
    except DatasetError as error:
        return None, f"The truth is not drawn: {error}"
