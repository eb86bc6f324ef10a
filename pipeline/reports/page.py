"""What a report's page holds, as data, and the page that Jinja2 makes of it.

The templates lie in ``templates``. Every text is escaped; the page is one file that loads nothing
from anywhere, for light and dark screens.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .pictures.chart import Chart
from .scripts import SORTING, TEMPLATES, VIEWING


@dataclass(frozen=True)
class Cell:
    """A table cell.

    Args:
        text: what it says.
        number: set at the right.
        share: 0..1, drawn as a bar behind the text; values outside are cut off.
        kind: a class of style.css: "bad" or "wide".
        link: an anchor on the page that the text leads to.
    """

    text: str
    number: bool = False
    share: float | None = None
    kind: str = ""
    link: str = ""

    @property
    def classes(self) -> str:
        """Its classes of style.css."""
        bar = "bar" if self.share is not None else ""
        return " ".join(name for name in (self.kind, "n" if self.number else "", bar) if name)

    @property
    def percent(self) -> str:
        """The bar's length."""
        return f"{100 * min(max(self.share or 0.0, 0.0), 1.0):.1f}%"


@dataclass(frozen=True)
class Column:
    """A table column: its heading, and whether it holds numbers."""

    name: str
    number: bool = False


@dataclass(frozen=True)
class Paragraph:
    """Plain text; `kind` is a class of style.css: "bad" or "soft"."""

    macro: ClassVar = "paragraph"
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table that scrolls sideways on a narrow screen.

    Args:
        columns: the first is that of the rows' headings.
        rows: (heading, the other cells).
        caption: below the table.
        total: the last row is the sum or mean of the others.
        sortable: by a click on a heading; a field above it finds rows.
        links: a row's heading -> what it leads to on the page, an anchor of a picture.
        anchors: a row's heading -> what links on the page call the row.
        viewed: rows' headings that are cases with a mask: they get a button to the viewer.
        folder: name of the run's folder that `gridgate view` shows them from.
    """

    macro: ClassVar = "table"
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    caption: str = ""
    total: bool = False
    sortable: bool = False
    links: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, str] = field(default_factory=dict)
    viewed: Collection[str] = ()
    folder: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG file's content; `dark` is shown instead where the reader's screen is dark.

    Args:
        anchor: what links on the page call it; "" for none.
    """

    macro: ClassVar = "picture"
    png: bytes
    alt: str
    caption: str = ""
    dark: bytes | None = None
    anchor: str = ""


@dataclass(frozen=True)
class SideBySide:
    """Pictures next to each other, below each other on a narrow screen."""

    macro: ClassVar = "side_by_side"
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class Commands:
    """Commands as typed."""

    macro: ClassVar = "commands"
    lines: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    macro: ClassVar = "facts"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Charts:
    """Charts next to each other, below each other on a narrow screen."""

    macro: ClassVar = "charts"
    charts: Sequence[Chart]


Block: TypeAlias = Paragraph | Table | Picture | SideBySide | Charts | Commands | Facts


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Args:
        title: also of the browser's tab.
        intro: a sentence or two, perhaps "".
        key_numbers: (name, number), shown large.
        sections: in their order.
        refresh: seconds after which a browser loads it again; None: it stays as it is.
    """

    title: str
    intro: str = ""
    key_numbers: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default_factory=tuple)
    refresh: int | None = None

    @property
    def sorts(self) -> bool:
        """Whether a table on it sorts."""
        return any(table.sortable for table in self._tables)

    @property
    def views(self) -> bool:
        """Whether it has buttons to the viewer."""
        return any(table.viewed for table in self._tables)

    @property
    def _tables(self) -> list[Table]:
        blocks = [block for section in self.sections for block in section.blocks]
        return [block for block in blocks if isinstance(block, Table)]


def render(page: Page) -> bytes:
    """The page as an HTML file, UTF-8.

    >>> b"<h1>A &amp; B</h1>" in render(Page("A & B"))
    True
    """
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    jinja.filters["png"] = _data
    made = jinja.get_template("page.html.j2").render(page=page, viewing=VIEWING, sorting=SORTING)
    # the names of files may hold bytes that are no text
    return made.encode(errors="backslashreplace")


def duration(seconds: float) -> str:
    """Time as text: "4.2 s", "3 min 05 s", "2 h 10 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def number(value: float | None, digits: int) -> str:
    """A number with so many decimals; a dash for none and for NaN."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def rounded(text: str, digits: int) -> str:
    """A number of a table, rounded; nothing where there is none, and other text as it is.

    >>> rounded("1.26", 1), rounded("", 1), rounded("1,26", 1)
    ('1.3', '', '1,26')
    """
    try:
        return number(float(text), digits) if text else ""
    except ValueError:  # a spreadsheet with decimal commas has been there
        return text


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
