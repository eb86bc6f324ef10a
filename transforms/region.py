"""Where there is something to segment: the body in a CT, and a user's region of interest."""

from collections.abc import Hashable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Transform
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

from ..data.errors import ConfigError, ImageError
from ..data.geometry.grids import Grid
from ..data.images.reading import IMAGE_SUFFIXES, case_id
from .labels import AlignLabeld
from .load import LoadCased
from .resample import grid_of
from .timing import stage

_COARSE_MM = 5.0  # the body is looked for on voxels of about this size at most: one cheap pass
_ACROSS = 64  # of these voxels lie along the middle one of a scan's lengths: a hand's are smaller
_SMALLEST_PART = 0.01  # of the largest component's size; an arm beside the trunk is body, too
_MARGIN = 1  # coarse voxels around the body that count as body

Box = Sequence[Sequence[float]]


def body_mask(
    image: torch.Tensor, spacing: Sequence[float], *, threshold: float = -500.0
) -> NDArray[np.bool_]:
    """Where the patient is in a CT: denser than air, without the table, lungs and gut filled.

    On a grid of about 5 mm, of small scans finer: mean HU above the threshold, opened once (a thin
    table top goes), components of at least a hundredth of the largest one's size (legs come in
    pairs), holes filled slice by slice along each axis, grown by one coarse voxel.

    Args:
        image: (x, y, z) HU.
        spacing: mm along each axis.
        threshold: HU; air is -1000, lung about -850, fat -100.

    Returns:
        (x, y, z) bool; all True where nothing is above the threshold, as then this is no CT in HU.
    """
    lengths = sorted(n * float(mm) for n, mm in zip(image.shape, spacing, strict=True))
    coarse_mm = min(_COARSE_MM, lengths[1] / _ACROSS)
    factor = [
        max(1, min(n, round(coarse_mm / float(mm))))
        for n, mm in zip(image.shape, spacing, strict=True)
    ]
    coarse = functional.avg_pool3d(
        image[None, None].float(), factor, ceil_mode=True, count_include_pad=False
    )[0, 0]
    solid = (coarse > threshold).cpu().numpy()
    opened = ndimage.binary_opening(solid) if min(solid.shape) > 2 else solid
    components, count = ndimage.label(opened)
    if count == 0:
        if not solid.any():
            return np.ones(tuple(image.shape), dtype=bool)
        opened, (components, count) = solid, ndimage.label(solid)
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    body = (sizes >= _SMALLEST_PART * sizes.max())[components]
    for axis in range(3):
        for plane in np.moveaxis(body, axis, 0):  # views, filled in place
            plane[...] = ndimage.binary_fill_holes(plane)
    body = ndimage.binary_dilation(body, structure=np.ones((3, 3, 3)), iterations=_MARGIN)
    for axis, repeat in enumerate(factor):
        body = np.repeat(body, repeat, axis=axis)
    return np.ascontiguousarray(body[tuple(slice(0, n) for n in image.shape)])


class Regiond(Transform):
    """Leave in data["region"] where windows are to run: (1, x, y, z) bool on the image's grid.

    Where they run everywhere, nothing is left.

    The body (see `body_mask`) and the user's region both restrict it. Needs the image in HU, so it
    stands before the intensity transforms. Seconds are added to data["timings"]["resample"] if that
    dict is present.

    Args:
        body_threshold: HU of `body_mask`; None does not look for a body (MR, scans without HU).
        region: a box ((x, y, z), (x, y, z)) in RAS+ mm, its two opposite corners; or a mask file,
            or a folder that holds a mask <case id>.nii.gz (any image suffix) for each case: nonzero
            is inside, as from a coarse network.

    Raises:
        ConfigError: a box of other numbers.
        ImageError: a case has no mask in the folder, or it cannot be read, or the region does not
            meet the scan.
    """

    def __init__(
        self,
        *,
        body_threshold: float | None = None,
        region: Box | str | PathLike[str] | None = None,
        key: str = "image",
        id_key: str = "id",
    ) -> None:
        self.body_threshold = body_threshold
        self.key, self.id_key = key, id_key
        self.box: NDArray[np.float64] | None = None
        self.masks: Path | None = None
        if isinstance(region, str | PathLike):
            self.masks = Path(region)
        elif region is not None:
            self.box = _checked_box(region)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict with "region" added."""
        result = dict(data)
        with stage(result, "resample"):
            image: MetaTensor = result[self.key]
            wanted = self._wanted(result, image)
            if self.body_threshold is not None:
                mm = np.linalg.norm(np.asarray(image.affine)[:3, :3], axis=0)
                body = body_mask(image.as_tensor()[0], mm.tolist(), threshold=self.body_threshold)
                wanted = body if wanted is None else wanted & body
            if wanted is not None and not wanted.all():
                result["region"] = torch.from_numpy(wanted)[None]
        return result

    def _wanted(self, case: Mapping[Hashable, Any], image: MetaTensor) -> NDArray[np.bool_] | None:
        if self.box is not None:
            inside = _in_box(grid_of(image), self.box)
            what = f"the region {self.box.tolist()} (mm, RAS+)"
        elif self.masks is not None:
            path = self._mask_of(case)
            item: dict[Hashable, Any] = {
                "label": LoadCased("label")({"label": path})["label"],
                "image": image,
            }
            inside = np.asarray(AlignLabeld("label", reference="image")(item)["label"])[0] != 0
            what = f"the region {path}"
        else:
            return None
        if not inside.any():
            name = image.meta.get("filename_or_obj", "the scan")
            raise ImageError(
                f"{name}: {what} holds none of its voxels; give one in this scan's millimetres"
            )
        return inside

    def _mask_of(self, item: Mapping[Hashable, Any]) -> Path:
        assert self.masks is not None
        name = item.get(self.id_key) or case_id(item[self.key].meta.get("filename_or_obj", ""))
        found = region_file(self.masks, str(name))
        if found is not None:
            return found
        raise ImageError(f"{self.masks}: holds no mask {name}.nii.gz for this case; add it")


class RegionInMetad(Transform):
    """Put data["region"] into the image's meta too; nothing where there is no region.

    Tools that call a bundle's preprocessing, inferer and postprocessing one after another (MONAI
    Label) hand the inferer the image alone; SlidingWindow finds the region in its meta. This stands
    last, as the meta's region is not cropped with the image.
    """

    def __init__(self, key: str = "image") -> None:
        self.key = key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict; the image shares its memory with that of `data`."""
        result = dict(data)
        if "region" in result:
            image: MetaTensor = result[self.key]
            result[self.key] = MetaTensor(
                image.as_tensor(),
                meta={**image.meta, "region": result["region"]},
                applied_operations=image.applied_operations,
            )
        return result


def region_file(region: Path, case: str) -> Path | None:
    """The file of a case's region: the file itself, or the case's in a folder; None without one."""
    if not region.is_dir():
        return region
    candidates = (region / f"{case}{suffix}" for suffix in IMAGE_SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _checked_box(box: Box) -> NDArray[np.float64]:
    try:
        corners = np.asarray(box, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"region: two corners in mm are wanted, [[x, y, z], [x, y, z]], got {box!r}"
        ) from error
    if corners.shape != (2, 3) or not np.isfinite(corners).all():
        raise ConfigError(
            f"region: two corners in mm are wanted, [[x, y, z], [x, y, z]], got {box!r}"
        )
    return np.sort(corners, axis=0)


def _in_box(grid: Grid, box: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which voxel centres lie in the box of RAS+ mm, of oblique grids as well."""
    inside = np.ones(grid.shape, dtype=bool)
    i, j, k = (np.arange(n, dtype=np.float64) for n in grid.shape)
    for row, low, high in zip(grid.affine[:3], box[0], box[1], strict=True):
        world = (row[0] * i)[:, None, None] + (row[1] * j)[:, None] + (row[2] * k + row[3])
        inside &= (world >= low) & (world <= high)
    return inside
