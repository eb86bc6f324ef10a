"""The masks of a case of the cross-validation: as the network gave them, and after the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from numpy.typing import NDArray

from ....data.images.image import Image
from ....data.images.reading import read_labels
from ....data.output_folder import OutputFolder
from ....transforms.components import LargestComponentd, SmallPiecesd
from ....transforms.restore.regions import bits_dtype, written_map
from ....transforms.write.levels import WriteLevelsd
from ....transforms.write.regions import WriteRegionsd
from ...plans.plan import Plan

TRIED = (0.3, 0.4, 0.5, 0.6, 0.7)
"""The thresholds that evaluations of a fit tell of, from the lowest."""
ALL, LARGEST = 0.0, float("inf")
"""In the place of the ml that a piece has to have: each stays, or the largest alone."""


@dataclass(frozen=True)
class CaseMasks:
    """The files that an evaluation wrote of a case.

    Args:
        mask: the one map.
        regions: of each region its mask; none where labels exclude each other.
        levels: of each region, or of the one label of a single output channel, how many of TRIED
            each voxel exceeds; none where the evaluation did not try them.
    """

    mask: Path
    regions: Sequence[Path] = ()
    levels: Sequence[Path] = ()

    @classmethod
    def of(cls, folder: Path, case: str, mask: str, plan: Plan) -> CaseMasks:
        """Of a case of an evaluation.

        Args:
            folder: of the evaluation.
            mask: as its table names it.
        """
        levels = [folder / WriteLevelsd.file(label, case) for label in plan.labels[1:]]
        regions = [folder / WriteRegionsd.file(label, case) for label in plan.labels[1:]]
        return cls(
            folder / mask,
            regions if plan.region_values is not None else (),
            levels if all(path.is_file() for path in levels) else (),
        )

    def read(self, thresholds: Sequence[float] | None = None) -> list[Image]:
        """Each region's mask, or the one map, with all pieces.

        Args:
            thresholds: of TRIED, one for each; None: as they were written.
        """
        if thresholds is None:
            return [read_labels(path) for path in self.regions or [self.mask]]
        found = zip(map(read_labels, self.levels), thresholds, strict=True)
        return [
            replace(image, array=np.greater(image.array, TRIED.index(one)).astype(np.uint8))
            for image, one in found
        ]


def with_pieces(
    images: Sequence[Image], smallest: Mapping[int, float], *, regions: bool
) -> list[Image]:
    """The images with some of the pieces only.

    Args:
        images: see CaseMasks.read.
        smallest: a label's place among all, from 1 up -> ml that a piece has to have to stay: ALL,
            or LARGEST for the largest one alone.
        regions: an image is of one region each.
    """
    if not regions:
        return [_kept(image, smallest) for image in images]
    return [
        _kept(image, {1: smallest.get(number, ALL)}) for number, image in enumerate(images, start=1)
    ]


def one_map(images: Sequence[Image], region_values: Sequence[int] | None) -> NDArray[np.integer]:
    """The one map of a case's images."""
    if region_values is None:
        array: NDArray[Any] = images[0].array
        return array
    kind = bits_dtype(len(images))
    bits = np.zeros_like(images[0].array, dtype=kind)
    for number, image in enumerate(images):
        bits |= image.array.astype(kind) << number
    return written_map(bits, region_values)


def remove_levels(runs: Path) -> None:
    """Remove the levels that evaluations of a fit have written, when all is chosen by them.

    Args:
        runs: the folder of the fit's networks.
    """
    for folder in runs.glob(f"*/*/{WriteLevelsd.folder}"):
        with OutputFolder(folder.parent) as output:
            for path in sorted(folder.rglob("*.nii.gz")):
                output.remove(path.relative_to(folder.parent))
        for path in sorted(folder.rglob("*/"), reverse=True):
            with suppress(OSError):  # something is in it that is not ours
                path.rmdir()
        with suppress(OSError):
            folder.rmdir()


def _kept(image: Image, smallest: Mapping[int, float]) -> Image:
    """An image with some of the pieces of its values; as postprocessing does it."""
    wanted = {value: ml for value, ml in smallest.items() if ml != ALL}
    if not wanted:
        return image
    largest = [value for value, ml in wanted.items() if ml == LARGEST]
    small = {value: ml for value, ml in wanted.items() if ml != LARGEST}
    array = torch.from_numpy(np.ascontiguousarray(image.array))[None]
    item: dict[Any, Any] = {"pred": MetaTensor(array, affine=torch.as_tensor(image.grid.affine))}
    if largest:
        item = LargestComponentd("pred", labels=largest)(item)
    if small:
        item = SmallPiecesd("pred", smallest=small)(item)
    return replace(image, array=np.asarray(item["pred"])[0])
