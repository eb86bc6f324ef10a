"""The labels of a bundle: value, name, colour and codes of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .colors import colors_of
from .known import Color
from .terminology import Terminology, check_terminology, planned_terminology, terminology_of


@dataclass(frozen=True)
class Label:
    """A label.

    Args:
        color: red, green, blue, 0 to 255.
    """

    value: int
    name: str
    color: Color
    terminology: Terminology


@dataclass(frozen=True)
class LabelTable:
    """A bundle's labels in the order of their values, the background (0) first.

    Example:
        >>> table = LabelTable.of(["background", "liver", "spleen"])
        >>> [(label.value, label.name) for label in table.foreground]
        [(1, 'liver'), (2, 'spleen')]
    """

    labels: tuple[Label, ...]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        terminology: Mapping[str, Any] | None = None,
        *,
        values: Sequence[int] | None = None,
    ) -> LabelTable:
        """The table of labels' names.

        Args:
            names: in the order of the values 0, 1, ..., the background first.
            values: of the foreground labels, where they are not 1, 2, ...; the table is in their
                order then.
            terminology: a plan's codes of some of them, see planned_terminology; names that it
                leaves out have the codes of terminology_of.

        Raises:
            ConfigError: the terminology is not as it should be.
        """
        check_terminology(terminology, names)
        given = dict(terminology or {})
        numbers = [0, *values] if values is not None else range(len(names))
        return cls(
            tuple(
                Label(
                    value,
                    name,
                    color,
                    planned_terminology(name, given[name])
                    if name in given
                    else terminology_of(name),
                )
                for value, name, color in sorted(zip(numbers, names, colors_of(names), strict=True))
            )
        )

    @property
    def foreground(self) -> tuple[Label, ...]:
        """All labels but the background."""
        return self.labels[1:]

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)
