"""Writing the probabilities of chosen labels beside the masks."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...data.images.image import Image
from ...data.images.writing import write_probabilities
from .per_label import LabelFilesd


class WriteProbabilitiesd(LabelFilesd):
    """Write data[f"{key}_probabilities"] (label -> (X, Y, Z) uint8), all labels that are there.

    The files are uint8 with the slope 1/255: any reader gives 0 to 1, in steps of 0.4 %. (NIfTI has
    no 16-bit floating point type.) See LabelFilesd.
    """

    folder = "probabilities"

    def arrays(self, item: Mapping[Hashable, Any]) -> Iterable[tuple[str, Any]]:
        """Labels and their probabilities."""
        found: Mapping[str, Any] = item.get(f"{self.key}_probabilities", {})
        return found.items()

    def write(
        self, path: Path, array: Any, label: str, *, like: Image, save: Callable[..., Any]
    ) -> None:
        """Write one label's."""
        write_probabilities(path, array, like=like, save=save)
