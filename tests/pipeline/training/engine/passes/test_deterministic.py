"""What a deterministic training computes otherwise, against PyTorch's own; what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from gridgate.data.errors import ConfigError
from gridgate.networks import NETWORKS, build_for_volumes, network_options
from gridgate.pipeline.training.engine.passes.deterministic import (
    DeterministicOperations,
    refused_by_name,
)

# of PyTorch 2.13's torch.use_deterministic_algorithms: what raises on CUDA, of what networks use
RAISES = {
    "aten::avg_pool2d_backward",
    "aten::avg_pool3d_backward",
    "aten::_adaptive_avg_pool2d_backward",
    "aten::_adaptive_avg_pool3d_backward",
    "aten::adaptive_max_pool2d_backward",
    "aten::adaptive_max_pool3d_backward",
    "aten::reflection_pad2d_backward",
    "aten::reflection_pad3d_backward",
    "aten::grid_sampler_2d_backward",
    "aten::grid_sampler_3d_backward",
    "aten::nll_loss2d_forward",
    "aten::cumsum",
    "aten::histc",
}


class Seen(TorchDispatchMode):
    """Notes the operations that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def both_ways(
    run, *inputs: torch.Tensor
) -> tuple[set[str], list[torch.Tensor], list[torch.Tensor]]:
    """What ran inside the context; result and gradients as usual, and inside the context."""
    found = []
    for context in (None, DeterministicOperations()):
        leaves = [one.clone().requires_grad_() for one in inputs]
        with Seen() as seen:
            if context is None:
                result = run(*leaves)
            else:
                with context:
                    result = run(*leaves)
            weights = torch.linspace(-1, 1, result.numel(), dtype=result.dtype)
            gradients = torch.autograd.grad((result.flatten() * weights).sum(), leaves)
        found.append([result, *gradients])
    return seen.names, *found


@pytest.mark.parametrize(
    ("pool", "axes", "refused"),
    [
        (nn.MaxPool2d(2), 2, "max_pool2d_with_indices_backward"),
        (nn.MaxPool3d(2), 3, "max_pool3d_with_indices_backward"),
        (nn.MaxPool3d((1, 2, 3), stride=(1, 2, 3)), 3, "max_pool3d_with_indices_backward"),
    ],
)
def test_pooling_of_blocks(pool: nn.Module, axes: int, refused: str) -> None:
    maps = torch.randn(2, 3, *(6, 4, 7)[:axes], dtype=torch.float64)
    names, usual, other = both_ways(pool, maps)
    for one, two in zip(usual, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    assert f"aten::{refused}" not in names


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool3d(3, stride=2, padding=1),
        nn.MaxPool3d(2, ceil_mode=True),
        nn.MaxPool3d(2, dilation=2),
    ],
)
def test_other_pooling_is_left_to_pytorch(pool: nn.Module) -> None:
    maps = torch.randn(1, 2, 7, 7, 7)
    _, usual, other = both_ways(pool, maps)
    assert all(torch.equal(one, two) for one, two in zip(usual, other, strict=True))


@settings(deadline=None, max_examples=30)
@given(
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1]),
    probabilities=st.booleans(),
    axes=st.sampled_from([2, 3]),
)
def test_cross_entropy(
    reduction: str, weighted: bool, smoothing: float, probabilities: bool, axes: int
) -> None:
    torch.manual_seed(0)
    shape = (3, 4, 5)[:axes]
    scores = torch.randn(2, 4, *shape, dtype=torch.float64)
    target = torch.randint(4, (2, *shape))
    if probabilities:
        target = torch.rand(2, 4, *shape, dtype=torch.float64).softmax(1)
    else:
        target[0, 0] = -100  # ignored
    loss = nn.CrossEntropyLoss(
        torch.tensor([1.0, 2.0, 0.5, 3.0], dtype=torch.float64) if weighted else None,
        reduction=reduction,
        label_smoothing=smoothing,
    )
    names, usual, other = both_ways(lambda x: loss(x, target), scores)
    for one, two in zip(usual, other, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)
    assert "aten::nll_loss2d_forward" not in names


def test_an_image_without_classes_axis_is_left_alone() -> None:
    scores, target = torch.randn(6, 4), torch.randint(4, (6,))
    with DeterministicOperations():
        inside = functional.cross_entropy(scores, target)
    assert torch.equal(inside, functional.cross_entropy(scores, target))


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_no_network_needs_what_is_refused(name: str) -> None:
    window = {"img_size": [64, 64, 64]} if "img_size" in network_options(name) else {}
    with torch.device("meta"):
        network = build_for_volumes(name, in_channels=1, out_channels=3, **window).train()
    with Seen() as seen, DeterministicOperations():
        heads = network(torch.empty(2, 1, 64, 64, 64, device="meta"))
        heads = heads if isinstance(heads, list | tuple) else [heads]
        sum(head.sum() for head in heads).backward()
    assert not seen.names & RAISES


def test_a_refusal_is_named() -> None:
    told = refused_by_name(
        RuntimeError("avg_pool3d_backward_cuda does not have a deterministic implementation, but")
    )
    assert isinstance(told, ConfigError)
    assert "avg_pool3d_backward_cuda" in str(told)
    assert refused_by_name(RuntimeError("CUDA error")) is None
    assert refused_by_name(ValueError("does not have a deterministic implementation")) is None
