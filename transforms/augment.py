"""Random augmentation: nnU-Net's set of transforms and probabilities."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.transforms import (
    Compose,
    EnsureTyped,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    Randomizable,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandShiftIntensityd,
    RandSimulateLowResolutiond,
)

from .window import RandomWindowd


def augmentation(
    *,
    roi_size: Sequence[int],
    label_count: int,
    foreground: float = 0.5,
    mirror_axes: Sequence[int] = (0, 1, 2),
    rotation_degrees: float | Sequence[float] = 15.0,
    rotation_probability: float = 0.2,
    scale: Sequence[float] = (0.85, 1.2),
    scale_probability: float = 0.2,
    intensity: bool = True,
) -> Compose:
    """Random transforms from a preprocessed case to ONE training window.

    Gives {"image": (C, *roi_size), "label": (1, *roi_size)}. The input is what preprocessing() and
    then ClassIndicesd(label_count=...) give, and may be cached: it is not changed. The output's
    tensors are plain float32 ones. Seed it for each sample by `.set_random_state(seed)`: same seed
    and input, same output. See RandomWindowd for the window, mirroring, rotation and scale, and
    what happens to small volumes.

    Args:
        roi_size: (x, y, z) voxels.
        label_count: labels with background; checked against the lists of ClassIndicesd.
        foreground: probability that the window is centred on a class.
        mirror_axes: leave out the left-right axis when labels have sides (left kidney, right
            kidney).
        rotation_degrees, rotation_probability, scale, scale_probability: see RandomWindowd.
        intensity: noise, blur, brightness, contrast, low resolution and gamma with the
            probabilities of nnU-Net (Isensee et al., Nature Methods 2021). Their strengths are made
            for intensities of about unit range or unit std.
    """
    transforms: list[Callable] = [
        RandomWindowd(
            roi_size=roi_size,
            label_count=label_count,
            foreground=foreground,
            mirror_axes=mirror_axes,
            rotation_degrees=rotation_degrees,
            rotation_probability=rotation_probability,
            scale=scale,
            scale_probability=scale_probability,
        )
    ]
    if intensity:
        transforms += _intensity("image")
        transforms.append(EnsureTyped(("image", "label"), dtype=torch.float32, track_meta=False))
    return OneStream(transforms)


class OneStream(Compose):
    """A Compose whose transforms share one random stream, which is quick to seed."""

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "OneStream":
        """Start the stream all transforms draw from; the same seed gives the same windows."""
        Randomizable.set_random_state(self, seed, state)
        for transform in self.transforms:
            if isinstance(transform, Randomizable):
                transform.set_random_state(state=self.R)
        return self


def _intensity(key: str) -> list[Callable]:
    return [
        RandGaussianNoised(key, prob=0.1, mean=0.0, std=0.1),
        RandGaussianSmoothd(
            key, prob=0.2, sigma_x=(0.5, 1.0), sigma_y=(0.5, 1.0), sigma_z=(0.5, 1.0)
        ),
        RandScaleIntensityd(key, prob=0.15, factors=0.25),
        RandShiftIntensityd(key, prob=0.15, offsets=0.1),
        RandScaleIntensityFixedMeand(key, prob=0.15, factors=0.25, preserve_range=True),
        RandSimulateLowResolutiond(key, prob=0.25, zoom_range=(0.5, 1.0)),
        RandAdjustContrastd(key, prob=0.1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
        RandAdjustContrastd(key, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
    ]
