"""Which of the known layouts a folder has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...errors import ConfigError
from ..importing.source import Source
from .btcv import btcv_source, is_btcv
from .nnunet import is_nnunet, nnunet_source
from .pancreas_ct import is_pancreas_ct, pancreas_ct_source
from .totalsegmentator import is_totalsegmentator, totalsegmentator_source


def layout_source(
    folder: Path, *, classes: Sequence[str] | None = None, licence: str = ""
) -> Source | None:
    """The source that a folder of a known layout is; None for a folder of any other.

    Args:
        classes: of TotalSegmentator's data set.
        licence: where the source does not say it.

    Raises:
        ConfigError: classes of another source, or that are not there.
        DatasetError: the layout is known, and something in it is not as it should be.
    """
    if is_totalsegmentator(folder):
        return totalsegmentator_source(folder, classes)
    if classes is not None:
        raise ConfigError(f"{folder}: --classes is for TotalSegmentator's data set alone")
    if is_nnunet(folder):
        return nnunet_source(folder, licence=licence)
    if is_btcv(folder):
        return btcv_source(folder)
    return pancreas_ct_source(folder) if is_pancreas_ct(folder) else None
