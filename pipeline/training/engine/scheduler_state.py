"""A learning rate scheduler's state as a checkpoint holds it, and its way back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_POSITION = ("last_epoch", "_step_count", "_last_lr")  # all that checkpoints of format 1 restored
_PLAIN = (bool, int, float, str, type(None), torch.Tensor)


def plain_state(state: Any) -> Any:
    """A state dict's plain values, nested dicts and lists included; functions are left out.

    What comes out loads with weights_only=True. Functions, such as a LambdaLR's, are in the config.

    Example:
        >>> plain_state({"last_epoch": 3, "inner": [{"best": 0.5, "scale": abs}]})
        {'last_epoch': 3, 'inner': [{'best': 0.5}]}
    """
    if isinstance(state, Mapping):
        return {str(key): plain_state(value) for key, value in state.items() if _kept(value)}
    if isinstance(state, list | tuple):
        return [plain_state(value) for value in state]
    if isinstance(state, np.generic):
        return state.item()
    return state if isinstance(state, _PLAIN) else None


def restored_state(saved: Any, first: Any, fresh: Any) -> Any:
    """The state to load into a new scheduler so that it goes on where the saved one stopped.

    A value that a new scheduler has otherwise than the saved one had at its own start is a
    setting that has changed with the number of epochs, such as the total number of steps: the new
    scheduler's counts. All else is taken from the saved state.

    Args:
        saved: plain state at the checkpoint.
        first: plain state of the same scheduler before its first step; None for a checkpoint of
            format 1, of which the position alone is taken.
        fresh: state_dict() of the new scheduler.
    """
    if first is None:
        return {**fresh, **{key: saved[key] for key in _POSITION if key in saved}}
    return _merged(saved, first, fresh)


def _merged(saved: Any, first: Any, fresh: Any) -> Any:
    if isinstance(fresh, Mapping) and isinstance(saved, Mapping) and isinstance(first, Mapping):
        both = {key for key in saved if key in first and key in fresh}
        inner = {key: _merged(saved[key], first[key], fresh[key]) for key in both}
        return {**fresh, **saved, **inner}
    if _nested(fresh) and isinstance(saved, list) and len(fresh) == len(saved) == len(first):
        return [_merged(*each) for each in zip(saved, first, fresh, strict=True)]
    return saved if _same(first, plain_state(fresh)) else fresh


def _kept(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_kept(one) for one in value)
    return isinstance(value, (Mapping, np.generic, *_PLAIN))


def _nested(value: Any) -> bool:
    """Whether it is a list of states, such as a SequentialLR's."""
    return isinstance(value, list | tuple) and any(isinstance(one, Mapping) for one in value)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(
            _same(a, b) for a, b in zip(first, second, strict=True)
        )
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    return bool(first == second) or (first != first and second != second)
