"""Labels that are each other's mirror image: exchanged where a window is mirrored left to right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...data.errors import ConfigError
from ...data.label_tables.sides import sides_of

if TYPE_CHECKING:
    import torch

_NO_AXIS = -1


@dataclass(frozen=True)
class Sides:
    """Pairs of labels that mirroring along the left-right axis makes of each other.

    So windows of labels with sides can be mirrored along that axis, too: a left kidney becomes a
    right one, and is called so.

    Args:
        pairs: of labels' values, such as a left and a right kidney's.
        axis: 0 to 2, of a window's left and right; -1 where that is not known.
        regions: labels overlap: a map has their bits, and there is no score of the background.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    axis: int = 0
    regions: bool = False

    @classmethod
    def of(
        cls,
        pairs: Sequence[Sequence[int]] | None,
        *,
        labels: Sequence[str] = (),
        orientation: str | None = "RAS",
        regions: bool = False,
    ) -> Sides:
        """The sides of a grid's labels.

        Args:
            pairs: see Sides; None: those whose names differ in left and right alone.
            labels: names, the background first.
            orientation: of the grid, three letters such as RAS; None: it is not known which axis
                goes from left to right, and nothing is exchanged.

        Raises:
            ConfigError: these are no pairs of different labels, each once; or pairs are given where
                it is not known which axis goes from left to right.
        """
        if orientation is None:
            if pairs:
                raise ConfigError(
                    f"side_pairs {[list(pair) for pair in pairs]}: this network's grid has no "
                    "known left and right, as nnU-Net's; leave it out (null)"
                )
            return cls((), _NO_AXIS, regions)
        if pairs is None:
            pairs = sides_of({name: value for value, name in enumerate(labels)})
        listed = [value for pair in pairs for value in pair]
        whole = all(type(value) is int and value > 0 for value in listed)
        if not whole or any(len(pair) != 2 for pair in pairs) or len(set(listed)) < len(listed):
            raise ConfigError(
                f"side_pairs {[list(pair) for pair in pairs]}: pairs of labels' values are wanted, "
                "each label once, as [[2, 3]]"
            )
        axis = next(place for place, letter in enumerate(orientation.upper()) if letter in "LR")
        return cls(tuple((one, other) for one, other in pairs), axis, regions)

    def crossed(self, flips: Sequence[int]) -> bool:
        """Whether mirroring along these axes exchanges anything."""
        return bool(self.pairs) and self.axis in flips

    def exchanged(self, labels: torch.Tensor) -> torch.Tensor:
        """A label map of any shape with the labels of each pair exchanged.

        Example:
            >>> Sides(((1, 2),)).exchanged(torch.tensor([0, 1, 2, 3, -1])).tolist()
            [0, 2, 1, 3, -1]
        """
        return self._exchanged_bits(labels) if self.regions else self._exchanged_values(labels)

    def order(self, channels: int) -> list[int]:
        """Which channel of scores comes in the place of each, where a window was mirrored.

        Args:
            channels: of the scores.

        Raises:
            ConfigError: a pair has a label that is not among them.

        Example:
            >>> Sides(((1, 2),)).order(4), Sides(((1, 2),), regions=True).order(3)
            ([0, 2, 1, 3], [1, 0, 2])
        """
        return self._order(channels, first=1 if self.regions else 0)

    def order_of_labels(self, labels: int) -> list[int]:
        """The same for what is said of each label, the background first, regions or not."""
        return self._order(labels, first=0)

    def _order(self, count: int, *, first: int) -> list[int]:
        order = list(range(count))
        for one, other in self.pairs:
            if max(one, other) - first >= count:
                raise ConfigError(
                    f"side_pairs: labels {one} and {other} are not among {count} channels"
                )
            order[one - first], order[other - first] = other - first, one - first
        return order

    def _exchanged_values(self, labels: torch.Tensor) -> torch.Tensor:
        found = labels.clone()
        for one, other in self.pairs:
            found.masked_fill_(labels == one, other).masked_fill_(labels == other, one)
        return found

    def _exchanged_bits(self, labels: torch.Tensor) -> torch.Tensor:
        drawn = labels >= 0  # below: voxels that do not count
        bits = labels.clamp(min=0).long()
        for one, other in self.pairs:
            differ = ((bits >> (one - 1)) ^ (bits >> (other - 1))) & 1
            bits = bits ^ ((differ << (one - 1)) | (differ << (other - 1)))
        return bits.to(labels.dtype).where(drawn, labels)


def refuse_lost_sides(labels: Sequence[str], sides: Sides, mirror_axes: Sequence[int]) -> None:
    """Refuse mirroring that would call a left organ a right one.

    Args:
        labels: names, the background first.
        sides: what is exchanged.
        mirror_axes: along which windows are mirrored.

    Raises:
        ConfigError: windows are mirrored from left to right, and two labels whose names differ in
            their side alone are not exchanged.
    """
    known = {frozenset(pair) for pair in sides.pairs}
    found = sides_of({name: value for value, name in enumerate(labels)})
    lost = [pair for pair in found if frozenset(pair) not in known]
    if lost and sides.axis in mirror_axes:
        right, left = (labels[value] for value in lost[0])
        raise ConfigError(
            f"mirror_axes {list(mirror_axes)}: mirrored along axis {sides.axis}, {right} is called "
            f"{left}; leave the axis out, or leave side_pairs to the labels' names (null)"
        )
