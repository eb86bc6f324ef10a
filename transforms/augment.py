"""Random augmentation: nnU-Net's set of transforms and probabilities."""

from collections.abc import Sequence

from .windows.random_window import RandomWindowd
from .windows.sides import Sides


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
    labels: Sequence[str] = (),
    side_pairs: Sequence[Sequence[int]] | None = None,
    orientation: str = "RAS",
    regions: bool = False,
) -> RandomWindowd:
    """Random changes from a preprocessed case to ONE training window.

    Gives {"image": (C, *roi_size), "label": (1, *roi_size)}. The input is what preprocessing() and
    then ClassIndicesd(label_count=...) give, and may be cached: it is not changed. The output's
    tensors are plain float32 ones, on the device of the input's. Seed it for each sample by
    `.set_random_state(seed)`: same seed and input, same output. See RandomWindowd for the window,
    mirroring, rotation and scale, and what happens to small volumes.

    Args:
        roi_size: (x, y, z) voxels.
        label_count: labels with background; checked against the lists of ClassIndicesd.
        foreground: probability that the window is centred on a class.
        mirror_axes: leave out the left-right axis when labels have sides (left kidney, right
            kidney) that are not exchanged.
        rotation_degrees, rotation_probability, scale, scale_probability: see RandomWindowd.
        intensity: noise, blur, brightness, contrast, low resolution and gamma with the
            probabilities of nnU-Net (Isensee et al., Nature Methods 2021). Their strengths are made
            for intensities of about unit range or unit std.
        labels, side_pairs, orientation, regions: names, of which left and right are exchanged in a
            window mirrored from left to right, see windows.sides.Sides.
    """
    return RandomWindowd(
        roi_size=roi_size,
        label_count=label_count,
        foreground=foreground,
        mirror_axes=mirror_axes,
        rotation_degrees=rotation_degrees,
        rotation_probability=rotation_probability,
        scale=scale,
        scale_probability=scale_probability,
        sides=Sides.of(side_pairs, labels=labels, orientation=orientation, regions=regions),
        intensity=intensity,
    )
