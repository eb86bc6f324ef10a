"""Deterministic preprocessing, the same in training, evaluation and inference.

The order: LoadCased (integers stay integers), CheckPlacementd and MapLabelsd (label: it lies on its
image, and each of its values is named), ToNetworkGridd (image: orientation and spacing in one step,
trilinear, border values beyond the edge), AlignLabeld (label, nearest neighbour, straight from its
own grid: resampled once, and always of the image's shape), Regiond, intensity, CropForegroundd,
EnsureTyped, RegionInMetad. `affine` of the result is true for flipped, permuted, oblique and
sheared scans: the grid for a sheared one (gantry tilt) is orthonormal, as in MONAI's Spacing, and
the resampling goes by both affines. Without a spacing nothing is resampled but a label that is on
another grid, and a shear stays.
"""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import torch
from monai.transforms import Compose, CropForegroundd, EnsureTyped

from ..data.errors import ConfigError
from .intensity import intensity_transforms
from .labels import AlignLabeld, CheckPlacementd, MapLabelsd
from .load import LoadCased
from .region import Box, Regiond, RegionInMetad
from .resample import ToNetworkGridd

_AXIS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))


def preprocessing(
    *,
    keys: str | Sequence[str] = ("image",),
    orientation: str = "RAS",
    spacing: Sequence[float] | None = None,
    intensity: Mapping[str, Any],
    foreground: float | None = None,
    channels: int = 1,
    label_map: Mapping[int, int] | None = None,
    label_count: int | None = None,
    body_threshold: float | None = None,
    region: Box | str | PathLike[str] | None = None,
    modality: str | None = None,
    non_finite: Literal["error", "replace"] = "error",
    uneven: Literal["refuse", "resample"] = "refuse",
    keep_scan: bool = False,
) -> Compose:
    """Transforms from {"image": path, "label": path} to MetaTensors on the network's grid.

    They are float32 (C, x, y, z) with true affines; see the module. Images may be in memory.

    Args:
        keys: ("image",) or ("image", "label").
        orientation, spacing: three letters, towards which the indices grow; mm, None: the scan's.
        intensity: see intensity_transforms.
        foreground: crop to the box of image > foreground, in units after `intensity`, or None.
        channels: of the image.
        label_map: each label value -> network's channel; None: channels, below `label_count`.
        body_threshold, region: where windows run, left in data["region"] and the image's meta.
        modality, non_finite, uneven: "CT" for notes on doubtful HU; what is done with NaN, and with
            DICOM slices that are not evenly spaced ("refuse" or "resample"); see LoadCased.
        keep_scan: leave the image as it was read in data["scan"]; see LoadCased.

    Raises:
        ConfigError: orientation, spacing, keys, intensity, non_finite or uneven is impossible.

    Example:
        >>> prepare = preprocessing(spacing=(1.5, 1.5, 2), intensity={"mode": "zscore"})
        >>> prepare({"image": "ct.nii.gz"})["image"].shape  # doctest: +SKIP
        torch.Size([1, 240, 240, 150])
    """
    keys = _checked_keys(keys)
    load = LoadCased(
        keys,
        channels=channels,
        modality=modality,
        non_finite=non_finite,
        uneven=uneven,
        keep_integers=True,
        keep_scan=keep_scan,
        lowest_label=min(label_map or (0,)),
    )
    on_scan: list[Callable] = [load]
    on_grid = [_to_grid(orientation, spacing)]
    if "label" in keys:
        on_scan += _checks_of_labels(label_map, label_count)
        on_grid.append(AlignLabeld("label", reference="image"))
    on_grid += [*_region(body_threshold, region), *intensity_transforms(intensity, keys="image")]
    last = [EnsureTyped(keys, dtype=torch.float32, track_meta=True), RegionInMetad("image")]
    return Compose([*on_scan, *on_grid, *_crop(keys, foreground), *last])


def _checks_of_labels(label_map: Mapping[int, int] | None, count: int | None) -> list[Callable]:
    return [
        CheckPlacementd("label", reference="image"),
        MapLabelsd("label", label_map=label_map or {}, channels=count),
    ]


def _region(
    body_threshold: float | None, region: Box | str | PathLike[str] | None
) -> list[Callable]:
    if body_threshold is None and region is None:
        return []
    return [Regiond(body_threshold=body_threshold, region=region)]


def _checked_keys(keys: str | Sequence[str]) -> tuple[str, ...]:
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    if "image" not in keys or set(keys) - {"image", "label"}:
        raise ConfigError(f'keys: ("image",) or ("image", "label") is wanted, got {tuple(keys)}')
    return keys


def _to_grid(orientation: str, spacing: Sequence[float] | None) -> Callable:
    _check_orientation(orientation)
    pixdim = None if spacing is None else _checked_spacing(spacing)
    return ToNetworkGridd("image", orientation=orientation, spacing=pixdim)


def _crop(keys: Sequence[str], foreground: float | None) -> list[Callable]:
    if foreground is None:
        return []
    return [
        CropForegroundd(
            (*keys, "region"),
            source_key="image",
            select_fn=_Above(float(foreground)),
            allow_smaller=True,
            allow_missing_keys=True,
        )
    ]


class _Above:
    """Foreground mask, picklable for worker processes; all of an image that is nowhere above it."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        mask = image > self.threshold
        return mask if mask.any() else torch.ones_like(mask)


def _check_orientation(orientation: str) -> None:
    letters = orientation.upper() if isinstance(orientation, str) else ""
    if len(letters) != 3 or any(
        sum(letter in pair for letter in letters) != 1 for pair in _AXIS_LABELS
    ):
        raise ConfigError(
            "orientation: three letters, one each of L/R, P/A, I/S, are wanted, got "
            f"{orientation!r}"
        )


def _checked_spacing(spacing: Sequence[float]) -> tuple[float, ...]:
    try:
        values = tuple(float(value) for value in spacing)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"spacing: three numbers in mm are wanted, got {spacing!r}") from error
    if len(values) != 3 or not all(0 < value < float("inf") for value in values):
        raise ConfigError(f"spacing: three numbers above 0 in mm are wanted, got {spacing!r}")
    return values
