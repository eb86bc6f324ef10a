"""What a training says of itself in words: after each validation, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_MOST_NAMED = 8  # labels of a line; of more the lowest are named
_LOWEST = 4

GO_ON = "the same command with --resume True goes on with it"


def validation_line(
    *,
    epoch: int,
    epochs: int | None,
    loss: float,
    mean: float,
    dice: Mapping[str, float],
    best: float | None,
    best_epoch: int,
) -> str:
    """What a validation found, in a line.

    Args:
        epoch, epochs: the one that has ended, and how many there are; None: it is not known.
        loss: mean since the validation before.
        mean: Dice over the labels.
        dice: of each label; NaN where no case has it.
        best: the best mean so far, None before there is one; after `best_epoch`.

    >>> validation_line(epoch=3, epochs=9, loss=0.5, mean=0.75, dice={"a": 0.7, "b": 0.8},
    ...     best=0.8, best_epoch=2)
    'epoch 3 of 9: loss 0.500, mean Dice 0.750 (best 0.800 after epoch 2); a 0.700, b 0.800'
    """
    of = "" if epochs is None else f" of {epochs}"
    told = ""
    if best is not None:
        told = (
            " (the best)" if best_epoch == epoch else f" (best {best:.3f} after epoch {best_epoch})"
        )
    names = f"; {_labels(dice)}" if len(dice) > 1 else ""
    return f"epoch {epoch}{of}: loss {loss:.3f}, mean Dice {_number(mean)}{told}{names}"


def _labels(dice: Mapping[str, float]) -> str:
    if len(dice) <= _MOST_NAMED:
        return ", ".join(f"{name} {_number(value)}" for name, value in dice.items())
    known = {name: value for name, value in dice.items() if not math.isnan(value)}
    lowest = sorted(known, key=lambda name: known[name])[:_LOWEST]
    named = ", ".join(f"{name} {_number(known[name])}" for name in lowest)
    return f"the lowest of {len(dice)} labels: {named}"


def no_better(*, epoch: int, epochs: int | None, best: float, best_epoch: int) -> str:
    """Why a training stops early, with its numbers.

    >>> no_better(epoch=40, epochs=200, best=0.873, best_epoch=30)
    'ended after epoch 40 of 200: no better mean Dice than 0.873 (epoch 30) for 10 epochs'
    """
    of = "" if epochs is None else f" of {epochs}"
    return (
        f"ended after epoch {epoch}{of}: no better mean Dice than {best:.3f} (epoch {best_epoch}) "
        f"for {epoch - best_epoch} epochs"
    )


def ending(engine: Any) -> str:
    """How a training that has ended by itself ended, without a full stop.

    Args:
        engine: its trainer, or anything with its `state` and `should_terminate`.
    """
    state = engine.state
    early: str | None = getattr(state, "stopped_early", None)
    if early is not None:
        return early
    if state.max_epochs is None or state.epoch < state.max_epochs:
        return f"ended after epoch {state.epoch} of {state.max_epochs} by one of its handlers"
    return f"ran to its end, epoch {state.epoch} of {state.max_epochs}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
