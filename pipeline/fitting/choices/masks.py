"""The masks of a case of the cross-validation: as the network gave them, and after the choices."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ....data.images.image import Image
from ....data.images.reading import read_labels
from ....data.output_folder import OutputFolder
from ....transforms.components import LargestComponentd
from ....transforms.restore.regions import bits_dtype, written_map
from ....transforms.write.levels import WriteLevelsd
from ....transforms.write.regions import WriteRegionsd
from ...plans.plan import Plan

TRIED = (0.3, 0.4, 0.5, 0.6, 0.7)
"""The thresholds that evaluations of a fit tell of, from the lowest."""


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


def with_largest(images: Sequence[Image], values: Sequence[int], *, regions: bool) -> list[Image]:
    """The images with the largest piece only of some labels.

    Args:
        images: see CaseMasks.read.
        values: the labels' places among all, from 1 up.
        regions: an image is of one region each.
    """
    if not regions:
        return [_largest(image, values) for image in images]
    return [
        _largest(image, [1]) if number in values else image
        for number, image in enumerate(images, start=1)
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


def largest_pieces(labels: Any, values: Sequence[int]) -> Any:
    """A label map (X, Y, Z) without all but the largest piece of each of these values."""
    kept = LargestComponentd("pred", labels=list(values))
    return kept({"pred": torch.from_numpy(labels)[None]})["pred"][0].numpy()


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


def _largest(image: Image, values: Sequence[int]) -> Image:
    return replace(image, array=largest_pieces(np.ascontiguousarray(image.array), values))
