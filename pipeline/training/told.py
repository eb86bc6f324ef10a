"""What a training says of itself in words: after each validation, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_MOST_NAMED = 8  # labels of a line; of more the lowest are named
_LOWEST = 4

_ALONE = "the same command with --resume True goes on with it"
_OF_FIT = "the same command goes on with it"
_go_on = ContextVar("go_on", default=_ALONE)


def go_on() -> str:
    """How a training that was stopped goes on, without a full stop."""
    return _go_on.get()


@contextmanager
def within_fit() -> Iterator[None]:
    """Around a training whose command is `gridgate fit`, which takes no --resume.

    >>> with within_fit():
    ...     go_on()
    'the same command goes on with it'
    """
    token = _go_on.set(_OF_FIT)
    try:
        yield
    finally:
        _go_on.reset(token)


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


def unvalidated_line(*, epoch: int, epochs: int | None, loss: float) -> str:
    """How far a training is that holds no case out, in a line.

    >>> unvalidated_line(epoch=3, epochs=9, loss=0.5)
    'epoch 3 of 9: loss 0.500; no case is held out'
    """
    of = "" if epochs is None else f" of {epochs}"
    return f"epoch {epoch}{of}: loss {loss:.3f}; no case is held out"


def on_cases(
    dataset: str, split: str, train: int, validation: int, *, everything: bool = False
) -> str:
    """What a training is on, to be read after "trained", without a full stop.

    Args:
        dataset: its name.
        split: the fold in words.
        train, validation: how many cases there are.
        everything: those to train on are all labelled cases.

    >>> on_cases("D", "fold 0 of 5", 8, 2)
    'on D, fold 0 of 5: 8 cases to train on, 2 to validate on'
    >>> on_cases("D", "fold 0 of 1", 10, 0, everything=True)
    'on all 10 cases of D; none was held out'
    """
    if everything:
        return f"on all {train} cases of {dataset}; none was held out"
    held_out = f"{validation} to validate on" if validation else "none was held out"
    return f"on {dataset}, {split}: {train} cases to train on, {held_out}"


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
