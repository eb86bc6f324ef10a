"""From logits on the network's grid to a label map in the scan's own grid, in little memory."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from ..data.geometry import Grid, voxel_map
from ..data.images import smallest_unsigned
from .cells import TOLERANCE, Block, cell_labels, decide_mixed, look_up, look_up_separable
from .timing import stage

# What a target voxel needs on the way: coordinates and indices of the general map, float64 and int64.
_BYTES_A_VOXEL = 128


def restore_labels(
    logits: torch.Tensor,
    *,
    affine: np.ndarray | torch.Tensor,
    target: Grid,
    max_slab_bytes: float = 256e6,
) -> np.ndarray:
    """Label map on `target` from logits on another grid: trilinear interpolation of the logits, then argmax.

    Trilinear interpolation is a convex combination of a cell's 8 corner voxels: where they all have the same
    argmax, that is the argmax everywhere in the cell. So the labels of such cells are looked up and only the
    voxels in mixed cells (near a boundary between labels) interpolate their C logits; the result is that of
    interpolating everywhere.

    Args:
        logits: (C, x, y, z), any floating dtype and device. C == 1 means a binary label: logit > 0 (sigmoid >
            0.5).
        affine: (4, 4), voxel index of the logits' grid to RAS+ mm.
        target: the scan's grid (X, Y, Z). The two grids may differ by anything that affines express.
        max_slab_bytes: bound on the temporary arrays; they are worked on a block of the target at a time.

    Returns:
        (X, Y, Z) channel indices in the smallest unsigned dtype that holds C - 1. Voxels more than one logits
        voxel outside the logits' grid are 0; nearer ones outside take the border's values.
        Exact but for labels whose logits tie within float32 rounding.

    Raises:
        ValueError: logits are not (C, x, y, z).
        ImageError: an affine is singular or not finite.
    """
    if logits.ndim != 4 or 0 in logits.shape:
        raise ValueError(f"logits of shape (C, x, y, z) are wanted, got {tuple(logits.shape)}")
    logits = logits.as_tensor() if isinstance(logits, MetaTensor) else logits
    logits = logits.detach().contiguous()
    channels, *shape = logits.shape
    source = Grid((shape[0], shape[1], shape[2]), np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64))
    matrix = torch.as_tensor(voxel_map(source, target), dtype=torch.float64, device=logits.device)
    cells = cell_labels(logits, max_slab_bytes)
    perm = _axis_permutation(matrix)
    dtype = smallest_unsigned(max(channels - 1, 1))
    result = np.empty(target.shape, dtype=dtype)
    for block in _blocks(target.shape, max(1, int(max_slab_bytes / 2 / _BYTES_A_VOXEL))):
        if perm is None:
            found = look_up(cells, matrix, shape, block)
        else:
            found = look_up_separable(cells, matrix, perm, shape, block)
        decide_mixed(found, logits, matrix, block, max_slab_bytes / 2)
        result[block] = found.cpu().numpy().astype(dtype, copy=False)
    return result


class RestoreLabelsd(MapTransform):
    """Replace logits on the network's grid by the label map in the scan's own grid.

    `data[key]`: (C, x, y, z) logits on the grid of `data[reference]`, a MetaTensor whose meta holds
    `original_affine` and `spatial_shape` of the scan (as LoadCased sets). The result is a MetaTensor (1, X,
    Y, Z), uint8 (uint16 above 255), on the CPU, with the scan's affine and its `filename_or_obj`. Seconds are
    added to data["timings"]["restore"] if present.

    Args:
        label_values: value of each channel in the written map; None: the channel's index. A single channel
            has the two values of background and foreground.
        max_slab_bytes: see restore_labels.

    Raises:
        ValueError: the logits' shape is not the reference's, or label_values has the wrong length.
    """

    def __init__(
        self,
        keys: KeysCollection = "pred",
        *,
        reference: str = "image",
        label_values: Sequence[int] | None = None,
        max_slab_bytes: float = 256e6,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.reference = reference
        self.label_values = None if label_values is None else tuple(int(v) for v in label_values)
        self.max_slab_bytes = max_slab_bytes

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        image = result[self.reference]
        target = original_grid(image)
        with stage(result, "restore"):
            for key in self.key_iterator(result):
                logits = result[key]
                if tuple(logits.shape[1:]) != tuple(image.shape[1:]):
                    raise ValueError(
                        f"{key!r} is {tuple(logits.shape)}, not on the grid of {self.reference!r}, {tuple(image.shape)}"
                    )
                labels = restore_labels(logits, affine=image.affine, target=target, max_slab_bytes=self.max_slab_bytes)
                labels = self._to_values(labels, max(2, logits.shape[0]))
                meta = {
                    "filename_or_obj": image.meta.get("filename_or_obj", ""),
                    "original_affine": target.affine,
                    "spatial_shape": np.asarray(target.shape),
                }
                affine = torch.as_tensor(target.affine)
                result[key] = MetaTensor(torch.from_numpy(labels)[None], affine=affine, meta=meta)
        return result

    def _to_values(self, labels: np.ndarray, count: int) -> np.ndarray:
        if self.label_values is None or self.label_values == tuple(range(count)):
            return labels
        if len(self.label_values) != count:
            raise ValueError(f"label_values has {len(self.label_values)} values, the network has {count} labels")
        return np.asarray(self.label_values, dtype=smallest_unsigned(max(self.label_values)))[labels]


def original_grid(image: MetaTensor) -> Grid:
    """The grid of the scan as it was on disk, from the meta that LoadCased sets.

    Raises:
        ValueError: `original_affine` or `spatial_shape` is not in the meta.
    """
    try:
        affine, shape = image.meta["original_affine"], image.meta["spatial_shape"]
    except (KeyError, AttributeError) as error:
        raise ValueError(f"the image's meta lacks {error}: load it with LoadCased and keep its meta") from error
    x, y, z = (int(n) for n in shape)
    return Grid((x, y, z), np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64).reshape(4, 4))


def _axis_permutation(matrix: torch.Tensor) -> tuple[int, ...] | None:
    """For each target axis the source axis that follows it, or None when the grids' axes are not parallel."""
    linear = matrix[:3, :3].abs().cpu().numpy()
    perm = linear.argmax(0)
    off_axis = linear.copy()
    off_axis[perm, range(3)] = 0
    # What is off the axes moves a voxel by less than the tolerance over any scan's some thousand voxels.
    if sorted(perm) != [0, 1, 2] or off_axis.max() > TOLERANCE / 4096:
        return None
    return tuple(int(axis) for axis in perm)


def _blocks(shape: tuple[int, int, int], voxels: int) -> Iterator[Block]:
    """Blocks of at most `voxels` voxels (at least one row): whole planes of the first axis where they fit."""
    rows = max(1, voxels // shape[2])
    height = min(rows, shape[1])
    depth = max(1, rows // shape[1])
    for x, y in product(range(0, shape[0], depth), range(0, shape[1], height)):
        yield slice(x, min(x + depth, shape[0])), slice(y, min(y + height, shape[1])), slice(0, shape[2])
