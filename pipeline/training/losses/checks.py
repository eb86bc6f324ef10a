"""Options of losses that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

from ....data.errors import ConfigError


def check_factors(dice_weight: float, ce_weight: float) -> None:
    """Refuse negative factors."""
    if dice_weight < 0.0 or ce_weight < 0.0:
        raise ConfigError("dice_weight and ce_weight must be 0 or more")


def check_smoothing(label_smoothing: float, sigmoid: bool) -> None:
    """Refuse a label smoothing that cannot be."""
    if sigmoid and label_smoothing:
        raise ConfigError(
            "label_smoothing needs a network with several output channels: MONAI ignores it with "
            "sigmoid"
        )
    if not 0.0 <= label_smoothing <= 1.0:
        raise ConfigError("label_smoothing must be in 0..1")


def check_class_weights(class_weights: Sequence[float] | None, sigmoid: bool) -> None:
    """Refuse class weights that cannot be; they need several classes, for MONAI as well."""
    if class_weights is None:
        return
    if sigmoid:
        raise ConfigError(
            "class_weights need a network with several output channels; sigmoid=True has one"
        )
    if not len(class_weights) or min(class_weights) < 0:
        raise ConfigError(
            f"class_weights must be one number per class, 0 or more, not {class_weights!r}"
        )
