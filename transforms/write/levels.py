"""Writing how many thresholds each voxel exceeds, per label, beside the masks."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...data.images.image import Image
from ...data.images.writing import write_labels
from .per_label import LabelFilesd


class WriteLevelsd(LabelFilesd):
    """Write data[f"{key}_levels"] (label -> (X, Y, Z) uint8), see TriedRestoration; LabelFilesd."""

    folder = "levels"

    def arrays(self, item: Mapping[Hashable, Any]) -> Iterable[tuple[str, Any]]:
        """Labels and their levels."""
        found: Mapping[str, Any] = item.get(f"{self.key}_levels", {})
        return found.items()

    def write(
        self, path: Path, array: Any, label: str, *, like: Image, save: Callable[..., Any]
    ) -> None:
        """Write one label's."""
        write_labels(path, array, like=like, save=save)
