"""Steps whose gradients or losses are not finite: passed over, or the training's end."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.errors import user_error
from gridgate.pipeline.training.engine import soundness
from gridgate.pipeline.training.engine import trainer as trainers
from gridgate.pipeline.training.engine.soundness import TrainingError
from gridgate.pipeline.training.engine.trainer import SegmentationTrainer
from gridgate.pipeline.training.losses import build_loss

from ...small_bundle import train


class SometimesNaN(torch.nn.Module):
    """A network whose gradients are NaN at the given forward passes."""

    def __init__(self, at: Callable[[int], bool]) -> None:
        super().__init__()
        self.convolution, self.at, self.passes = torch.nn.Conv3d(1, 2, 1), at, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.convolution(x)
        if self.at(self.passes):
            y.register_hook(lambda gradient: gradient * float("nan"))
        self.passes += 1
        return y


def trainer(network: torch.nn.Module, steps: int) -> SegmentationTrainer:
    windows = [
        {"image": torch.rand(1, 1, 8, 8, 8), "label": torch.ones(1, 1, 8, 8, 8)}
        for _ in range(steps)
    ]
    return SegmentationTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=windows,
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.1),
        loss_function=build_loss("dice_ce"),
        amp=False,
    )


def test_steps_with_nan_gradients_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = SometimesNaN(lambda step: step in (1, 3))
    before = network.convolution.bias.detach().clone()
    trainer(network, 6).run()
    assert torch.isfinite(network.convolution.bias).all() and not torch.equal(
        network.convolution.bias, before
    )
    assert caplog.text.count("a step is passed over") == 2


def test_nothing_but_nan_gradients_ends_the_training() -> None:
    network = SometimesNaN(lambda step: step >= 2)
    with pytest.raises(TrainingError, match="--amp False"):
        trainer(network, 30).run()
    assert network.passes == 12 and torch.isfinite(network.convolution.bias).all()


def fused(network: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)


def test_a_fused_optimizer_leaves_the_same_steps_out(caplog: pytest.LogCaptureFixture) -> None:
    """It looks itself, and the training hears of it a step later; on a GPU nothing waits so."""

    def trained(make: Callable[[torch.nn.Module], torch.optim.Optimizer]) -> torch.Tensor:
        torch.manual_seed(0)
        network = SometimesNaN(lambda step: step in (1, 3, 5))
        torch.manual_seed(1)
        engine = trainer(network, 6)
        engine.optimizer = make(network)
        caplog.clear()
        engine.run()
        assert caplog.text.count("a step is passed over") == 3  # the last of an epoch, too
        return network.convolution.bias.detach().clone()

    plain = trained(lambda network: torch.optim.AdamW(network.parameters(), lr=0.1))
    assert torch.isfinite(plain).all()
    torch.testing.assert_close(trained(fused), plain)


@pytest.mark.parametrize("what", ["gradients", "loss"])
def test_a_fused_optimizer_ends_the_training_as_well(what: str) -> None:
    network = SometimesNaN(lambda step: step >= 2 and what == "gradients")
    engine = trainer(network, 30)
    engine.optimizer = fused(network)
    if what == "loss":
        loss = engine.loss_function
        engine.loss_function = lambda *given: (
            loss(*given)
            * (  # type: ignore[method-assign]
                float("nan") if network.passes > 2 else 1
            )
        )
    match = "--amp False" if what == "gradients" else "the loss is NaN"
    with pytest.raises(TrainingError, match=match):
        engine.run()
    assert network.passes == (13 if what == "gradients" else 4)
    assert torch.isfinite(network.convolution.bias).all()


def test_a_training_that_diverges_ends_with_a_reason(phantom_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r".") as caught:
        train(
            phantom_dataset,
            tmp_path,
            learning_rate=1e30,
            warmup_iterations=0,
            iterations_per_epoch=9,
        )
    assert "learning_rate" in str(user_error(caught.value))


class NaNLoss(SometimesNaN):
    """A network whose output is NaN at the given forward passes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.convolution(x) * (float("nan") if self.at(self.passes - 1) else 1.0)


def in_float16(network: torch.nn.Module, steps: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A training as on a GPU without bfloat16: a GradScaler scales, and passes over steps."""
    train = trainer(network, steps)
    train.dtype, train.grad_scaler = torch.float16, torch.GradScaler("cpu")
    train._soundness = soundness.Soundness(scaled=True)
    monkeypatch.setattr(trainers, "forward_context", lambda *_: nullcontext())
    return train


def test_in_float16_a_loss_that_stays_nan_ends_the_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = NaNLoss(lambda step: step >= 3)
    with pytest.raises(TrainingError, match="the loss is NaN or infinite"):
        in_float16(network, 40, monkeypatch).run()
    assert network.passes <= 3 + 11, "no later than the step after the tenth"


def test_in_float16_some_steps_are_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As while the scale falls to what float16 bears; a window's loss may be NaN, too."""
    network = NaNLoss(lambda step: step in (4, 9, 10))
    train = in_float16(network, 30, monkeypatch)
    train.run()
    assert torch.isfinite(network.convolution.weight).all() and "passed over" not in caplog.text
    assert train.grad_scaler.get_scale() == 2.0**16 / 2**3
