"""A step as a CUDA graph; on the CPU there are none, and the trainer computes as usual."""

from typing import Any

import pytest
import torch

from gridgate.pipeline.training.engine.passes.graphed_step import GraphedStep
from gridgate.pipeline.training.engine.trainer import SegmentationTrainer
from gridgate.pipeline.training.losses import build_loss

from ...small_trainer import network, trainer, windows


def stepped(net: torch.nn.Module, loss: Any) -> Any:
    def step(image: torch.Tensor, label: torch.Tensor) -> tuple[Any, torch.Tensor]:
        prediction = net(image)
        value = loss(prediction, label)
        value.backward()
        return [prediction], value

    return step


def batch(seed: int, size: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(size, 1, 8, 8, 8, generator=generator).cuda()
    return image, image.clone()


@pytest.mark.cuda
def test_a_replayed_step_gives_what_the_step_gives() -> None:
    net = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3), torch.nn.BatchNorm3d(2)).cuda()
    step = stepped(net, lambda prediction, _: (prediction**2).mean())
    graphed = GraphedStep(step, net)
    kept = [buffer.clone() for buffer in net.buffers()]
    first = graphed(*batch(0))
    assert first is not None and graphed.works
    # recorded once, replayed once: batch norm has seen one batch
    assert int(net[1].num_batches_tracked) == int(kept[2]) + 1
    for seed in (1, 2):
        (prediction,), loss = graphed(*batch(seed)) or pytest.fail("not replayed")
        gradients = [parameter.grad.clone() for parameter in net.parameters()]
        net.zero_grad(set_to_none=True)
        (wanted,), value = step(*batch(seed))
        torch.testing.assert_close(prediction, wanted)
        torch.testing.assert_close(loss, value)
        for found, parameter in zip(gradients, net.parameters(), strict=True):
            torch.testing.assert_close(found, parameter.grad)
    assert graphed(*batch(3, size=1)) is None  # another shape


@pytest.mark.cuda
def test_a_step_that_reads_its_numbers_stays_as_it_is() -> None:
    net = torch.nn.Conv3d(1, 2, 3).cuda()

    def reads(prediction: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return prediction.mean() if float(prediction.mean()) < 1e9 else prediction.sum()

    graphed = GraphedStep(stepped(net, reads), net)
    assert graphed(*batch(0)) is None and not graphed.works
    other = GraphedStep(stepped(net, lambda prediction, _: prediction.mean()), net)
    assert other(*batch(0)) is not None  # the GPU is none the worse


@pytest.mark.cuda
@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_is_the_same_with_and_without(steps: int) -> None:
    def trained(cuda_graph: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        net = network().cuda()
        engine: SegmentationTrainer = trainer(
            net,
            device=torch.device("cuda"),
            optimizer=torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True),
            train_data_loader=windows(8),
            loss_function=build_loss("dice_ce_nnunet"),
            cuda_graph=cuda_graph,
            accumulation_steps=steps,
        )
        engine.run()
        return [parameter.detach().clone() for parameter in net.parameters()]

    for first, second in zip(trained(True), trained(False), strict=True):
        torch.testing.assert_close(first, second)


def test_on_a_cpu_there_is_none() -> None:
    engine = trainer(network())
    assert engine._graphed is None
    engine.run()
