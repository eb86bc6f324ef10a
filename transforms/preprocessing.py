"""Deterministic preprocessing, the same in training, evaluation and inference."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal

import torch
from monai.transforms import Compose, CropForegroundd, EnsureTyped

from ..data.errors import ConfigError
from .intensity import intensity_transforms
from .labels import AlignLabeld, CheckPlacementd, MapLabelsd
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
    label_count: int | None = None,
    body_threshold: float | None = None,
    region: Box | str | PathLike[str] | None = None,
    modality: str | None = None,
    non_finite: Literal["error", "replace"] = "error",
    uneven: Literal["refuse", "resample"] = "refuse",
    keep_scan: bool = False,
) -> Compose:
    """Transforms from {"image": path, "label": path} to tensors on the network's grid.

    The result: MetaTensors float32 (C, x, y, z). The order: LoadCased (integers stay integers),
    CheckPlacementd and MapLabelsd (label: it lies on its image, and each of its values is named),
    ToNetworkGridd (image: orientation and spacing in one step, trilinear, border values beyond the
    edge), AlignLabeld (label, nearest neighbour, straight from its own grid: resampled once, and
    always of the image's shape), Regiond, intensity, CropForegroundd, EnsureTyped.
    `affine` of the result is true for flipped, permuted, oblique and sheared scans: the grid for a
    sheared one (gantry tilt) is orthonormal, as in MONAI's Spacing, and the resampling goes by both
    affines. Without `spacing` nothing is resampled but a label that is on another grid, and a shear
    stays.

    Args:
        keys: ("image",) or ("image", "label").
        orientation: three letters, the direction towards which each index increases.
        spacing: mm along each axis of that orientation; None keeps the scan's own.
        intensity: see intensity_transforms.
        foreground: crop to the bounding box of image > foreground, in units after `intensity`; None
            does not crop; an image with nothing above it is left whole.
        channels: of the image.
        label_map: dataset's label value -> network's channel, for every value that a label map may
            hold; None or empty when the values are channels already.
        label_count: how many channels the network has; checked where there is no label_map.
        body_threshold, region: where windows are to run, left in data["region"]; see Regiond.
        modality: "CT" notes intensities that can hardly be HU; see LoadCased.
        non_finite: NaN and infinite voxels are an "error", or "replace" puts the lowest finite
            value there and notes it.
        uneven: DICOM slices that are not evenly spaced are refused ("refuse"), or interpolated onto
            the finest even grid and noted ("resample").
        keep_scan: leave the image as it was read, in its own grid, in data["scan"]; see LoadCased.

    Raises:
        ConfigError: orientation, spacing, keys, intensity, non_finite or uneven is impossible.

    Example:
        >>> window = {"mode": "window", "low": -160, "high": 240}
        >>> prepare = preprocessing(spacing=(1.5, 1.5, 2), intensity=window)
        >>> prepare({"image": "ct.nii.gz"})["image"].shape  # doctest: +SKIP
        torch.Size([1, 240, 240, 150])
    """
    keys = (keys,) if isinstance(keys, str) else tuple(keys)
    if "image" not in keys or set(keys) - {"image", "label"}:
        raise ConfigError(f'keys: ("image",) or ("image", "label") is wanted, got {tuple(keys)}')
    _check_orientation(orientation)
    pixdim = None if spacing is None else _checked_spacing(spacing)
    has_label = "label" in keys
    transforms: list[Callable] = [
        LoadCased(
            keys,
            channels=channels,
            modality=modality,
            non_finite=non_finite,
            uneven=uneven,
            keep_integers=True,
            keep_scan=keep_scan,
            lowest_label=min(label_map or (0,)),
        )
    ]
    if has_label:
        transforms.append(CheckPlacementd("label", reference="image"))
        transforms.append(MapLabelsd("label", label_map=label_map or {}, channels=label_count))
    transforms.append(ToNetworkGridd("image", orientation=orientation, spacing=pixdim))
    if has_label:
        transforms.append(AlignLabeld("label", reference="image"))
    if body_threshold is not None or region is not None:
        transforms.append(Regiond(body_threshold=body_threshold, region=region))
    transforms.extend(intensity_transforms(intensity, keys="image"))
    if foreground is not None:
        transforms.append(
            CropForegroundd(
                (*keys, "region"),
                source_key="image",
                select_fn=_Above(float(foreground)),
                allow_smaller=True,
                allow_missing_keys=True,
            )
        )
    transforms.append(EnsureTyped(keys, dtype=torch.float32, track_meta=True))
    return Compose(transforms)


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
