"""Scores of a volume that never exists as a whole: slabs of finished rows, one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Slab:
    """Rows of a volume's scores along one axis.

    Args:
        start: first row's index along the axis.
        scores: (rows, *other axes, C), the channels innermost in memory, any floating dtype and
            device. The receiver may keep it: nobody writes to it again.
    """

    start: int
    scores: torch.Tensor


@dataclass
class ForwardFacts:
    """What is known about scores once all slabs were read.

    Args:
        windows: of the whole volume.
        windows_skipped: how many of them did not run, as no voxel of the region is in them.
        network_seconds: spent in the network alone.
        mirror_agreement: share of foreground on which all mirrored views agree, 0 to 1; None
            without mirroring.
        engine: what computed the network, and in which number format.
    """

    windows: int | None = None
    windows_skipped: int | None = None
    network_seconds: float | None = None
    mirror_agreement: float | None = None
    engine: str = ""

    @classmethod
    def of_several(cls, facts: Sequence[ForwardFacts]) -> ForwardFacts:
        """Those of several networks, one after another: sums, and the lowest agreement."""

        def known(name: str) -> list[Any]:
            return [value for one in facts if (value := getattr(one, name)) is not None]

        return cls(
            windows=sum(known("windows")),
            windows_skipped=sum(known("windows_skipped")),
            network_seconds=sum(known("network_seconds")),
            mirror_agreement=min(known("mirror_agreement"), default=None),
            engine=", ".join(dict.fromkeys(one.engine for one in facts if one.engine)),
        )


@dataclass(eq=False)
class ScoreSlabs:
    """The scores (C, *shape) of a volume as slabs along `axis`, in order and without gaps.

    To be read once.

    Args:
        shape: spatial sizes of the volume.
        axis: the spatial axis that the slabs follow each other along; in a slab it comes first.
        rows: makes the slabs; computing happens as they are asked for.
        probabilities: scores are probabilities (sum 1, one channel: 0 to 1), not logits.
        facts: filled by whoever makes the slabs.
    """

    shape: tuple[int, ...]
    axis: int
    rows: Callable[[], Iterator[Slab]]
    probabilities: bool = False
    facts: ForwardFacts = field(default_factory=ForwardFacts)

    def __iter__(self) -> Iterator[Slab]:
        return self.rows()

    @property
    def order(self) -> tuple[int, ...]:
        """The volume's spatial axes in the order in which a slab has them."""
        return (self.axis, *(axis for axis in range(len(self.shape)) if axis != self.axis))

    @classmethod
    def of(cls, scores: torch.Tensor, *, probabilities: bool = False) -> ScoreSlabs:
        """A whole volume (C, *shape) as one slab."""
        whole = Slab(0, scores.movedim(0, -1).contiguous())
        return cls(tuple(scores.shape[1:]), 0, lambda: iter([whole]), probabilities)
