"""The moving average of weights is PyTorch's, with its tensors looked up once."""

import copy

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gridgate.pipeline.training.engine.average import averaged


def network() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv3d(1, 3, 1), torch.nn.BatchNorm3d(3))


def moved(net: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*net.parameters(), *net.buffers()):
            if tensor.is_floating_point():
                tensor += torch.randn(tensor.shape, generator=generator).to(tensor.dtype)
            else:
                tensor += 3


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_it_is_pytorchs_average(decay: float) -> None:
    net = network()
    ours = averaged(net, decay=decay)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for step in range(4):
        moved(net, step)
        ours.update_parameters(net)
        theirs.update_parameters(net)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_it_follows_a_network_that_moved_or_was_loaded_anew() -> None:
    net = network()
    ours = averaged(net, decay=0.5)
    ours.update_parameters(net)
    net.double().float()  # other memory for the same parameters
    ours.load_state_dict(copy.deepcopy(ours.state_dict()), assign=True)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)
    theirs.load_state_dict(ours.state_dict())
    for step in range(2):
        moved(net, step)
        ours.update_parameters(net)
        theirs.update_parameters(net)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name


def test_it_can_be_copied() -> None:
    net = network()
    ours = averaged(net, decay=0.5)
    ours.update_parameters(net)
    again = copy.deepcopy(ours)
    moved(net, 1)
    ours.update_parameters(net)
    again.update_parameters(net)
    assert all(
        torch.equal(a, b)
        for a, b in zip(ours.state_dict().values(), again.state_dict().values(), strict=True)
    )
