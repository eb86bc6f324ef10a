"""MONAI's own transforms of intensities, in a row, for networks that were trained behind them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import (
    ClipIntensityPercentiles,
    MapTransform,
    NormalizeIntensity,
    ScaleIntensity,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    ThresholdIntensity,
)

from ..data.errors import ConfigError

INTENSITIES: Mapping[str, Callable[..., Callable[[torch.Tensor], Any]]] = {
    "ClipIntensityPercentiles": ClipIntensityPercentiles,
    "NormalizeIntensity": NormalizeIntensity,
    "ScaleIntensity": ScaleIntensity,
    "ScaleIntensityRange": ScaleIntensityRange,
    "ScaleIntensityRangePercentiles": ScaleIntensityRangePercentiles,
    "ThresholdIntensity": ThresholdIntensity,
}
"""Those of MONAI's that change values alone, by their names."""


class MonaiIntensityd(MapTransform):
    """MONAI's transforms one after another on (C, ...); float32 out, the input is not changed.

    Args:
        transforms: of each a mapping: "name", one of INTENSITIES, and MONAI's arguments; none
            leave the values as they are.

    Raises:
        ConfigError: no such transform, or arguments that it refuses.

    Example:
        >>> scaled = MonaiIntensityd("image", transforms=[{"name": "ScaleIntensity", "maxv": 2.0}])
        >>> scaled({"image": torch.tensor([[1, 2, 3]])})["image"]
        tensor([[0., 1., 2.]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        transforms: Sequence[Mapping[str, Any]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not isinstance(transforms, list | tuple):
            raise ConfigError("intensity: mode monai wants transforms, a list of MONAI's")
        self.transforms = [_made(one) for one in transforms]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            image = result[key].float().clone()  # some of MONAI's work in place
            for transform in self.transforms:
                image = transform(image)
            result[key] = image.float()
        return result


def _made(given: Mapping[str, Any]) -> Callable[[torch.Tensor], Any]:
    name = given.get("name") if isinstance(given, Mapping) else None
    if not isinstance(name, str) or name not in INTENSITIES:
        raise ConfigError(
            f"intensity: MONAI's {name!r} is not one of {', '.join(sorted(INTENSITIES))}"
        )
    options = {key: value for key, value in given.items() if key != "name"}
    try:
        return INTENSITIES[name](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"intensity: MONAI's {name} refuses {options}: {error}") from error
