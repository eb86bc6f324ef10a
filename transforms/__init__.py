"""Arrays to arrays: to the network's grid, augmentation, and back to the scan's grid.

The three presets are what the bundles use: preprocessing() from paths to the network's grid,
augmentation() to a training window, postprocessing() from logits to a label map in the scan's own
grid. May use gridgate.data; MONAI's conventions: channel first (C, X, Y, Z), affines (voxel index
to RAS+ mm) in a MetaTensor's meta.

What is named here is imported when it is first used: a process that needs a table of results or a
plan alone does not wait for PyTorch and MONAI.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .augment import augmentation
    from .components import FillHolesd, LargestComponentd
    from .intensity import ClipAndScaled, ZScored, intensity_transforms
    from .labels import AlignLabeld, CheckPlacementd, ClassIndicesd, MapLabelsd
    from .load import LoadCased
    from .postprocess import postprocessing
    from .preprocess import preprocessing
    from .resample import ToNetworkGridd
    from .restore.restoration import restore_labels
    from .restore.transform import RestoreLabelsd, original_grid
    from .windows.random_window import RandomWindowd
    from .write.labels import WriteLabelsd

__all__ = [
    "AlignLabeld",
    "CheckPlacementd",
    "ClassIndicesd",
    "ClipAndScaled",
    "FillHolesd",
    "LargestComponentd",
    "LoadCased",
    "MapLabelsd",
    "RandomWindowd",
    "RestoreLabelsd",
    "ToNetworkGridd",
    "WriteLabelsd",
    "ZScored",
    "augmentation",
    "intensity_transforms",
    "original_grid",
    "postprocessing",
    "preprocessing",
    "restore_labels",
]

_MODULES = {
    "AlignLabeld": "labels",
    "CheckPlacementd": "labels",
    "ClassIndicesd": "labels",
    "ClipAndScaled": "intensity",
    "FillHolesd": "components",
    "LargestComponentd": "components",
    "LoadCased": "load",
    "MapLabelsd": "labels",
    "RandomWindowd": "windows.random_window",
    "RestoreLabelsd": "restore.transform",
    "ToNetworkGridd": "resample",
    "WriteLabelsd": "write.labels",
    "ZScored": "intensity",
    "augmentation": "augment",
    "intensity_transforms": "intensity",
    "original_grid": "restore.transform",
    "postprocessing": "postprocess",
    "preprocessing": "preprocess",
    "restore_labels": "restore.restoration",
}


def __getattr__(name: str) -> Any:
    """What is named here, from its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    """All names, imported or not."""
    return sorted({*globals(), *__all__})
