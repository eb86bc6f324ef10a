"""Random training windows as a MONAI transform: it draws one, cuts it, changes its intensities."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Randomizable, Transform

from ...data.geometry.affines import spacing
from .cutting import cut_windows
from .draws import IntensityDraw, Matrix, WindowDraw, drawn_intensity, drawn_start, turning
from .intensities import change_intensities
from .sides import Sides

_THIN = 0.2  # of a window's longest edge in mm: what is thinner is turned within its slices alone


class RandomWindowd(Randomizable, Transform):
    """Draw one window of `roi_size` from an image (C, x, y, z) and its label (1, x, y, z).

    Both become plain float32 tensors, on the device where their volumes are. What is random is
    drawn on the CPU (`draw`) and then applied (`apply`), so that a seed gives the same window on
    each device. A volume may be anything that has a `shape`, gives a part for a box of slices (and
    has an `affine`, where its voxels have sizes): of one on disk only the box that the window
    touches is read.

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
        rotation_degrees: largest angle around each axis, one number or three. Windows of few slices
            are turned within these alone: turned out of them they would show hardly anything.
        rotation_probability, scale_probability: 0 to 1; nnU-Net's are 0.2 each.
        scale: range of the factor by which the anatomy grows.
        mirror_axes: axes mirrored with probability 0.5 each. Leave out the left-right axis when
            labels have sides that `sides` does not know.
        sides: labels that are exchanged in a window mirrored from left to right; None: none.
        intensity: whether the image's intensities are changed, see `draws.drawn_intensity`.
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
        sides: Sides | None = None,
        intensity: bool = False,
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
        self.sides = sides or Sides()
        self.intensity = intensity
        self.image_keys = tuple(image_keys)
        self.label_keys = tuple(label_keys)
        self._random = np.random.default_rng()
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
        return (*self.image_keys, *self.label_keys, *self._index_keys)

    @property
    def _index_keys(self) -> list[str]:
        return [f"{key}_class_indices" for key in self.label_keys]

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandomWindowd:
        """Begin the stream that windows are drawn from; the same seed gives the same windows."""
        if seed is None and state is not None:
            seed = int(state.randint(2**32, dtype=np.uint32))
        self._random = np.random.default_rng(seed)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        return self.apply(data, self.draw(data))

    def draw(self, data: Mapping[Hashable, Any]) -> WindowDraw:
        """What is random of the next window of a case, of which only grid and lists are looked at.

        Raises:
            ValueError: the lists are those of another number of labels.
        """
        lists = [data.get(key) for key in self._index_keys]
        indices = lists[0] if lists else None
        if indices is not None and self.label_count not in (None, len(indices)):
            raise ValueError(
                f"ClassIndicesd listed {len(indices)} labels, the augmentation has "
                f"{self.label_count}"
            )
        image = data[self.image_keys[0]]
        shape = [int(size) for size in image.shape[1:]]
        start = drawn_start(self._random, shape, self.roi_size, indices, foreground=self.foreground)
        matrix = self._drawn_matrix(image)
        flips = tuple(axis for axis in self.mirror_axes if self._random.random() < 0.5)
        intensity = drawn_intensity(self._random) if self.intensity else IntensityDraw()
        return WindowDraw(start, matrix, flips, intensity)

    def apply(self, data: Mapping[Hashable, Any], draw: WindowDraw) -> dict[Hashable, Any]:
        """The window that was drawn, as `__call__` gives it.

        Raises:
            ValueError: a volume is not on the first image's grid.
        """
        result = {key: value for key, value in data.items() if key not in self._index_keys}
        keys = (*self.image_keys, *self.label_keys)
        shape = tuple(result[keys[0]].shape)
        for key in keys:
            if tuple(result[key].shape[1:]) != shape[1:]:
                raise ValueError(
                    f"{key!r} is {tuple(result[key].shape)}, not on the image's grid, {shape}"
                )
        volumes = [(_plain(result[key]), key in self.label_keys) for key in keys]
        result.update(zip(keys, cut_windows(volumes, draw, self.roi_size), strict=True))
        for key in self.image_keys:
            result[key] = change_intensities(result[key], draw.intensity)
        if self.sides.crossed(draw.flips):
            for key in self.label_keys:
                result[key] = self.sides.exchanged(result[key])
            if "annotated" in result:
                told = torch.as_tensor(result["annotated"])
                result["annotated"] = told[self.sides.order_of_labels(len(told))]
        return result

    def _drawn_matrix(self, image: Any) -> Matrix | None:
        affine = getattr(image, "affine", None)
        mm = np.ones(3) if affine is None else spacing(np.asarray(affine))
        angles, factor = np.zeros(3), 1.0
        if self._random.random() < self.rotation_probability:
            angles = self._random.uniform(-self.max_radians, self.max_radians)
            angles = np.where(self._leave_slices(image, mm), 0.0, angles)
        if self._random.random() < self.scale_probability:
            factor = self._random.uniform(*self.scale)
        if not angles.any() and factor == 1.0:
            return None
        return turning(angles.tolist(), factor, mm.tolist())

    def _leave_slices(self, image: Any, mm: np.ndarray) -> np.ndarray:
        """(3,) bool: about which axes a turn would take most of a thin window out of its slices."""
        edges = np.minimum(self.roi_size, image.shape[1:]) * mm
        thin = edges < _THIN * edges.max()
        return np.array([thin[[one for one in range(3) if one != axis]].any() for axis in range(3)])


def _plain(volume: Any) -> Any:
    """A tensor without meta; what is neither tensor nor array as it is."""
    if isinstance(volume, MetaTensor):
        return volume.as_tensor()
    return torch.as_tensor(volume) if isinstance(volume, np.ndarray) else volume
