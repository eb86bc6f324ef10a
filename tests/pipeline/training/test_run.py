"""How a training begins: what it asks of PyTorch, and how many processes draw its windows."""

import os
from collections.abc import Iterator

import pytest
import torch

from gridgate.pipeline.training.run import begin_training
from gridgate.pipeline.training.windows.loading import WindowLoader


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    kept = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    fills = torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = kept
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = fills


@pytest.mark.parametrize("deterministic", [False, True])
def test_deterministic_is_asked_of_all_that_computes(restored: None, deterministic: bool) -> None:
    begin_training(seed=0, cudnn_benchmark=True, deterministic=deterministic)
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.benchmark is not deterministic
    assert torch.backends.cudnn.deterministic is deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) is deterministic


@pytest.mark.parametrize(
    ("cores", "pinned", "given", "expected"),
    [
        (16, True, None, 12),
        (8, True, None, 6),
        (2, True, None, 2),
        (16, False, None, 2),
        (16, True, 3, 3),
        (16, False, 0, 0),
    ],
)
def test_as_many_processes_as_the_device_is_fast(
    monkeypatch: pytest.MonkeyPatch, cores: int, pinned: bool, given: int | None, expected: int
) -> None:
    name = "gridgate.pipeline.training.windows.loading.usable_cores"
    monkeypatch.setattr(name, lambda: cores)
    loader = WindowLoader([1, 2], num_workers=given, pin_memory=pinned)  # type: ignore[arg-type]
    assert loader.num_workers == expected
