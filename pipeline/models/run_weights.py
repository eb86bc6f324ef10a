"""The weights of a run over cases: of one checkpoint, of several as an ensemble, or none."""

from __future__ import annotations

import copy
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ...data.errors import CheckpointError
from ..plans.plan import Plan
from .checkpoints import load_weights, weights_file
from .ensemble import Ensemble

logger = logging.getLogger(__name__)

Checkpoint = str | Path | Sequence[str | Path] | None


def with_weights(
    network: torch.nn.Module, checkpoint: Checkpoint, plan: Plan | None = None
) -> torch.nn.Module:
    """The network with a checkpoint's weights, or an Ensemble of it with the weights of several.

    Args:
        plan: that of the run; weights that carry another one are refused.

    Raises:
        CheckpointError: one is missing, or of another network or plan.
    """
    if checkpoint is None:
        return network
    if isinstance(checkpoint, str | Path):
        return load_weights(network, checkpoint, plan)
    if len(checkpoint) == 1:
        return load_weights(network, checkpoint[0], plan)
    networks = (load_weights(copy.deepcopy(network), path, plan) for path in checkpoint)
    return Ensemble(networks, regions=plan is not None and plan.region_values is not None)


def chosen_checkpoint(checkpoint: Checkpoint, *, load_pretrain: bool) -> Checkpoint:
    """The checkpoint of a run; None only where untrained weights were asked for.

    Raises:
        CheckpointError: there is none, and nobody said that the weights shall be untrained.
    """
    if not load_pretrain:
        logger.warning("the network runs with untrained weights, as --load_pretrain is False")
        return None
    if checkpoint is None or (not isinstance(checkpoint, str | Path) and not len(checkpoint)):
        raise CheckpointError(
            "--checkpoint null: give a checkpoint, or, to run with untrained weights, "
            "--load_pretrain False"
        )
    return checkpoint


def weights_fingerprint(checkpoint: Checkpoint) -> str:
    """First 12 digits of a checkpoint file's SHA-256, joined by + for several; or "untrained"."""
    if checkpoint is None:
        return "untrained"
    paths = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
    files = [weights_file(path) for path in paths]
    return "+".join(hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files)
