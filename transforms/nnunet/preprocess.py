"""The preset of imported nnU-Net models: from paths to what their networks see."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import torch
from monai.transforms import Compose, EnsureTyped

from ...data.errors import ConfigError
from ..load import LoadCased
from ..region import Box, Regiond, RegionInMetad
from .grid import NnunetGrid, ToNnunetGridd
from .part_settings import part_settings
from .parts import ToPartsd

logger = logging.getLogger(__name__)


def nnunet_preprocessing(
    *,
    nnunet: Mapping[str, Any],
    intensity: Mapping[str, Any],
    spacing: Sequence[float] | None,
    channels: int = 1,
    fast_resampling: bool = False,
    parts: Sequence[Mapping[str, Any]] | None = None,
    body_threshold: float | None = None,
    region: Box | str | PathLike[str] | None = None,
    modality: str | None = None,
    non_finite: Literal["error", "replace"] = "error",
    uneven: Literal["refuse", "resample"] = "refuse",
    keep_scan: bool = False,
) -> Compose:
    """Transforms from {"image": path} to a MetaTensor as nnU-Net's own preprocessing makes it.

    It is float32 (C, *network's axes) with its true affine; see ToNnunetGridd.

    Args:
        nnunet: see NnunetGrid.
        intensity: see normalising.channel_modes.
        spacing: mm along the network's axes; None keeps the scan's.
        channels: of the image.
        fast_resampling: see ToNnunetGridd.
        parts: of a model of several networks, see part_settings.check_parts; the image is the first
            one's, and those of all are left in data["image_parts"].
        body_threshold: must be None: the image is not in HU where windows are laid.
        region, modality, non_finite, uneven, keep_scan: see preprocessing.

    Raises:
        ConfigError: a value is impossible.

    Example:
        >>> prepare = nnunet_preprocessing(
        ...     nnunet={}, intensity={"mode": "zscore"}, spacing=(2.5, 0.8, 0.8))
        >>> prepare({"image": "ct.nii.gz"})["image"].shape  # doctest: +SKIP
        torch.Size([1, 120, 400, 400])
    """
    if body_threshold is not None:
        raise ConfigError(
            "body_threshold: nnU-Net's models run all windows; leave it out, or give --region"
        )
    if fast_resampling:
        logger.warning("fast_resampling: trilinear, so masks differ along borders from nnU-Net's")
    common = {"spacing": spacing, "intensity": intensity, "nnunet": nnunet}
    grids = [
        _to_grid(channels=channels, fast=fast_resampling, **part_settings(part, **common))
        for part in parts or [{}]
    ]
    told: dict[str, Any] = {"channels": channels, "modality": modality, "keep_scan": keep_scan}
    told |= {"non_finite": non_finite, "uneven": uneven, "keep_integers": True}
    steps: list[Callable] = [LoadCased(("image",), **told)]
    where = None if region is None else Regiond(region=region)
    if parts:
        steps.append(ToPartsd(grids, where))
    else:
        steps += [grids[0], *([] if where is None else [where])]
    last = EnsureTyped(("image",), dtype=torch.float32, track_meta=True)
    return Compose([*steps, last, RegionInMetad("image")])


def _to_grid(
    *,
    spacing: Sequence[float] | None,
    intensity: Mapping[str, Any],
    nnunet: Mapping[str, Any],
    channels: int,
    fast: bool,
) -> ToNnunetGridd:
    return ToNnunetGridd(
        "image",
        spacing=spacing,
        intensity=intensity,
        grid=NnunetGrid.of(nnunet),
        channels=channels,
        fast=fast,
    )
