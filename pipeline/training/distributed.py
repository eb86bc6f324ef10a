"""Several GPUs by torchrun: one process per GPU, PyTorch's DistributedDataParallel."""

from __future__ import annotations

import logging
import os

import torch
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

logger = logging.getLogger(__name__)


def distributed_rank() -> int:
    """This process's number among all, as torchrun sets it; 0 without torchrun."""
    return int(os.environ.get("RANK", 0))


def distributed_world_size() -> int:
    """The number of processes, as torchrun sets it; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", 1))


def distributed_device() -> torch.device:
    """This process's own GPU, or the CPU on a machine without one."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    return torch.device("cpu")


def begin_distributed() -> None:
    """Join the process group: NCCL on GPUs, Gloo on CPUs."""
    if not dist.is_initialized():
        device = distributed_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")


def end_distributed() -> None:
    """Leave the process group."""
    if dist.is_initialized():
        dist.destroy_process_group()


def distributed_network(network: torch.nn.Module) -> DistributedDataParallel:
    """The network in DistributedDataParallel, with batch statistics shared between the GPUs.

    On CPUs, for which PyTorch cannot share them, they are each process's own, with a warning.
    """
    device = next(network.parameters()).device
    if device.type == "cuda":
        network = torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
        return DistributedDataParallel(network, device_ids=[device])
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        logger.warning(
            "batch norm on CPUs takes the statistics of each process's own batch: the training is "
            "not that of one process with a larger batch (norm: instance in the network's options)"
        )
    return DistributedDataParallel(network)
