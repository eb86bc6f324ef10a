"""A chart of lines that a page draws itself, as SVG: quick to make, and for light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MOST_DOTS = 40  # values of a line that are marked one by one
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Line:
    """A line through values; one that is NaN is left out.

    Args:
        name: of what it shows.
        values: (x, y).
        colour: of CSS; "" is the text's.
        strong: drawn thicker.
    """

    name: str
    values: Sequence[tuple[float, float]]
    colour: str = ""
    strong: bool = False

    @property
    def known(self) -> list[tuple[float, float]]:
        """The values that are numbers."""
        return [value for value in self.values if all(map(math.isfinite, value))]


@dataclass(frozen=True)
class Chart:
    """Lines over one axis, with ticks at round numbers.

    Args:
        title: above it.
        lines: at least one; those with a key when there are several.
        x_name: of the axis.
        y_range: lowest and highest y; None: what the lines take, from 0 on.
    """

    title: str
    lines: Sequence[Line]
    x_name: str = "iteration"
    y_range: tuple[float, float] | None = None

    width, height = 460, 270
    left, right, top, bottom = 48, 436, 10, 232

    @property
    def x_ticks(self) -> list[tuple[float, str]]:
        """Places and texts along x."""
        low, high = self._x_range
        return [(self._x(value), f"{value:,.0f}") for value in ticks(low, high, 5) if value >= 1]

    @property
    def y_ticks(self) -> list[tuple[float, str]]:
        """Places and texts along y."""
        found = ticks(*self._y_range, 5)
        return [(self._y(value), _shown(value, found)) for value in found]

    def path(self, line: Line) -> str:
        """The line's points as SVG has them."""
        return " ".join(f"{self._x(x)},{self._y(y)}" for x, y in line.known)

    def dots(self, line: Line) -> list[tuple[float, float]]:
        """The places of a line's values, where they are few."""
        known = line.known
        return [(self._x(x), self._y(y)) for x, y in known] if len(known) <= _MOST_DOTS else []

    def _x(self, value: float) -> float:
        low, high = self._x_range
        return round(self.left + (value - low) / (high - low) * (self.right - self.left), 1)

    def _y(self, value: float) -> float:
        low, high = self._y_range
        share = (min(max(value, low), high) - low) / (high - low)
        return round(self.bottom - share * (self.bottom - self.top), 1)

    @property
    def _x_range(self) -> tuple[float, float]:
        return 0.0, max((x for line in self.lines for x, _ in line.known), default=1.0) or 1.0

    @property
    def _y_range(self) -> tuple[float, float]:
        if self.y_range is not None:
            return self.y_range
        values = [y for line in self.lines for _, y in line.known]
        low, high = min([0.0, *values]), max([0.0, *values])
        return low, high if high > low else low + 1.0


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most so many and at least two where there is room.

    >>> ticks(0, 1, 5), ticks(0, 2250, 5)
    ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 1000.0, 2000.0])
    """
    rough = (high - low) / max(most - 1, 1)
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * one for one in _STEPS if unit * one >= rough * 0.999999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _shown(value: float, found: Sequence[float]) -> str:
    """A tick's text, with as many decimals as the steps between ticks have."""
    step = found[1] - found[0] if len(found) > 1 else abs(value) or 1.0
    if step < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-") if value else "0"
    if step >= 1e5:
        return f"{value:.2g}"
    return f"{value:.{next(n for n in range(6) if abs(step - round(step, n)) < 1e-7)}f}"
