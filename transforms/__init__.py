"""Arrays to arrays: to the network's grid, augmentation, and back to the scan's grid.

The three presets are what the bundles use: preprocessing() from paths to the network's grid,
augmentation() to a training window, postprocessing() from logits to a label map in the scan's own
grid. May use gridgate.data; MONAI's conventions: channel first (C, X, Y, Z), affines (voxel index
to RAS+ mm) in a MetaTensor's meta.
"""

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
from .window import RandomWindowd
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
