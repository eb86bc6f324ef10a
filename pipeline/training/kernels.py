"""How PyTorch chooses its kernels while a training runs, and as it was again after."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch


class _Choice(NamedTuple):
    benchmark: bool
    cudnn_deterministic: bool
    deterministic: bool
    warn_only: bool
    fill: bool


_before: _Choice | None = None  # a training of this process, as it began


def choose_kernels(*, cudnn_benchmark: bool, deterministic: bool) -> None:
    """Set what a training asks of PyTorch, for the whole process.

    What an earlier training asked for, and a failure kept it from undoing, is undone first.

    Args:
        cudnn_benchmark: time cuDNN's kernels and take the fastest.
        deterministic: have PyTorch compute the same twice; what it cannot is replaced or refused by
            name, see engine.passes.deterministic. The kernels are not timed then.
    """
    global _before
    restore_kernels()
    _before = _Choice(
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
    )
    torch.backends.cudnn.benchmark = cudnn_benchmark and not deterministic
    if deterministic:
        # cuBLAS reads it when it is first used, once per process: it stays
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        torch.use_deterministic_algorithms(True)
        # that would only find errors in our own code, at the price of a kernel per tensor
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def restore_kernels() -> None:
    """Give PyTorch the settings back that it had before `choose_kernels`; else do nothing."""
    global _before
    if _before is None:
        return
    torch.backends.cudnn.benchmark = _before.benchmark
    torch.backends.cudnn.deterministic = _before.cudnn_deterministic
    torch.use_deterministic_algorithms(_before.deterministic, warn_only=_before.warn_only)
    torch.utils.deterministic.fill_uninitialized_memory = _before.fill  # type: ignore[attr-defined]
    _before = None
