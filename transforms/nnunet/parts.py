"""A scan on the grid of each of several networks, when its turn comes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai.transforms import Transform

from ..region import Regiond
from .grid import ToNnunetGridd

IMAGES = "image_parts"
"""The key under which the images of the parts are left."""


@dataclass(frozen=True, eq=False)
class PartImages:
    """An image as each part's network sees it, made when it is asked for.

    Args:
        case: the item with the image as it was read.
        transforms: of each part.
        region: where windows are to run, laid on each part's own grid; None: everywhere.
    """

    case: Mapping[Hashable, Any]
    transforms: Sequence[ToNnunetGridd]
    region: Regiond | None = None

    def __getitem__(self, number: int) -> dict[Hashable, Any]:
        """A part's item: "image", and "region" where windows do not run everywhere."""
        made = dict(self.transforms[number](self.case))
        return made if self.region is None else self.region(made)

    def __len__(self) -> int:
        return len(self.transforms)


class ToPartsd(Transform):
    """Bring the image onto the first part's grid, and leave those of all in data[IMAGES].

    Args:
        transforms: of each part.
        region: see PartImages.
    """

    def __init__(self, transforms: Sequence[ToNnunetGridd], region: Regiond | None = None) -> None:
        self.transforms = list(transforms)
        self.region = region

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict; `data` and its tensors are left as they are."""
        case: dict[Hashable, Any] = {key: data[key] for key in ("image", "id") if key in data}
        parts = PartImages(case, self.transforms, self.region)
        made = self.transforms[0](data)
        return {**(made if self.region is None else self.region(made)), IMAGES: parts}
