"""Intensity normalisation: from a plan's few numbers to transforms."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.errors import ConfigError
from .monai_intensity import MonaiIntensityd

_NUMBERS = {"window": ("low", "high"), "ct_zscore": ("low", "high", "mean", "std"), "zscore": ()}


def intensity_transforms(
    intensity: Mapping[str, Any], *, keys: KeysCollection = "image"
) -> list[Callable]:
    """The transforms of one way of normalising intensities.

    Args:
        intensity: {"mode": "window", "low", "high"} clips to the window (HU) and scales it to [0,
            1]; {"mode": "ct_zscore", "low", "high", "mean", "std"} clips, then (x - mean) / std,
            with a dataset's numbers (HU), as nnU-Net does for CT; {"mode": "zscore"} takes each
            image's and channel's own mean and std (MR); {"mode": "per_channel", "channels": [...]}
            has one of these for each channel, such as CT and PET; {"mode": "monai", "transforms":
            [...]} has MONAI's own, see MonaiIntensityd.

    Raises:
        ConfigError: unknown mode, a number is missing, unknown, not a number, or the window or std
            is empty.
    """
    modes = ", ".join(
        f"{mode} ({', '.join(names) or 'no numbers'})" for mode, names in _NUMBERS.items()
    )
    mode = intensity.get("mode") if isinstance(intensity, Mapping) else None
    if mode == "per_channel":
        return [PerChanneld(keys, channels=_channels(intensity))]
    if mode == "monai":
        return [MonaiIntensityd(keys, transforms=intensity.get("transforms", "none"))]
    if not isinstance(mode, str) or mode not in _NUMBERS:
        raise ConfigError(
            f"intensity: unknown mode {mode!r}; the modes and their numbers are: {modes}"
        )
    missing = [name for name in _NUMBERS[mode] if name not in intensity]
    unknown = [str(name) for name in intensity if name != "mode" and name not in _NUMBERS[mode]]
    if missing or unknown:
        wrong = " and ".join(
            f"{what} {', '.join(names)}"
            for what, names in (("lacks", missing), ("does not know", unknown))
            if names
        )
        raise ConfigError(
            f"intensity: mode {mode} {wrong}; the modes and their numbers are: {modes}"
        )
    if mode == "zscore":
        return [ZScored(keys)]
    try:
        numbers = {name: float(intensity[name]) for name in _NUMBERS[mode]}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"intensity: mode {mode} wants numbers: {error}") from error
    low, high = numbers["low"], numbers["high"]
    subtract, divide = (low, high - low) if mode == "window" else (numbers["mean"], numbers["std"])
    if not (low < high and divide > 0):
        raise ConfigError(f"intensity: mode {mode} wants low < high and std > 0, got {numbers}")
    return [ClipAndScaled(keys, low=low, high=high, subtract=subtract, divide=divide)]


def _channels(intensity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The modes of each channel; those are plain ones.

    Raises:
        ConfigError: no list of modes, or a mode that is per channel itself.
    """
    found = intensity.get("channels")
    plain = isinstance(found, list | tuple) and all(
        isinstance(one, Mapping) and one.get("mode") != "per_channel" for one in found
    )
    if not plain or not found or set(intensity) != {"mode", "channels"}:
        raise ConfigError(
            "intensity: mode per_channel wants channels, a list with a mode for each channel, such "
            "as {mode: per_channel, channels: [{mode: zscore}, {mode: window, low: -160, high: "
            f"240}}]}}; got {dict(intensity)}"
        )
    return list(found)


class PerChanneld(MapTransform):
    """Another normalisation for each channel of (C, ...); float32 out, the input is not changed.

    Args:
        channels: the intensity of each channel; see intensity_transforms.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        channels: Sequence[Mapping[str, Any]],
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transforms = [intensity_transforms(one, keys="image") for one in channels]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are.

        Raises:
            ConfigError: an image has another number of channels.
        """
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._scaled(result[key])
        return result

    def _scaled(self, image: torch.Tensor) -> torch.Tensor:
        if len(image) != len(self.transforms):
            raise ConfigError(
                f"intensity: {len(self.transforms)} channels are described, the image has "
                f"{len(image)}"
            )
        scaled = image.float().clone()
        plain = scaled.as_tensor() if isinstance(scaled, MetaTensor) else scaled
        for channel, transforms in zip(plain[:, None], self.transforms, strict=True):
            item: Any = {"image": channel}
            for transform in transforms:
                item = transform(item)
            channel.copy_(item["image"])
        return scaled


class ZScored(MapTransform):
    """(x - mean) / std of each channel of (C, ...), float32 out; a constant channel becomes 0.

    MONAI's NormalizeIntensityd(channel_wise=True) overwrites its input, which may be in a cache.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            scaled = result[key].float().clone()
            for channel in scaled.as_tensor() if isinstance(scaled, MetaTensor) else scaled:
                std, mean = torch.std_mean(channel, correction=0)
                channel.sub_(mean).div_(std if std > 0 else 1.0)
            result[key] = scaled
        return result


class ClipAndScaled(MapTransform):
    """(clip(x, low, high) - subtract) / divide; any shape, float32 out, the input is not changed.

    In place on one copy: MONAI's ScaleIntensityRanged has no z-score, and makes four copies of the
    volume.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        low: float,
        high: float,
        subtract: float,
        divide: float,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.low, self.high, self.subtract, self.divide = low, high, subtract, divide

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        for key in self.key_iterator(result):
            result[key] = self._scale(result[key])
        return result

    def _scale(self, image: torch.Tensor) -> torch.Tensor:
        scaled = torch.clamp(
            image.float(), self.low, self.high
        )  # the one copy; a MetaTensor keeps its meta
        plain = scaled.as_tensor() if isinstance(scaled, MetaTensor) else scaled
        plain.sub_(self.subtract).div_(self.divide)
        return scaled
