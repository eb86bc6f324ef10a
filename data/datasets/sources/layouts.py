"""Which of the known layouts a folder has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..importing.source import Source
from .nnunet import nnunet_source


def layout_source(
    folder: Path, *, classes: Sequence[str] | None = None, licence: str = ""
) -> Source | None:
    """The source that a folder of a known layout is; None for a folder of any other.

    Args:
        classes: of TotalSegmentator's data set.
        licence: where the source does not say it.

    Raises:
        DatasetError: the layout is known, and something in it is not as it should be.
    """
    if (folder / "dataset.json").is_file() and (folder / "imagesTr").is_dir():
        return nnunet_source(folder, licence=licence)
    return None
