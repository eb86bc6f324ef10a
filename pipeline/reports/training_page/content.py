"""What the page of a training says: where it stands, its curves, what is trained and how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .. import page
from ..page import Block, Cell, Charts, Column, Commands, Facts, Paragraph, Section, Table, number
from ..pictures.chart import Chart, Line
from ..pictures.labels import label_colour, spoken

_ROWS = 12  # validations of the table, the latest
_WIDE = 6  # labels that have a column each; more have a row each

Row = Mapping[str, str]


@dataclass(frozen=True)
class Standing:
    """Where a training stands.

    Args:
        running: whether it goes on; the page loads itself again then.
        text: what became of it where it does not run: how it ended, why it failed.
        failed: the text is of something that went wrong.
        epoch, epochs: the one that has ended last, and how many there are.
        iteration: that has ended last.
        began, now: of this run, and when the page was written.
        ends: when it is expected to end; None: not known, or it has ended.
        earliest: it may end before, by `patience`.
    """

    running: bool
    text: str
    failed: bool
    epoch: int
    epochs: int
    iteration: int
    began: datetime
    now: datetime
    ends: datetime | None = None
    earliest: bool = False


@dataclass(frozen=True)
class TrainingRun:
    """What the page is about.

    Args:
        title: of the plan.
        data: what is trained on, a sentence.
        labels: names of the foreground labels.
        rows: of metrics_train.csv.
        hints: (text, whether it is serious) of labels that are rare or not there.
        settings: names and values of the plan, in short.
        machine: names and values of what it runs on.
        command: as typed.
        go_on: what goes on with it when it is stopped.
        validated: cases are held out; the Dice of `rows` are theirs.
    """

    title: str
    data: str
    labels: Sequence[str]
    rows: Sequence[Row]
    hints: Sequence[tuple[str, bool]]
    settings: Sequence[tuple[str, str]]
    machine: Sequence[tuple[str, str]]
    command: str
    go_on: str
    validated: bool = True


def training_page(run: TrainingRun, standing: Standing, *, refresh: int) -> bytes:
    """The page as an HTML file.

    Args:
        refresh: seconds after which it loads itself again, while the training runs.
    """
    sections = [_standing(run, standing)]
    if run.hints:
        said = [Paragraph(f"{text}.", kind="bad" if bad else "") for text, bad in run.hints]
        sections.append(Section("Labels that are missing or rare", said))
    if run.rows:
        sections += [_curves(run), _validations(run)]
        if len(run.labels) > _WIDE and run.validated:
            sections.append(_per_label(run))
    sections.append(Section("What is trained", [Facts(run.settings)]))
    sections.append(Section("How", [Commands([run.command]), Facts(run.machine)]))
    return page.render(
        page.Page(
            title=run.title,
            intro=run.data,
            key_numbers=_key_numbers(run, standing),
            sections=sections,
            refresh=refresh if standing.running else None,
        )
    )


def _key_numbers(run: TrainingRun, standing: Standing) -> list[tuple[str, str]]:
    found = [("epochs", f"{standing.epoch} of {standing.epochs}")]
    found.append(("iterations", f"{standing.iteration:,}"))
    best = best_row(run.rows)
    if best is not None:
        found.insert(0, ("best mean Dice", number(float(best["dice_mean"]), 3)))
    if run.rows:
        found.append(("time trained", page.duration(float(run.rows[-1]["seconds"]))))
    if standing.running and standing.ends is not None:
        left = max((standing.ends - standing.now).total_seconds(), 0.0)
        found.append(("at most left" if standing.earliest else "left", page.duration(left)))
    return found


def _standing(run: TrainingRun, standing: Standing) -> Section:
    facts = [("began", _time(standing.began))]
    if standing.running:
        state = "It is running."
        expected = "after the first epoch" if standing.ends is None else _time(standing.ends)
        facts.append(("expected end", expected + " at the latest" * standing.earliest))
    else:
        state = standing.text
    facts.append(("page written", _time(standing.now)))
    best = best_row(run.rows)
    if best is not None:
        value = number(float(best["dice_mean"]), 4)
        facts.append(("best mean Dice", f"{value}, after epoch {best['epoch']}"))
    if not run.validated:
        facts.append(("Dice", "not measured: no case is held out"))
    blocks: list[Block] = [Paragraph(state, kind="bad" if standing.failed else "")]
    if standing.running:
        blocks.append(
            Paragraph(
                "This page loads itself again. Where it was written long ago, the training was "
                f"stopped: {run.go_on}.",
                kind="soft",
            )
        )
    return Section("Where it stands", [*blocks, Facts(facts)])


def _curves(run: TrainingRun) -> Section:
    def values(column: str) -> list[tuple[float, float]]:
        return [(float(row["iteration"]), float(row[column])) for row in run.rows]

    charts = []
    if run.validated:
        mean = values("dice_mean")
        lines = [Line("mean", mean)]
        charts.append(Chart("Mean Dice on validation cases", lines, y_range=_tenths(mean)))
    if len(run.labels) > 1 and run.validated:
        labels = [
            Line(spoken(name), values(f"dice_{name}"), label_colour(place))
            for place, name in enumerate(run.labels, start=1)
        ]
        charts.append(Chart("Dice per label", labels, y_range=(0.0, 1.0)))
    charts += [
        Chart("Training loss", [Line("loss", values("loss"))]),
        Chart("Learning rate", [Line("learning rate", values("learning_rate"))]),
    ]
    return Section("Curves", [Charts(charts)])


def _tenths(values: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The tenths around the values, at least one apart."""
    known = [value for _, value in values if value == value] or [0.0]
    low = min(math.floor(10 * min(known)), 9)
    return low / 10, max(math.ceil(10 * max(known)), low + 1) / 10


def _validations(run: TrainingRun) -> Section:
    named = run.labels if len(run.labels) <= _WIDE and run.validated else ()
    columns = [Column("epoch")]
    columns += [Column(name, True) for name in ("iteration", "time", "loss")]
    if run.validated:
        columns += [Column("mean Dice"), *(Column(spoken(name), True) for name in named)]
    rows = []
    for row in reversed(run.rows[-_ROWS:]):
        mean = float(row["dice_mean"])
        cells = [
            Cell(f"{int(row['iteration']):,}", number=True),
            Cell(page.duration(float(row["seconds"])), number=True),
            Cell(number(float(row["loss"]), 3), number=True),
        ]
        if run.validated:
            cells.append(Cell(number(mean, 3), share=_share(mean)))
        cells += [Cell(number(float(row[f"dice_{name}"]), 3), number=True) for name in named]
        rows.append((row["epoch"], cells))
    more = len(run.rows) - len(rows)
    caption = "Dice on the network's grid; - where no case has the label."
    if not run.validated:
        caption = "No case is held out, so there is no Dice."
    if more > 0:
        caption += f" {more} earlier ones are in metrics_train.csv."
    title = "Validations" if run.validated else "Epochs"
    return Section(title, [Table(columns, rows, caption=caption)])


def _per_label(run: TrainingRun) -> Section:
    """Of many labels the latest and the best validation's Dice, the lowest first."""
    latest, best = run.rows[-1], best_row(run.rows)
    found = {name: float(latest[f"dice_{name}"]) for name in run.labels}
    rows = []
    for name in sorted(found, key=lambda one: (_share(found[one]), one)):
        then = float("nan") if best is None else float(best[f"dice_{name}"])
        cells = [
            Cell(number(found[name], 3), share=_share(found[name])),
            Cell(number(then, 3), number=True),
        ]
        rows.append((spoken(name), cells))
    columns = [Column("label"), Column("latest Dice"), Column("in the best validation", True)]
    return Section("Dice per label", [Table(columns, rows)])


def best_row(rows: Sequence[Row]) -> Row | None:
    """The first row of the highest mean Dice; None where there is none."""
    known = [row for row in rows if float(row["dice_mean"]) == float(row["dice_mean"])]
    return max(known, key=lambda row: float(row["dice_mean"])) if known else None


def _share(dice: float) -> float:
    return dice if dice == dice else 0.0


def _time(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S}"
