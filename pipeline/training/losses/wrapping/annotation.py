"""What of a batch of windows was annotated, and logits of the annotated labels alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .processes import of_all


@dataclass(frozen=True, eq=False)
class Annotation:
    """Which labels of each window were annotated, and whether it has voxels to ignore.

    Both are on the CPU, so that no step waits for the GPU to tell.

    Args:
        labels: (B, labels) bool, the background first.
        ignores: (B,) bool.
        everywhere: in a training of several processes the rows of `labels` in all of them.
    """

    labels: Tensor
    ignores: Tensor
    everywhere: Sequence[tuple[bool, ...]] = ()

    @classmethod
    def of(cls, batch: Any, *, processes: bool = False) -> Annotation | None:
        """That of a batch; None where all of it is annotated and counts.

        Args:
            batch: a mapping, perhaps with "annotated" (B, labels) and "ignores" (B,).
            processes: of several, each of which calls this: None where all of all batches is.

        >>> Annotation.of({"annotated": torch.tensor([[True, True]])}) is None
        True
        """
        labels = batch.get("annotated") if isinstance(batch, Mapping) else None
        if labels is None:
            return None
        labels = torch.as_tensor(labels)
        ignores = torch.as_tensor(batch.get("ignores", torch.zeros(len(labels), dtype=torch.bool)))
        rows: list[tuple[bool, ...]] = [tuple(row) for row in labels.bool().tolist()]
        ignored = bool(ignores.any())
        if processes:
            found = of_all([(ignored, row) for row in rows])
            ignored = any(one for one, _ in found)
            rows = sorted({row for _, row in found})
        if all(map(all, rows)) and not ignored:
            return None
        return cls(labels.cpu(), ignores.cpu(), rows if processes else ())


def annotated_groups(
    annotation: Annotation, labels: int
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The annotated foreground channels, and the windows that have just these annotated.

    Windows without any are left out: whatever is predicted there may be true. Of several processes
    each has the same groups in the same order, some of them perhaps without a window of its own.

    Args:
        labels: how many there are, the background with them.

    Yields:
        Channels in order, and the windows' numbers (n,) int64.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for row in annotation.everywhere:
        groups.setdefault(tuple(c for c in range(1, labels) if row[c]), [])
    for window, row in enumerate(annotation.labels.tolist()):
        groups.setdefault(tuple(c for c in range(1, labels) if row[c]), []).append(window)
    for channels, windows in groups.items():
        if channels:
            yield channels, torch.tensor(windows, dtype=torch.int64)


def merged(logits: Tensor, labels: Tensor, channels: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Logits and labels in which all channels but some are one with the background.

    The softmax of the result is the background's probability and those of the others added up, then
    the probabilities of `channels`.

    Args:
        logits: (B, C, ...).
        labels: (B, 1, ...), of 0, `channels` and what is negative.
        channels: foreground channels, in order.

    Returns:
        (B, 1 + len(channels), ...), and the labels renumbered 0, 1, ...
    """
    rest = [channel for channel in range(logits.shape[1]) if channel not in channels]
    background = logits[:, rest].logsumexp(1, keepdim=True)
    place = torch.zeros(logits.shape[1], dtype=labels.dtype, device=labels.device)
    for number, channel in enumerate(channels, start=1):
        place[channel] = number
    renumbered = torch.where(labels < 0, labels, place[labels.clamp(min=0).long()])
    return torch.cat([background, logits[:, list(channels)]], 1), renumbered
