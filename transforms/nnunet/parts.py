"""A scan on the grid of each of several networks, when its turn comes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from monai.data import MetaTensor
from monai.transforms import Transform

from .grid import ToNnunetGridd

IMAGES = "image_parts"
"""The key under which the images of the parts are left."""


@dataclass(frozen=True, eq=False)
class PartImages:
    """An image as each part's network sees it, made when it is asked for.

    Args:
        image: as it was read.
        transforms: of each part.
    """

    image: MetaTensor
    transforms: Sequence[ToNnunetGridd]

    def __getitem__(self, number: int) -> MetaTensor:
        item: Mapping[Hashable, Any] = {"image": self.image}
        made: MetaTensor = self.transforms[number](item)["image"]
        return made

    def __len__(self) -> int:
        return len(self.transforms)


class ToPartsd(Transform):
    """Bring the image onto the first part's grid, and leave those of all in data[IMAGES].

    Args:
        transforms: of each part.
    """

    def __init__(self, transforms: Sequence[ToNnunetGridd]) -> None:
        self.transforms = list(transforms)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A new dict; `data` and its tensors are left as they are."""
        made = self.transforms[0](data)
        return {**made, IMAGES: PartImages(data["image"], self.transforms)}
