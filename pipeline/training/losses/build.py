"""A loss of its name and options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from ....data.errors import ConfigError
from .catalogue import LOSSES
from .wrapping.deep_supervision_loss import deep_supervision
from .wrapping.region_loss import RegionLoss


def build_loss(
    name: str,
    *,
    regions: bool = False,
    deep_supervision_weights: Sequence[float] | str | None = None,
    **options: Any,
) -> nn.Module:
    """The loss of a name in LOSSES, made with its options.

    Args:
        name: a key of LOSSES.
        regions: labels overlap: the mean over them of the loss of one channel, see RegionLoss.
        deep_supervision_weights: None for one output; else see deep_supervision.
        options: keyword arguments of the named loss.

    Raises:
        ConfigError: an unknown name or option (the text lists those there are), or a value that
            cannot be.
    """
    if name not in LOSSES:
        raise ConfigError(
            f"no loss is named {name!r}{_nearest(name, LOSSES)}; there are: {', '.join(LOSSES)}"
        )
    accepted = list(LOSSES[name].options)
    for option in options:
        if option not in accepted:
            hint = _nearest(option, accepted)
            raise ConfigError(
                f"loss {name} has no option {option!r}{hint}; there are: {', '.join(accepted)}"
            )
    loss = _of_regions(name, options) if regions else LOSSES[name].make(**options)
    return (
        loss
        if deep_supervision_weights is None
        else deep_supervision(loss, deep_supervision_weights)
    )


def _of_regions(name: str, options: dict[str, Any]) -> RegionLoss:
    for option in ("class_weights", "label_smoothing"):
        if options.get(option):
            raise ConfigError(
                f"loss {name}: {option} is not there for regions, each of which is a label of its "
                "own; leave it out"
            )
    return RegionLoss(LOSSES[name].make(**{**options, "sigmoid": True}))


def _nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the most similar known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
