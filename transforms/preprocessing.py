"""Deterministic preprocessing, the same in training, evaluation and inference.

The order: LoadCased (integers stay integers), ToNetworkGridd (image: orientation and spacing in one
step, trilinear, border values beyond the edge), AlignLabeld (label, nearest neighbour, straight
from its own grid: resampled once, and always of the image's shape), MapLabelsd, Regiond, intensity,
CropForegroundd, EnsureTyped. `affine` of the result is true for flipped, permuted, oblique and
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
from .labels import AlignLabeld, MapLabelsd
from .load import LoadCased
from .region import Box, Regiond
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
    body_threshold: float | None = None,
    region: Box | str | PathLike[str] | None = None,
    modality: str | None = None,
    non_finite: Literal["error", "replace"] = "error",
    keep_scan: bool = False,
) -> Compose:
    """Transforms from {"image": path, "label": path} to tensors on the network's grid.

    The result is MetaTensors float32 (C, x, y, z) with true affines; see the module for the steps.

    Args:
        keys: ("image",) or ("image", "label").
        orientation: three letters, the direction towards which each index increases.
        spacing: mm along each axis of that orientation; None keeps the scan's own.
        intensity: see intensity_transforms.
        foreground: crop to the bounding box of image > foreground, in units after `intensity`; None
            does not crop; an image with nothing above it is left whole.
        channels: of the image.
        label_map: dataset's label value -> network's channel; None when they are the same.
        body_threshold, region: where windows are to run, left in data["region"]; see Regiond.
        modality: "CT" notes intensities that can hardly be HU; see LoadCased.
        non_finite: NaN and infinite voxels are an "error", or "replace"; see LoadCased.
        keep_scan: leave the image as it was read, in its own grid, in data["scan"]; see LoadCased.

    Raises:
        ConfigError: orientation, spacing, keys, intensity or non_finite is impossible.

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
        keep_integers=True,
        keep_scan=keep_scan,
    )
    steps: list[Callable] = [load, _to_grid(orientation, spacing), *_of_labels(keys, label_map)]
    if body_threshold is not None or region is not None:
        steps.append(Regiond(body_threshold=body_threshold, region=region))
    steps += [*intensity_transforms(intensity, keys="image"), *_crop(keys, foreground)]
    return Compose([*steps, EnsureTyped(keys, dtype=torch.float32, track_meta=True)])


def _checked_keys(keys: str | Sequence[str]) -> tuple[str, ...]:
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    if "image" not in keys or set(keys) - {"image", "label"}:
        raise ConfigError(f'keys: ("image",) or ("image", "label") is wanted, got {tuple(keys)}')
    return keys


def _to_grid(orientation: str, spacing: Sequence[float] | None) -> Callable:
    _check_orientation(orientation)
    pixdim = None if spacing is None else _checked_spacing(spacing)
    return ToNetworkGridd("image", orientation=orientation, spacing=pixdim)


def _of_labels(keys: Sequence[str], label_map: Mapping[int, int] | None) -> list[Callable]:
    if "label" not in keys:
        return []
    steps: list[Callable] = [AlignLabeld("label", reference="image")]
    if label_map is not None:
        steps.append(MapLabelsd("label", label_map=label_map))
    return steps


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
