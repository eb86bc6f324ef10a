"""Drawing one training window: its place, rotation, scale and mirroring, interpolated once."""

from collections.abc import Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform
from torch.nn import functional

from ..data.geometry.affines import spacing


class RandomWindowd(Randomizable, Transform):
    """Draw one window of `roi_size` from an image (C, x, y, z) and its label (1, x, y, z).

    Both become plain tensors. A volume may lie on disk: of anything that is no tensor or array, has
    a `shape`, and gives a part for a box of slices (and an `affine`, where its voxels have sizes),
    only the box that the window touches is read.

    With probability `foreground` the centre is a voxel of a class drawn among those present (needs
    the lists that ClassIndicesd leaves in data["label_class_indices"], which are taken out of the
    item; without them, or in a case without foreground, any place does). The window is then moved
    into the volume; on an axis where the volume is smaller, the volume is centred and padded. A
    turned window is cut out of the volume itself, so its corners show anatomy, not padding, and
    every voxel is interpolated once: MONAI's crop, then RandAffined, needs a larger crop and a grid
    per key. Turning is in millimetres, so anisotropic voxels do not shear the anatomy.

    Args:
        roi_size: (x, y, z) voxels.
        label_count: how many lists ClassIndicesd must have left (background with them); None does
            not check.
        foreground: probability of a class-centred window, 0 to 1.
        rotation_degrees: largest angle around each axis, one number or three.
        rotation_probability, scale_probability: 0 to 1; nnU-Net's are 0.2 each.
        scale: range of the factor by which the anatomy grows.
        mirror_axes: axes mirrored with probability 0.5 each. Leave out the left-right axis when
            labels have sides.
        label_keys: keys interpolated by nearest neighbour and padded with 0; the image is trilinear
            and padded with its window's lowest value.
    """

    def __init__(
        self,
        *,
        roi_size: Sequence[int],
        label_count: int | None = None,
        foreground: float = 0.5,
        rotation_degrees: float | Sequence[float] = 15.0,
        rotation_probability: float = 0.2,
        scale: Sequence[float] = (0.85, 1.2),
        scale_probability: float = 0.2,
        mirror_axes: Sequence[int] = (0, 1, 2),
        image_keys: Sequence[str] = ("image",),
        label_keys: Sequence[str] = ("label",),
    ) -> None:
        super().__init__()
        self.roi_size = tuple(int(size) for size in roi_size)
        degrees = np.broadcast_to(np.asarray(rotation_degrees, dtype=np.float64), 3)
        self.max_radians = np.deg2rad(degrees)
        self.label_count = label_count
        self.foreground = foreground
        self.rotation_probability = rotation_probability
        self.scale = (float(scale[0]), float(scale[1]))
        self.scale_probability = scale_probability
        self.mirror_axes = tuple(mirror_axes)
        self.image_keys = tuple(image_keys)
        self.label_keys = tuple(label_keys)
        if (
            len(self.roi_size) != 3
            or min(self.roi_size) < 1
            or not 0 < self.scale[0] <= self.scale[1]
        ):
            raise ValueError(
                f"roi_size wants three sizes and scale low <= high above 0, got {roi_size}, {scale}"
            )

    @property
    def reads_parts(self) -> tuple[str, ...]:
        """The keys whose values may lie on disk."""
        lists = [f"{key}_class_indices" for key in self.label_keys]
        return (*self.image_keys, *self.label_keys, *lists)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        indices = [result.pop(f"{key}_class_indices", None) for key in self.label_keys]
        image = result[self.image_keys[0]]
        shape = tuple(int(size) for size in image.shape[1:])
        start = self._draw_start(shape, indices[0] if indices else None)
        matrix = self._draw_matrix(image)
        flips = [axis + 1 for axis in self.mirror_axes if self.R.random_sample() < 0.5]
        for key in (*self.image_keys, *self.label_keys):
            is_label = key in self.label_keys
            volume = _plain(result[key])
            if tuple(volume.shape[1:]) != shape:
                raise ValueError(
                    f"{key!r} is {tuple(volume.shape)}, not on the image's grid, "
                    f"{tuple(image.shape)}"
                )
            if matrix is None:
                window = _cut(volume, start, self.roi_size, pad_with_zero=is_label)
            else:
                window = _sample(volume, start, self.roi_size, matrix, nearest=is_label)
            result[key] = torch.flip(window, flips) if flips else window
        return result

    def _draw_start(self, shape: Sequence[int], indices: Sequence[Any] | None) -> list[int]:
        """First voxel of the window on each axis; negative where the volume is smaller."""
        if (
            indices is not None
            and self.label_count is not None
            and len(indices) != self.label_count
        ):
            raise ValueError(
                f"ClassIndicesd listed {len(indices)} labels, the augmentation has "
                f"{self.label_count}"
            )
        wants_class = self.R.random_sample() < self.foreground
        present = [voxels for voxels in (indices or [])[1:] if len(voxels)]
        if wants_class and present:
            voxels = present[self.R.randint(len(present))]
            centre = np.unravel_index(int(voxels[self.R.randint(len(voxels))]), tuple(shape))
            wanted = [int(c) - size // 2 for c, size in zip(centre, self.roi_size, strict=True)]
        else:
            wanted = [
                int(self.R.randint(max(n - size, 0) + 1))
                for n, size in zip(shape, self.roi_size, strict=True)
            ]
        return [
            min(max(first, 0), n - size) if n >= size else -((size - n) // 2)
            for first, n, size in zip(wanted, shape, self.roi_size, strict=True)
        ]

    def _draw_matrix(self, image: Any) -> np.ndarray | None:
        """(3, 3): voxels from the window's centre -> those in the volume; None where not drawn."""
        angles, factor = np.zeros(3), 1.0
        if self.R.random_sample() < self.rotation_probability:
            angles = self.R.uniform(-self.max_radians, self.max_radians)
        if self.R.random_sample() < self.scale_probability:
            factor = self.R.uniform(*self.scale)
        if not angles.any() and factor == 1.0:
            return None
        rotation = np.eye(3)
        for axis, angle in enumerate(angles):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            turn = np.eye(3)
            turn[i, i] = turn[j, j] = np.cos(angle)
            turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
            rotation = turn @ rotation
        affine = getattr(image, "affine", None)
        mm = np.ones(3) if affine is None else spacing(np.asarray(affine))
        return rotation * (np.asarray(mm)[None, :] / np.asarray(mm)[:, None]) / factor


def _plain(volume: Any) -> Any:
    """A tensor without meta; what is neither tensor nor array as it is."""
    if isinstance(volume, MetaTensor):
        return volume.as_tensor()
    return torch.as_tensor(volume) if isinstance(volume, np.ndarray) else volume


def _cut(
    volume: Any, start: Sequence[int], size: Sequence[int], *, pad_with_zero: bool
) -> torch.Tensor:
    """A copy of the window, padded where it reaches outside the volume."""
    box, padding = [slice(None)], []
    for first, length, n in zip(start, size, volume.shape[1:], strict=True):
        low, high = max(first, 0), min(first + length, n)
        box.append(slice(low, high))
        padding.append((low - first, first + length - high))
    window = torch.as_tensor(volume[tuple(box)])
    if not any(map(any, padding)):
        return window.clone(memory_format=torch.contiguous_format)
    value = 0.0 if pad_with_zero else float(window.min())
    return functional.pad(
        window, [amount for pair in reversed(padding) for amount in pair], value=value
    )


def _sample(
    volume: Any,
    start: Sequence[int],
    size: Sequence[int],
    matrix: np.ndarray,
    *,
    nearest: bool,
) -> torch.Tensor:
    """The turned and scaled window around the same centre, sampled from the part it touches."""
    half = (np.asarray(size) - 1) / 2
    centre = np.asarray(start) + half
    corners = matrix @ np.array(list(product(*((-h, h) for h in half)))).T + centre[:, None]
    shape = np.asarray(volume.shape[1:])
    low = np.clip(np.floor(corners.min(1)) - 1, 0, shape - 1).astype(int)
    high = np.clip(np.ceil(corners.max(1)) + 2, low + 1, shape).astype(int)
    part = torch.as_tensor(volume[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]])
    # grid_sample counts in halves of the part's extent (align_corners=False), last axis first.
    extent = high - low
    theta = np.empty((3, 4))
    theta[:, :3] = matrix * np.asarray(size)[None, :] / extent[:, None]
    theta[:, 3] = (2 * (centre - low) + 1) / extent - 1
    theta = theta[::-1, [2, 1, 0, 3]].copy()
    grid = functional.affine_grid(
        torch.from_numpy(theta).float()[None], [1, 1, *size], align_corners=False
    )
    mode = "nearest" if nearest else "bilinear"
    floor = (
        0.0 if nearest else float(part.min())
    )  # outside is 0 to grid_sample, so let 0 be the lowest value
    source = part if floor == 0.0 else part - floor
    window = functional.grid_sample(
        source.float()[None], grid, mode=mode, padding_mode="zeros", align_corners=False
    )[0]
    return window if floor == 0.0 else window.add_(floor)
