"""The weights that a run over cases takes: of one checkpoint, of several as an ensemble, or none."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from ..inference.ensemble import Ensemble
from .checkpoints import load_weights, weights_file

Checkpoint = str | Path | Sequence[str | Path] | None


def with_weights(network: torch.nn.Module, checkpoint: Checkpoint) -> torch.nn.Module:
    """The network with a checkpoint's weights, or an Ensemble of it with the weights of several.

    Raises:
        CheckpointError: one is missing or of another network.
    """
    if checkpoint is None:
        return network
    if isinstance(checkpoint, str | Path):
        return load_weights(network, checkpoint)
    if len(checkpoint) == 1:
        return load_weights(network, checkpoint[0])
    return Ensemble(load_weights(copy.deepcopy(network), path) for path in checkpoint)


def fingerprint(checkpoint: Checkpoint) -> str:
    """First 12 digits of the SHA-256 of a checkpoint file (joined by + for several), or "untrained" for none."""
    if checkpoint is None:
        return "untrained"
    paths = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    files = [weights_file(path) for path in paths]
    return "+".join(hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files)
