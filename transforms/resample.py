"""From a scan's own grid to the network's in one step: turned, flipped and resampled."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import compute_shape_offset, zoom_affine
from monai.transforms import MapTransform, SpatialResample

from ..data.geometry.grids import Grid, voxel_map
from .timing import stage

_AXIS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
# MONAI's Spacing leaves an axis alone whose spacing is this near to the wanted one.
_SAME_SPACING_MM = 1e-3
# It leaves a whole volume alone when the map to the new grid is this near to none.
_SAME_PLACE = 1e-3
# Axes count as parallel when no voxel centre moves by more than this: what rounded direction
# cosines of DICOM do.
_PARALLEL_MM = 2e-3
# A coordinate this near to a voxel's centre is on it, in voxels.
_ON_VOXEL = 1e-5


class ToNetworkGridd(MapTransform):
    """Bring images onto the network's grid in one step: orientation and spacing, trilinear.

    The result is that of MONAI's Orientationd and then Spacingd(mode="bilinear",
    padding_mode="border"), with the same shape and affine: the direction of an oblique scan is
    kept, the grid for a sheared one (gantry tilt) is orthonormal, voxels beyond the edge have the
    edge's value. Where the two grids' axes are parallel, that is for all but sheared scans, one
    axis is interpolated after the other, a plane at a time and straight from the integers of the
    file (see `gridgate.data.images.reading.read_image`): no full-resolution copy is made, whatever
    is flipped. An axis whose spacing stays is not interpolated.

    The MetaTensor keeps its meta but for `affine`. Unlike MONAI's transforms it leaves no record in
    applied_operations, as there is nothing to undo step by step: the way back is by the two affines
    (see `gridgate.transforms.restore.restoration`). Seconds are added to
    data["timings"]["resample"] if that dict is present.

    Args:
        orientation: three letters, the direction towards which each index increases.
        spacing: mm along each axis of that orientation; None keeps the scan's own.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        orientation: str = "RAS",
        spacing: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.orientation = orientation.upper()
        self.spacing = None if spacing is None else tuple(float(mm) for mm in spacing)
        self.general = SpatialResample(
            mode="bilinear", padding_mode="border", align_corners=False, dtype=np.float32
        )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "resample"):
            for key in self.key_iterator(result):
                result[key] = self._resampled(result[key])
        return result

    def _resampled(self, image: MetaTensor) -> MetaTensor:
        source = grid_of(image)
        target = network_grid(source, orientation=self.orientation, spacing=self.spacing)
        axes = parallel_axes(source, target)
        if axes is not None:
            return placed_on(interpolate_axes(image.as_tensor(), axes), target, like=image)
        affine = torch.as_tensor(target.affine)
        found = cast(MetaTensor, self.general(image, dst_affine=affine, spatial_size=target.shape))
        return placed_on(found.as_tensor().contiguous(), target, like=image)


def grid_of(tensor: MetaTensor) -> Grid:
    """The grid of a MetaTensor (C, x, y, z)."""
    x, y, z = (int(size) for size in tensor.shape[1:])
    return Grid((x, y, z), np.asarray(torch.as_tensor(tensor.affine).cpu(), dtype=np.float64))


def placed_on(volume: torch.Tensor, grid: Grid, *, like: MetaTensor) -> MetaTensor:
    """A volume (C, x, y, z) as a MetaTensor on a grid, with the rest of another one's meta."""
    meta = {key: value for key, value in like.meta.items() if key != "affine"}
    return MetaTensor(volume, affine=torch.as_tensor(grid.affine), meta=meta)


def network_grid(scan: Grid, *, orientation: str, spacing: Sequence[float] | None) -> Grid:
    """The network's grid for a scan: that of MONAI's Orientation and Spacing, rounding included.

    Args:
        orientation: three letters, the direction towards which each index increases.
        spacing: mm along each axis of that orientation; None keeps the scan's own.
    """
    wanted = nib.orientations.axcodes2ornt(orientation.upper(), labels=_AXIS_LABELS)
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(scan.affine), wanted)
    affine = scan.affine @ nib.orientations.inv_ornt_aff(turn, scan.shape)
    x, y, z = (scan.shape[axis] for axis in np.argsort(turn[:, 0]))
    turned = Grid((x, y, z), affine)
    if spacing is None:
        return turned
    mm = np.asarray(spacing, dtype=np.float64)
    mm = np.where(np.abs(turned.spacing - mm) <= _SAME_SPACING_MM, turned.spacing, mm)
    affine = zoom_affine(turned.affine, mm, diagonal=False)
    shape, offset = compute_shape_offset(turned.shape, turned.affine, affine)
    affine[:3, 3] = offset[:3]
    x, y, z = (int(size) for size in shape)
    target = Grid((x, y, z), affine)
    if target.shape == turned.shape and np.allclose(
        voxel_map(turned, target), np.eye(4), atol=_SAME_PLACE
    ):
        return turned
    return target


@dataclass(frozen=True, eq=False)
class Axis:
    """An axis of a volume on the way to another grid with parallel axes.

    Args:
        target: the target's axis that runs along it.
        at: (target's size,) float64; where the target's voxels are on this axis, in voxels.
            Coordinates within 1e-5 of a voxel's centre are on it.
        size: voxels on this axis.
    """

    target: int
    at: np.ndarray
    size: int

    @property
    def stays(self) -> bool:
        """Whether the target has just the voxels of this axis, in their order."""
        return len(self.at) == self.size and bool((self.at == np.arange(self.size)).all())


def parallel_axes(source: Grid, target: Grid) -> tuple[Axis, Axis, Axis] | None:
    """For each axis of the source, where the target's voxels are; None unless axes are parallel."""
    matrix = voxel_map(source, target)
    linear = matrix[:3, :3]
    follows = [int(axis) for axis in np.abs(linear).argmax(axis=1)]
    if sorted(follows) != [0, 1, 2]:
        return None
    rest = linear.copy()
    rest[range(3), follows] = 0
    moved = np.abs(rest) @ np.asarray(target.shape, dtype=np.float64) * source.spacing
    if moved.max() > _PARALLEL_MM:
        return None
    axes = []
    for axis, other in enumerate(follows):
        at = linear[axis, other] * np.arange(target.shape[other]) + matrix[axis, 3]
        whole = np.rint(at)
        axes.append(
            Axis(other, np.where(np.abs(at - whole) < _ON_VOXEL, whole, at), source.shape[axis])
        )
    return axes[0], axes[1], axes[2]


def interpolate_axes(volume: torch.Tensor, axes: tuple[Axis, Axis, Axis]) -> torch.Tensor:
    """Trilinear interpolation, one axis after the other; beyond the edge is the edge's value.

    Args:
        volume: (C, X, Y, Z), any real type, any memory order; it is read a plane at a time.
        axes: of `parallel_axes`, for X, Y, Z.

    Returns:
        (C, x, y, z) float32, contiguous; the volume's own memory if it is float32 and nothing
            changes.
    """
    if all(axis.stays and axis.target == n for n, axis in enumerate(axes)):
        return volume.float()
    result, views = _planes(volume, axes, torch.float32)
    for planes, target, (slow, middle, fast) in views:
        for k, (low, high, weight) in enumerate(
            zip(*(part.tolist() for part in _neighbours(slow)), strict=True)
        ):
            plane = planes[low].float()
            if weight > 0:
                plane = plane.lerp(planes[high].float(), weight)
            # Rows first: whole rows are copied, and fewer are left for the axis where every voxel
            # is gathered.
            target[k].copy_(_along(_along(plane, 0, middle), 1, fast))
    return result


def _planes(
    volume: torch.Tensor, axes: tuple[Axis, Axis, Axis], dtype: torch.dtype
) -> tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor, list[Axis]]]]:
    """The empty result, and per channel volume and result as views in the volume's axis order.

    The order is that of the volume's memory, slowest first, so that a plane of the first axis is
    one piece.
    """
    order = sorted(range(3), key=lambda n: -volume.stride(n + 1))
    shape = [0, 0, 0]
    for axis in axes:
        shape[axis.target] = len(axis.at)
    result = torch.zeros((len(volume), *shape), dtype=dtype, device=volume.device)
    targets = [axes[n].target for n in order]
    views = [
        (one.permute(order), into.permute(targets))
        for one, into in zip(volume, result, strict=True)
    ]
    return result, [(one, into, [axes[n] for n in order]) for one, into in views]


def _neighbours(axis: Axis) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The voxels below and above each coordinate, and the share of the upper one."""
    at = np.clip(axis.at, 0, axis.size - 1)
    low = np.floor(at).astype(np.int64)
    return low, np.minimum(low + 1, axis.size - 1), at - low


def _along(plane: torch.Tensor, dim: int, axis: Axis) -> torch.Tensor:
    if axis.stays:
        return plane
    low, high, weight = (torch.from_numpy(part).to(plane.device) for part in _neighbours(axis))
    below = plane.index_select(dim, low)
    if not weight.any():
        return below
    shape = [-1 if n == dim else 1 for n in range(2)]
    return below.lerp_(plane.index_select(dim, high), weight.float().reshape(shape))
