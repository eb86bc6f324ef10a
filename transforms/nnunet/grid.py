"""From a scan to the grid that nnU-Net's networks see, with the affine that is true for it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from numpy.typing import NDArray
from scipy import ndimage

from ...data.errors import ConfigError
from ...data.geometry.boxes import bounding_box
from ...data.geometry.grids import Grid
from ..resample import grid_of, interpolate_axes, parallel_axes
from ..restore.box import BOX, NEAREST
from ..timing import stage
from .normalising import channel_modes, needs_mask, normalised
from .resampling import Resampling, new_shape, resample


@dataclass(frozen=True)
class NnunetGrid:
    """What nnU-Net's plans say of the network's grid.

    Args:
        transpose: order of the axes, counted from slowest to fastest of the stored volume (for a
            NIfTI file z, y, x).
        orientation: three letters that a scan is turned to first, such as RAS; None: it is seen as
            it is stored.
        resampling: of images. restoring: of scores, back to the scan's grid; linear, along an axis
            apart linear or nearest.

    Raises:
        ConfigError: a value is impossible.
    """

    transpose: Sequence[int] = (0, 1, 2)
    orientation: str | None = None
    resampling: Resampling = field(default_factory=Resampling)
    restoring: Resampling = field(default_factory=lambda: Resampling(order=1))

    def __post_init__(self) -> None:
        if sorted(self.transpose) != [0, 1, 2]:
            raise ConfigError(f"nnunet: transpose {self.transpose}: an order of 0, 1, 2 is wanted")
        letters = (self.orientation or "RAS").upper()
        if len(letters) != 3 or any(sum(one in pair for one in letters) != 1 for pair in _AXES):
            raise ConfigError(
                f"nnunet: orientation {self.orientation!r}: three letters, one each of L/R, P/A, "
                "I/S, or null"
            )
        if self.restoring.order != 1 or self.restoring.order_z > 1:
            raise ConfigError(
                f"nnunet: restoring by order {self.restoring.order} and order_z "
                f"{self.restoring.order_z}: 1, and 0 or 1, are there"
            )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> NnunetGrid:
        """The grid that a plan's settings say.

        Raises:
            ConfigError: a setting is unknown or impossible.
        """
        given = dict(settings)
        for name in ("resampling", "restoring"):
            if name in given:
                given[name] = Resampling.of(given[name])
        try:
            return cls(**given)
        except TypeError as error:
            raise ConfigError(f"nnunet {dict(settings)}: {error}") from error

    def axes(self, scan: Grid) -> tuple[list[int], list[bool]]:
        """For each axis of the network's grid that of the scan, and whether it is reversed."""
        follows, reverse = [0, 1, 2], [False, False, False]
        if self.orientation is not None:
            wanted = nib.orientations.axcodes2ornt(self.orientation.upper(), labels=_AXES)
            turn = nib.orientations.ornt_transform(
                nib.orientations.io_orientation(scan.affine), wanted
            )
            for axis, (goes_to, sign) in enumerate(turn):
                follows[int(goes_to)], reverse[int(goes_to)] = axis, bool(sign < 0)
        order = [(2, 1, 0)[axis] for axis in self.transpose]
        return [follows[axis] for axis in order], [reverse[axis] for axis in order]


_SAME = 1e-5  # of a spacing: what float32 may be off by
_AXES = (("L", "R"), ("P", "A"), ("I", "S"))


class ToNnunetGridd(MapTransform):
    """Bring images onto nnU-Net's grid: turned, cropped, normalised and resampled as it does.

    In its order: the axes as stored, slowest first, then transposed; cropped to the box of what is
    not 0; normalised; resampled. The MetaTensor has the affine that is true for the result, and in
    its meta what RestoreLabelsd needs for nnU-Net's way back, see restore.box. Seconds are added
    to data["timings"]["resample"] if that dict is present.

    Args:
        spacing: mm along the network's axes; None keeps the scan's.
        intensity: see normalising.channel_modes.
        grid: axes and resampling.
        channels: of the image.
        fast: trilinear, straight from the file's integers, and normalised afterwards: less time and
            memory, and other values.

    Raises:
        ConfigError: see channel_modes.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        spacing: Sequence[float] | None,
        intensity: Mapping[str, Any],
        grid: NnunetGrid | None = None,
        channels: int = 1,
        fast: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.spacing = None if spacing is None else tuple(float(mm) for mm in spacing)
        self.modes = channel_modes(intensity, channels)
        self.grid = grid or NnunetGrid()
        self.fast = fast

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with the keys transformed; `data` and its tensors are left as they are."""
        result = dict(data)
        with stage(result, "resample"):
            for key in self.key_iterator(result):
                result[key] = self._on_grid(result[key])
        return result

    def _on_grid(self, image: MetaTensor) -> MetaTensor:
        scan = grid_of(image)
        follows, reverse = self.grid.axes(scan)
        plain = image.as_tensor()
        if len(plain) != len(self.modes):
            raise ConfigError(
                f"intensity: {len(self.modes)} channels are described, the image has {len(plain)}"
            )
        box = _filled_box(plain.numpy())
        cropped = plain[(slice(None), *box)].permute(0, *(1 + axis for axis in follows))
        backwards = [axis + 1 for axis, flag in enumerate(reverse) if flag]
        if backwards and not self.fast:
            cropped = cropped.flip(backwards)
        mm = _spacing(image, scan)
        current = [mm[axis] for axis in follows]
        wanted = current if self.spacing is None else list(self.spacing)
        sizes = tuple(cropped.shape[1:])
        shape = new_shape(sizes, current, wanted)
        target = _target(scan, box, follows, reverse, shape)
        if self.fast:
            volume = self._fast(plain, scan, target)
        else:
            volume = normalised(cropped, self.modes, self._mask(cropped))
            apart = self.grid.resampling.separate_axis(current, wanted)
            volume = resample(volume, shape, how=self.grid.resampling, apart=apart)
        back = self.grid.restoring
        nearest = back.separate_axis(wanted, current) if back.order_z == 0 else None
        meta = {key: value for key, value in image.meta.items() if key != "affine"}
        meta[BOX] = np.array([[part.start, part.stop] for part in box])
        meta[NEAREST] = -1 if nearest is None or shape == sizes else nearest
        return MetaTensor(volume.contiguous(), affine=torch.as_tensor(target.affine), meta=meta)

    def _mask(self, image: torch.Tensor) -> torch.Tensor | None:
        if not needs_mask(self.modes):
            return None
        return torch.from_numpy(ndimage.binary_fill_holes((image != 0).any(0).numpy()))

    def _fast(self, plain: torch.Tensor, scan: Grid, target: Grid) -> torch.Tensor:
        axes = parallel_axes(scan, target)
        assert axes is not None, "the network's grid has the scan's axes"
        volume = interpolate_axes(plain, axes)
        return normalised(volume, self.modes, self._mask(volume))


def _spacing(image: MetaTensor, scan: Grid) -> list[float]:
    """Spacing of the scan in mm: a NIfTI header's own numbers, where its affine has the same.

    Lengths of an affine's columns are off by some 1e-8, and a size that is half-way between two
    whole numbers would be rounded otherwise than by nnU-Net, which reads the header's. Other
    formats' and images' in memory are rounded to seven digits.
    """
    mm = [float(f"{one:.7g}") for one in scan.spacing]  # 3 to 1 mm is not more than three times
    block = image.meta.get("nifti_header") or b""
    kind = {348: nib.Nifti1Header, 540: nib.Nifti2Header}.get(len(block))
    if kind is None:
        return mm
    said = [float(one) for one in kind(block, check=False)["pixdim"][1:4]]
    return said if np.allclose(said, mm, rtol=_SAME, atol=0) else mm


def _filled_box(image: NDArray[Any]) -> tuple[slice, ...]:
    """The box of what is not 0 in any channel; all of an image that is 0."""
    box = bounding_box(*image)
    return tuple(
        part if part.stop > part.start else slice(0, size)
        for part, size in zip(box, image.shape[1:], strict=True)
    )


def _target(
    scan: Grid,
    box: Sequence[slice],
    follows: Sequence[int],
    reverse: Sequence[bool],
    shape: Sequence[int],
) -> Grid:
    """The network's grid: the box's edges are its own, divided into other voxels."""
    to_scan = np.zeros((4, 4))
    to_scan[3, 3] = 1
    for axis, (follow, backwards, size) in enumerate(zip(follows, reverse, shape, strict=True)):
        count = box[follow].stop - box[follow].start
        step = count / size
        first = 0.5 * step - 0.5
        to_scan[follow, axis] = -step if backwards else step
        to_scan[follow, 3] = box[follow].start + (count - 1 - first if backwards else first)
    x, y, z = shape
    return Grid((x, y, z), scan.affine @ to_scan)
