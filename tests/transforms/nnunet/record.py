"""Writes recorded.npz beside this file: what nnU-Net 2.8.1's own functions make of small volumes.

Run it in the environment of `make interop`:
.interop/nnunet/bin/python tests/transforms/nnunet/record.py
"""

from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.sliding_window_prediction import (
    compute_gaussian,
    compute_steps_for_sliding_window,
)
from nnunetv2.preprocessing.normalization.default_normalization_schemes import (
    CTNormalization,
    RescaleTo01Normalization,
    ZScoreNormalization,
)
from nnunetv2.preprocessing.resampling.default_resampling import (
    compute_new_shape,
    resample_data_or_seg_to_shape,
)

VOLUMES = [  # shape, spacing, new spacing
    ((9, 17, 13), (2.5, 0.8, 0.8), (1.0, 1.0, 1.0)),
    ((21, 17, 13), (1.0, 0.8, 0.9), (1.5, 1.5, 1.5)),
    ((6, 17, 13), (5.0, 0.8, 0.8), (2.5, 1.0, 1.0)),
    ((13, 7, 16), (1.0, 4.0, 1.2), (1.0, 3.0, 2.0)),
    ((12, 12, 12), (1.0, 1.0, 1.0), (4.0, 1.5, 1.5)),
    ((10, 9, 8), (5.0, 0.8, 0.8), (5.0, 1.0, 1.0)),
]
WINDOWS = [  # volume, window
    ((110, 64, 65), (64, 64, 64)),
    ((33, 100, 47), (16, 40, 28)),
]

rng = np.random.default_rng(0)
found: dict[str, np.ndarray] = {}
for number, (shape, spacing, new) in enumerate(VOLUMES):
    volume = rng.normal(size=(2, *shape)).astype(np.float32)
    size = compute_new_shape(shape, spacing, new)
    found |= {f"volume_{number}": volume, f"spacing_{number}": np.array([spacing, new])}
    for name, order in (("cubic", 3), ("linear", 1)):
        made = resample_data_or_seg_to_shape(
            volume, size, spacing, new, order=order, order_z=0, force_separate_z=None
        )
        found[f"{name}_{number}"] = made.astype(np.float32)
for number, (shape, window) in enumerate(WINDOWS):
    steps = compute_steps_for_sliding_window(shape, window, 0.5)
    found[f"window_{number}"] = np.array([shape, window])
    for axis, one in enumerate(steps):
        found[f"steps_{number}_{axis}"] = np.array(one)
for number, window in enumerate([(8, 12, 5), (16, 9, 10)]):
    weights = compute_gaussian(window, value_scaling_factor=10, device=torch.device("cpu"))
    found[f"gaussian_{number}"] = weights.float().numpy()
image = (rng.normal(size=(6, 7, 8)) * 200).astype(np.float32)
numbers = {"mean": 20.0, "std": 120.0, "percentile_00_5": -180.0, "percentile_99_5": 320.0}
mask = np.where(rng.random((6, 7, 8)) > 0.3, 0, -1)
found |= {
    "image": image,
    "mask": mask >= 0,
    "ct": CTNormalization(False, numbers).run(image.copy()),
    "zscore": ZScoreNormalization(False, {}).run(image.copy()),
    "masked": ZScoreNormalization(True, {}).run(image.copy(), mask),
    "zero_to_one": RescaleTo01Normalization(False, {}).run(image.copy()),
}
np.savez_compressed(Path(__file__).with_name("recorded.npz"), **found)
