"""nnU-Net's normalisations of one channel, before anything is resampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ...data.errors import ConfigError

_LEAST = 1e-8  # what a deviation is taken to be at the least
_MODES: dict[str, tuple[str, ...]] = {
    "ct_zscore": ("low", "high", "mean", "std"),
    "zscore": (),
    "zscore_nonzero": (),
    "zero_to_one": (),
    "none": (),
}


def channel_modes(intensity: Mapping[str, Any], channels: int) -> list[dict[str, Any]]:
    """The normalisation of each channel.

    Args:
        intensity: {"mode": "ct_zscore", "low", "high", "mean", "std"} clips, then (x - mean) / std,
            with a dataset's numbers; {"mode": "zscore"} takes the image's own mean and std;
            {"mode": "zscore_nonzero"} those of the voxels that are not 0 in all channels, with
            holes filled, and leaves the others; {"mode": "zero_to_one"} scales lowest and highest
            value to 0 and 1; {"mode": "none"}; or {"mode": "per_channel", "channels": [...]}.

    Raises:
        ConfigError: unknown mode, or a number is missing, unknown or no number; another count.
    """
    listed = intensity.get("channels") if intensity.get("mode") == "per_channel" else None
    found = [intensity] * channels if listed is None else list(listed)
    if len(found) != channels:
        raise ConfigError(f"intensity: {len(found)} channels are described, {channels} are there")
    for one in found:
        mode = one.get("mode")
        if mode not in _MODES:
            raise ConfigError(f"intensity: unknown mode {mode!r}; there are {', '.join(_MODES)}")
        if set(one) - {"mode"} != set(_MODES[mode]):
            raise ConfigError(
                f"intensity: mode {mode} wants {', '.join(_MODES[mode]) or 'no numbers'}, got "
                f"{dict(one)}"
            )
    return [dict(one) for one in found]


def needs_mask(modes: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a normalisation asks where the image is not 0."""
    return any(one["mode"] == "zscore_nonzero" for one in modes)


def normalised(
    image: torch.Tensor, modes: Sequence[Mapping[str, Any]], mask: torch.Tensor | None
) -> torch.Tensor:
    """Each channel of (C, x, y, z) normalised, float32, contiguous; the input stays as it is.

    Args:
        modes: of `channel_modes`.
        mask: (x, y, z) bool, where the image counts; of "zscore_nonzero".
    """
    made = torch.empty(image.shape, dtype=torch.float32)
    for into, channel, mode in zip(made, image, modes, strict=True):
        into.copy_(channel)
        _normalise(into, mode, mask)
    return made


def _normalise(channel: torch.Tensor, mode: Mapping[str, Any], mask: torch.Tensor | None) -> None:
    """In place."""
    kind = mode["mode"]
    if kind == "ct_zscore":
        channel.clamp_(float(mode["low"]), float(mode["high"])).sub_(float(mode["mean"]))
        channel.div_(max(float(mode["std"]), _LEAST))
    elif kind == "zero_to_one":
        channel.sub_(channel.min()).div_(channel.max().clamp_min(_LEAST))
    elif kind != "none":
        inside = channel
        if kind == "zscore_nonzero":
            assert mask is not None
            inside = channel[mask]
        if inside.numel() == 0:
            return
        mean, std = _moments(inside)
        scaled = (inside - mean) / max(std, _LEAST)
        if kind == "zscore_nonzero":
            channel[mask] = scaled
        else:
            channel.copy_(scaled)


def _moments(values: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation, of the population, summed in float64."""
    mean = float(values.mean(dtype=torch.float64))
    total = 0.0
    for part in values.reshape(-1).split(2**22):
        total += float((part.double() - mean).square().sum())
    return mean, (total / values.numel()) ** 0.5
