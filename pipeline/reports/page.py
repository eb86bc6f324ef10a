"""Pieces of a self-contained HTML page: text, tables, embedded pictures; for light and dark screens."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --line: #dde1e5; --back: #ffffff;
  --tint: #f3f5f7;
  --bar: #cfe0f5; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a4adb6; --line: #39414a;
  --back: #15191d;
  --tint: #1f252b; --bar: #2a4a70; --bad: #ff8a80; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 56rem; background: var(--back);
  color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.01em; }
h2 { margin: 3rem 0 .75rem; font-size: 1.25rem; line-height: 1.3; }
p, ul { margin: 0 0 1rem; max-width: 42rem; }
.soft, figcaption { color: var(--soft); }
.bad { color: var(--bad); }
.key { display: flex; flex-wrap: wrap; gap: 1rem 2.75rem; margin: 1.75rem 0; padding: 0; }
.key div { display: flex; flex-direction: column-reverse; }
.key dt { color: var(--soft); font-size: .875rem; }
.key dd { margin: 0; font-size: 1.75rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
figure { margin: 0 0 1.75rem; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; }
figcaption { margin-top: .5rem; font-size: .875rem; line-height: 1.45; max-width: 42rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr));
  gap: 0 1.5rem; }
.scroll { overflow-x: auto; margin: 0 0 1.25rem; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; font-variant-numeric: tabular-nums; }
.note { color: var(--soft); margin-top: -.6rem; font-size: .875rem; line-height: 1.45; }
th, td { padding: .42rem .9rem .42rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; font-size: .875rem; white-space: nowrap; }
tbody th { font-weight: 400; white-space: nowrap; }
tr.total th, tr.total td { font-weight: 600; }
.n { text-align: right; white-space: nowrap; }
td.bar { background: linear-gradient(var(--bar), var(--bar)) no-repeat left 50% / var(--share) 62%;
  padding-left: .4rem; }
td.wide { min-width: 16rem; overflow-wrap: anywhere; }
pre { margin: 0 0 1.25rem; padding: .8rem 1rem; background: var(--tint); border-radius: 4px;
  overflow-x: auto;
  font: .8125rem/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
dl.facts { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.5rem; margin: 0;
  font-size: .9375rem; }
dl.facts dt { color: var(--soft); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 3.5rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .875rem;
  color: var(--soft); }
@media print { body { max-width: none; } figure, tr { break-inside: avoid; } }
"""

_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 1 1'%3E%3C/svg%3E"
)


def page(name: str, body: Sequence[str]) -> str:
    """A whole HTML document; it loads nothing from anywhere."""
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<title>{escape(name)}</title>\n<link rel="icon" href="{_ICON}">',
            f"<style>{STYLE}</style>\n</head>\n<body>",
            *body,
            "</body>\n</html>\n",
        ]
    )


def title(text: str) -> str:
    """The page's own heading."""
    return f"<h1>{escape(text)}</h1>"


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, *, kind: str = "") -> str:
    """A paragraph of plain text."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def key_numbers(numbers: Sequence[tuple[str, str]]) -> str:
    """A few large numbers with what they are: (name, number)."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(number)}</dd></div>" for name, number in numbers
    )
    return f'<dl class="key">{items}</dl>'


def facts(items: Sequence[tuple[str, str]]) -> str:
    """A list of names and values."""
    return (
        '<dl class="facts">'
        + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in items)
        + "</dl>"
    )


def picture(png: bytes, *, alt: str, caption: str = "", dark: bytes | None = None) -> str:
    """A PNG inside the page; `dark` is shown instead where the reader's screen is dark."""
    image = f'<img src="{_data(png)}" alt="{escape(alt)}">'
    if dark is not None:
        source = f'<source srcset="{_data(dark)}" media="(prefers-color-scheme: dark)">'
        image = f"<picture>{source}{image}</picture>"
    text = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{image}{text}</figure>"


def side_by_side(pictures: Sequence[str]) -> str:
    """Pictures next to each other, below each other on a narrow screen."""
    return f'<div class="pair">{"".join(pictures)}</div>'


def cell(text: str, *, number: bool = False, share: float | None = None, kind: str = "") -> str:
    """A table cell; `share` in 0..1 draws a bar behind the text."""
    names = " ".join(
        name for name in (kind, "n" if number else "", "bar" if share is not None else "") if name
    )
    style = f' style="--share: {100 * min(max(share, 0.0), 1.0):.1f}%"' if share is not None else ""
    return f"<td{f' class={chr(34)}{names}{chr(34)}' if names else ''}{style}>{escape(text)}</td>"


def table(
    columns: Sequence[tuple[str, bool]],
    rows: Sequence[tuple[str, Sequence[str]]],
    *,
    caption: str = "",
    total: bool = False,
) -> str:
    """A table that scrolls sideways on a narrow screen.

    Args:
        columns: heading, and whether the column holds numbers.
        rows: the row's heading, and its other cells as made by `cell`.
        total: the last row is their sum or mean.
    """
    head = "".join(
        f'<th scope="col"{" class=n" if number else ""}>{escape(name)}</th>'
        for name, number in columns
    )
    lines = []
    for place, (name, cells) in enumerate(rows):
        kind = ' class="total"' if total and place == len(rows) - 1 else ""
        lines.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    # not a <caption>: that would scroll sideways with the table
    text = f'<p class="note">{escape(caption)}</p>' if caption else ""
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>{text}'


def commands(lines: Sequence[str]) -> str:
    """Commands as typed."""
    return f"<pre>{escape(chr(10).join(lines))}</pre>"


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
    """A number of a table, rounded; nothing where there is none."""
    return number(float(text), digits) if text else ""


def _data(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
