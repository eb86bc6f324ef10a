"""Seeds of a training's random draws."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_draws(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators, on all devices.

    Unlike MONAI's set_determinism it leaves cuDNN's settings as the user has them.

    Args:
        seed: any integer >= 0.
    """
    seed = int(seed) % 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """The seed of one epoch in one process of a multi-GPU run, so that resuming is exact.

    Args:
        seed: of the run.
        epoch: 1-based.
        rank: of the process; each draws another dropout.
    """
    if rank:
        return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])
    # a large odd factor keeps neighbouring seeds' epochs apart
    return (seed * 1_000_003 + epoch) % 2**31
