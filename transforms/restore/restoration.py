"""From scores on the network's grid to labels in the scan's own grid, slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from monai.data import MetaTensor

from ...data.geometry.grids import Grid, voxel_map
from ...data.images.reading import smallest_unsigned
from .blocks import axis_permutation, cube_blocks, plane_blocks
from .cells import (
    MIXED,
    Block,
    axis_coordinates,
    block_coordinates,
    cell_index,
    cell_labels,
    decide,
    decide_mixed,
    interpolate,
    look_up,
    look_up_separable,
    outside,
    snapped,
)
from .regions import MOST_REGIONS, bits_dtype
from .slabs import ScoreSlabs, Slab
from .thresholds import check_thresholds, score_threshold, sureness

# What a target voxel needs on the way: coordinates and indices of the general map, float64 and
# int64.
_BYTES_PER_VOXEL = 128
_BOUNDARY_SAMPLES = 100_000  # per slab; enough for a mean


def restore_labels(
    scores: torch.Tensor | ScoreSlabs,
    *,
    affine: np.ndarray | torch.Tensor,
    target: Grid,
    max_slab_bytes: float = 256e6,
) -> np.ndarray:
    """Label map on `target` from scores on another grid: scores interpolated, then argmax.

    Trilinear interpolation is a convex combination of a cell's 8 corner voxels: where they all have
    the same argmax, that is the argmax everywhere in the cell. So the labels of such cells are
    looked up and only the voxels in mixed cells (near a boundary between labels) interpolate their
    C scores; the result is that of interpolating everywhere.

    Args:
        scores: logits (C, x, y, z), any floating dtype and device; or slabs of them. One channel is
            a binary label: logit > 0, or probability > 0.5.
        affine: (4, 4), voxel index of the scores' grid to RAS+ mm.
        target: the scan's grid (X, Y, Z). The two grids may differ by anything that affines
            express.
        max_slab_bytes: bound on the temporary arrays; they are worked on a block of the target at a
            time.

    Returns:
        (X, Y, Z) channel indices in the smallest unsigned dtype that holds C - 1, x fastest in
        memory as in a NIfTI file. Voxels more than one source voxel outside the scores' grid are 0;
        nearer ones outside take the border's values. Exact but for labels whose scores tie within
        float32 rounding.

    Raises:
        ValueError: scores are not (C, x, y, z), or are NaN or infinite.
        ImageError: an affine is singular or not finite.
    """
    return (
        Restoration(as_slabs(scores), affine=affine, target=target, max_slab_bytes=max_slab_bytes)
        .run()
        .labels
    )


class Restoration:
    """One volume's way back, see `restore_labels`: give it all slabs by `add`, then call `finish`.

    Args:
        slabs: say of which volume and kind the slabs will be; they are not read here.
        affine, target, max_slab_bytes: as for `restore_labels`.
        probabilities: labels (channel indices; of a single channel 0 and 1; of regions from 1 up)
            whose probability is wanted in the target's grid: the softmax (or sigmoid) on the
            scores' grid, interpolated.
        regions: channels overlap; `labels` are the bits of the regions, see `regions`.
        thresholds: of regions, or of a single channel, the probability above which a voxel is each;
            None is a half.
        nearest: an axis of the scores' grid along which the nearest voxel's scores are taken, not
            interpolated ones: nnU-Net's way with long voxels.
    """

    def __init__(
        self,
        slabs: ScoreSlabs,
        *,
        affine: np.ndarray | torch.Tensor,
        target: Grid,
        max_slab_bytes: float = 256e6,
        probabilities: Sequence[int] = (),
        regions: bool = False,
        thresholds: Sequence[float] | None = None,
        nearest: int | None = None,
    ) -> None:
        x, y, z = slabs.shape
        source = Grid((x, y, z), np.asarray(torch.as_tensor(affine).cpu(), dtype=np.float64))
        self.slabs = slabs
        self.thresholds = thresholds
        self.threshold = score_threshold(thresholds, probabilities=slabs.probabilities)
        self.max_bytes = max_slab_bytes
        # Both grids' axes in the order that is best here: the source's as in a slab, the target's
        # as in a NIfTI file.
        matrix = torch.as_tensor(voxel_map(source, target), dtype=torch.float64)
        self.matrix = matrix[[*slabs.order, 3]][:, [2, 1, 0, 3]].contiguous()
        self.sizes = [slabs.shape[axis] for axis in slabs.order]
        self.nearest = None if nearest is None else slabs.order.index(nearest)
        self.shape = target.shape[::-1]
        self.perm = axis_permutation(self.matrix)
        self.regions = regions
        self.wanted = list(probabilities)
        self._labels: np.ndarray | None = None
        # where no score is, there is background
        self._elsewhere = [1.0 if one == 0 and not regions else 0.0 for one in self.wanted]
        self._probabilities = [
            np.full(self.shape, 255 * chance, dtype=np.uint8) for chance in self._elsewhere
        ]
        self._margins: list[tuple[float, int]] = []
        self._reached = 0
        self._last_row: tuple[torch.Tensor, torch.Tensor] | None = None  # its scores and labels

    @property
    def labels(self) -> np.ndarray:
        """(X, Y, Z) channel indices, or bits of regions, once all slabs were added."""
        assert self._labels is not None
        return self._labels.T

    @property
    def probabilities(self) -> dict[int, np.ndarray]:
        """Channel -> (X, Y, Z) uint8, 255 is probability 1."""
        return {
            channel: array.T
            for channel, array in zip(self.wanted, self._probabilities, strict=True)
        }

    @property
    def boundary_margin(self) -> float | None:
        """Mean difference of the two best probabilities where labels meet; None without such."""
        count = sum(number for _, number in self._margins)
        return sum(total for total, _ in self._margins) / count if count else None

    def run(self) -> Restoration:
        """Take all slabs; what was gathered is in the attributes then."""
        for slab in self.slabs:
            self.add(slab)
        self.finish()
        return self

    def add(self, slab: Slab) -> None:
        """Decide what lies between this slab's rows and the last row before.

        Raises:
            ValueError: it does not begin where the slab before ended.
            ScoresError: scores are NaN or infinite.
            ConfigError: thresholds of labels that exclude each other, or not one per channel.
        """
        first, scores, labels = slab.start, slab.scores, self._decide(slab.scores)
        if first != self._reached:
            raise ValueError(f"slab from row {first} on, row {self._reached} was due")
        self._reached += len(scores)
        if self._last_row is not None:  # the cells between two slabs need it
            first -= 1
            # slabs may move to another device on the way, when memory runs out on the first
            before = [row.to(scores.device) for row in self._last_row]
            scores, labels = torch.cat([before[0], scores]), torch.cat([before[1], labels])
        if len(scores) > 1 or self.sizes[0] == 1:
            self._paint(first, scores, labels)
        self._last_row = scores[-1:].clone(), labels[-1:].clone()

    def _decide(self, scores: torch.Tensor) -> torch.Tensor:
        if self.regions and scores.shape[-1] > MOST_REGIONS:
            raise ValueError(f"{scores.shape[-1]} regions; {MOST_REGIONS} at most can overlap")
        check_thresholds(self.thresholds, channels=scores.shape[-1], regions=self.regions)
        return decide(scores, self.threshold, regions=self.regions)

    def finish(self) -> None:
        """Check that all rows came.

        Raises:
            ValueError: some did not.
        """
        self._last_row = None
        if self._reached != self.sizes[0]:
            raise ValueError(f"slabs of {self._reached} rows came, the volume has {self.sizes[0]}")

    def _paint(self, first: int, scores: torch.Tensor, labels: torch.Tensor) -> None:
        """Decide the target voxels that lie in the cells between the rows of this part."""
        channels = scores.shape[-1]
        if self._labels is None:
            dtype = (
                bits_dtype(channels) if self.regions else smallest_unsigned(max(channels - 1, 1))
            )
            self._labels = np.zeros(self.shape, dtype=dtype)
        cells = cell_labels(labels)
        self._measure_margin(cells, scores)
        chances = self._chances(scores) if self.wanted else None
        matrix = self.matrix.to(scores.device)
        for block in self._blocks(first, len(cells)):
            if self.perm is not None:
                found, inside = (
                    look_up_separable(
                        cells, first, matrix, self.perm, self.sizes, block, self.nearest
                    ),
                    None,
                )
            else:
                found, inside = look_up(cells, first, matrix, self.sizes, block, self.nearest)
                found.masked_fill_(~inside, 0)  # not of this part, so not to be interpolated here
            decide_mixed(
                found,
                scores,
                first,
                matrix,
                self.sizes,
                block,
                threshold=self.threshold,
                max_bytes=self.max_bytes / 2,
                regions=self.regions,
                nearest=self.nearest,
            )
            _put(self._labels[block], found, inside)
            if chances is not None:
                self._paint_probabilities(chances, first, matrix, block, inside)

    def _blocks(self, first: int, cells: int) -> Iterator[Block]:
        """The parts of the target that cells first..first + cells - 1 of the slabs' axis reach."""
        voxels = max(1, int(self.max_bytes / 2 / _BYTES_PER_VOXEL))
        if self.perm is None:
            for block in cube_blocks(self.shape, voxels):
                low, high = self._reach(block)
                # a cell more at both ends: on a voxel's centre coordinates that are worked out in
                # another way may fall into the next cell; look_up tells which voxels are inside
                if low - 1 < first + cells and high + 1 >= first:
                    yield block
            return
        axis = self.perm.index(0)
        whole = slice(0, self.shape[axis])
        along = axis_coordinates(self.matrix, 0, axis, whole, nearest=self.nearest == 0)
        cell = cell_index(along, self.sizes[0])
        (rows,) = ((cell >= first) & (cell < first + cells)).nonzero(as_tuple=True)
        if len(rows):
            extents = [slice(0, size) for size in self.shape]
            extents[axis] = slice(int(rows[0]), int(rows[-1]) + 1)
            yield from plane_blocks(extents, voxels)

    def _reach(self, block: Block) -> tuple[int, int]:
        """Lowest and highest cell along the slabs' axis of a block's voxels."""
        corners = np.array(
            list(product(*((extent.start, extent.stop - 1) for extent in block))), dtype=np.float64
        )
        along = torch.as_tensor(corners @ self.matrix[0, :3].numpy() + float(self.matrix[0, 3]))
        if self.nearest == 0:
            along = snapped(along)
        cell = cell_index(along, self.sizes[0])
        return int(cell.min()), int(cell.max())

    def _chances(self, scores: torch.Tensor) -> torch.Tensor:
        """(rows, y, z, wanted) float32: the wanted channels' probabilities on the scores' grid."""
        result = torch.empty(
            *scores.shape[:3], len(self.wanted), dtype=torch.float32, device=scores.device
        )
        # a single channel is the foreground's, though its label is 1; so is each region's
        alone = scores.shape[-1] == 1 or self.regions
        for row, chances in zip(scores, result, strict=True):
            whole = _probabilities(row.float(), self.slabs.probabilities, regions=self.regions)
            if alone:
                whole = torch.cat([1 - whole.amax(-1, keepdim=True), whole], -1)
            chances.copy_(whole[..., self.wanted])
        return result

    def _paint_probabilities(
        self,
        chances: torch.Tensor,
        first: int,
        matrix: torch.Tensor,
        block: Block,
        inside: torch.Tensor | None,
    ) -> None:
        shape = [extent.stop - extent.start for extent in block]
        values = torch.empty(
            int(np.prod(shape)), len(self.wanted), dtype=torch.uint8, device=chances.device
        )
        step = max(1, int(self.max_bytes / 2 / _BYTES_PER_VOXEL / 2))
        which = torch.arange(len(values), device=chances.device)
        if inside is not None:
            which = which[inside.reshape(-1)]
        elsewhere = torch.tensor(self._elsewhere, device=chances.device)
        for part in which.split(min(step, 2**18)):
            at = block_coordinates(part, matrix, block, self.nearest)
            value = interpolate(chances, first, at, self.sizes)
            for axis, size in enumerate(self.sizes):
                value = torch.where(outside(at[:, axis], size)[:, None], elsewhere.to(value), value)
            values[part] = value.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        for index, array in enumerate(self._probabilities):
            _put(array[block], values[:, index].reshape(shape), inside)

    def _measure_margin(self, cells: torch.Tensor, scores: torch.Tensor) -> None:
        """Gather how sure the network is at the corners of mixed cells."""
        at = (cells == MIXED).nonzero()
        if not len(at):
            return
        at = at[:: max(1, len(at) // _BOUNDARY_SAMPLES)]
        chances = _probabilities(
            scores[at[:, 0], at[:, 1], at[:, 2]].float(),
            self.slabs.probabilities,
            regions=self.regions,
        )
        if chances.shape[1] == 1 or self.regions:  # of regions the least sure one counts
            margin = sureness(chances, self.thresholds)
        else:
            best = chances.topk(2, 1).values
            margin = best[:, 0] - best[:, 1]
        self._margins.append((float(margin.sum()), len(margin)))


def as_slabs(scores: torch.Tensor | ScoreSlabs, *, probabilities: bool = False) -> ScoreSlabs:
    """Scores (C, x, y, z) as slabs; slabs, which say themselves what they are, as they are.

    Args:
        probabilities: scores in a tensor are probabilities, not logits.
    """
    if isinstance(scores, ScoreSlabs):
        return scores
    if scores.ndim != 4 or 0 in scores.shape:
        raise ValueError(f"logits of shape (C, x, y, z) are wanted, got {tuple(scores.shape)}")
    return ScoreSlabs.of(
        scores.as_tensor().detach() if isinstance(scores, MetaTensor) else scores.detach(),
        probabilities=probabilities,
    )


def _probabilities(scores: torch.Tensor, ready: bool, *, regions: bool) -> torch.Tensor:
    """Probabilities of scores (..., C), float32."""
    if ready:
        return scores
    alone = scores.shape[-1] == 1 or regions
    return scores.sigmoid() if alone else scores.softmax(-1)


def _put(target: np.ndarray, found: torch.Tensor, inside: torch.Tensor | None) -> None:
    if target.dtype == np.uint8:
        found = found.to(torch.uint8)  # half as much comes from a GPU
    values = found.cpu().numpy().astype(target.dtype, copy=False)
    if inside is None:
        target[...] = values
    else:
        np.copyto(target, values, where=inside.cpu().numpy())
