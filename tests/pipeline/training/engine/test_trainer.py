"""The training engine: MONAI's events, options and metrics work, and draws follow from the seed."""

import random
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents, PrepareBatchExtraInput
from monai.losses import DiceCELoss
from monai.optimizers import WarmupCosineSchedule

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.engine.average import averaged, unwrapped
from gridgate.pipeline.training.engine.label_dice import LabelDice, dice_name
from gridgate.pipeline.training.engine.seeding import epoch_seed, seed_draws
from gridgate.pipeline.training.engine.trainer import TrainerEvents
from gridgate.pipeline.training.losses import build_loss

from ..small_trainer import LABELS, network, trainer, training, windows

EVENTS = (
    IterationEvents.FORWARD_COMPLETED,
    IterationEvents.LOSS_COMPLETED,
    IterationEvents.BACKWARD_COMPLETED,
    IterationEvents.MODEL_COMPLETED,
)


def weights(net: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in net.state_dict().values()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_monais_events_fire_in_its_order_with_its_contents() -> None:
    def run(make: Any) -> list[tuple[str, list[str], bool]]:
        seen = []
        engine = make()
        for event in EVENTS:
            engine.add_event_handler(
                event,
                lambda engine, event=event: seen.append(
                    (
                        event.name,
                        sorted(map(str, engine.state.output)),
                        "pred" in engine.state.output,
                    )
                ),
            )
        engine.run()
        return seen

    net = network()
    monais = run(
        lambda: SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=windows(2),
            network=net,
            optimizer=torch.optim.SGD(net.parameters(), lr=0.1),
            loss_function=DiceCELoss(to_onehot_y=True, softmax=True),
            decollate=False,
        )
    )
    assert run(lambda: trainer(network(), train_data_loader=windows(2))) == monais
    assert [name for name, *_ in monais[:4]] == [event.name for event in EVENTS]


def test_gradients_are_there_after_backward_and_the_loss_can_be_changed_before() -> None:
    net, sizes = network(), []
    engine = trainer(net, max_gradient_norm=None)

    def double(engine: Any) -> None:
        engine.state.output["loss"] = engine.state.output["loss"] * 2

    engine.add_event_handler(IterationEvents.LOSS_COMPLETED, double)
    engine.add_event_handler(
        IterationEvents.BACKWARD_COMPLETED, lambda _: sizes.append(net[2].weight.grad.norm().item())
    )
    engine.run()
    plain_sizes: list[float] = []
    other = network()
    plain = trainer(other, max_gradient_norm=None)
    plain.add_event_handler(
        IterationEvents.BACKWARD_COMPLETED,
        lambda _: plain_sizes.append(other[2].weight.grad.norm().item()),
    )
    plain.run()
    assert sizes[0] == pytest.approx(2 * plain_sizes[0])


@pytest.mark.parametrize("decollate", [False, True])
def test_postprocessing_is_called_on_predictions(decollate: bool) -> None:
    shapes = []

    def post(data: dict[str, Any]) -> dict[str, Any]:
        shapes.append(tuple(data["pred"].shape))
        return {**data, "seen": data["pred"].argmax(0 if decollate else 1)}

    engine = trainer(network(), postprocessing=post, decollate=decollate)
    engine.run()
    assert shapes == [(3, 8, 8, 8) if decollate else (1, 3, 8, 8, 8)] * 4
    output = engine.state.output
    assert "seen" in (output[0] if decollate else output)


@pytest.mark.parametrize("decollate", [False, True])
def test_a_training_metric_is_counted(decollate: bool) -> None:
    wanted = LabelDice(LABELS)
    engine = trainer(
        network(), key_train_metric={"train_dice": LabelDice(LABELS)}, decollate=decollate
    )
    engine.add_event_handler(
        IterationEvents.FORWARD_COMPLETED,
        lambda engine: wanted.update((engine.state.output["pred"], engine.state.output["label"])),
    )
    engine.run()
    assert [engine.state.metrics[dice_name(name)] for name in LABELS[1:]] == pytest.approx(
        wanted.compute().tolist()
    )
    assert engine.state.best_metric == engine.state.metrics["train_dice"] > 0


def test_deep_supervision_counts_the_finest_output() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            scores = self.inner(image)
            return [scores, -scores[:, :, ::2, ::2, ::2]]

    one = trainer(network(), key_train_metric={"dice": LabelDice(LABELS)}, optimizer=None)
    net = Two()
    loss = build_loss("dice_ce", deep_supervision_weights=[1.0, 0.0])
    two = trainer(net, key_train_metric={"dice": LabelDice(LABELS)}, loss_function=loss)
    single = network()
    one = trainer(single, key_train_metric={"dice": LabelDice(LABELS)})
    one.run()
    two.run()
    assert two.state.metrics["dice"] == pytest.approx(one.state.metrics["dice"])


@pytest.mark.parametrize("count", [4, 5])
@pytest.mark.parametrize("loss", ["dice_ce", "sorensen_dice"])
def test_accumulated_steps_are_those_of_one_large_batch(count: int, loss: str) -> None:
    def run(batches: list[dict[str, torch.Tensor]], **options: Any) -> list[torch.Tensor]:
        net = network()
        net[1] = torch.nn.Identity()  # a large batch would draw another dropout
        average = averaged(net, decay=0.5)
        engine = trainer(
            net,
            train_data_loader=batches,
            loss_function=build_loss(loss),
            optimizer=torch.optim.SGD(net.parameters(), lr=0.5, momentum=0.9),
            average=average,
            max_epochs=2,
            max_gradient_norm=0.2,  # less than the gradients', so that it counts
            **options,
        )
        engine.run()
        return weights(net) + weights(average.module)

    single = windows(count)
    pairs = [single[start : start + 2] for start in range(0, count, 2)]
    joined = [{key: torch.cat([one[key] for one in pair]) for key in pair[0]} for pair in pairs]
    accumulated, large = run(single, accumulation_steps=2), run(joined)
    for a, b in zip(accumulated, large, strict=True):
        torch.testing.assert_close(a, b)
    assert not same(accumulated, run(single))


def test_accumulation_is_resumed_exactly(tmp_path: Path) -> None:
    """Four iterations an epoch, three a step: the fourth is a step of its own, before last.pt."""

    def run(folder: Path, epochs: int, *, resume: bool = False) -> Any:
        # of 12 iterations, however many epochs run
        schedule = partial(WarmupCosineSchedule, warmup_steps=3, t_total=12)
        engine = training(
            folder, epochs=epochs, schedule=schedule, resume=resume, accumulation_steps=3
        )
        engine.run()
        return engine

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        whole = run(tmp_path / "whole", 3)
    assert int(whole.average.n_averaged) == 6
    rates = [group["lr"] for group in whole.optimizer.param_groups]
    run(tmp_path / "parts", 1)
    resumed = run(tmp_path / "parts", 3, resume=True)
    assert same(weights(whole.network), weights(resumed.network))
    assert same(weights(whole.average.module), weights(resumed.average.module))
    assert [group["lr"] for group in resumed.optimizer.param_groups] == rates
    # an iteration is one of the schedule, whether or not it ends a step
    assert rates == pytest.approx([0.0], abs=1e-9)


def test_a_prepare_batch_is_used() -> None:
    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.seen = network(), []

        def forward(self, image: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
            self.seen.append(float(shift))
            return self.inner(image + shift)

    net = Shifted()
    batches = [{**batch, "shift": torch.tensor(0.5 * k)} for k, batch in enumerate(windows(3))]
    trainer(net, train_data_loader=batches, prepare_batch=PrepareBatchExtraInput(["shift"])).run()
    assert net.seen == [0.0, 0.5, 1.0]


def test_a_compiled_network_keeps_its_names() -> None:
    net = network()
    engine = trainer(net, average=averaged(net), compile=True, compile_kwargs={"backend": "eager"})
    engine.run()
    assert unwrapped(engine.network) is net
    assert engine.average.module.state_dict().keys() == net.state_dict().keys()


def test_amp_kwargs_are_refused() -> None:
    with pytest.raises(ConfigError, match="amp_kwargs"):
        trainer(network(), amp_kwargs={"dtype": torch.float16})


@pytest.mark.parametrize("benchmark", [True, False])
@pytest.mark.parametrize("deterministic", [True, False])
def test_cudnns_settings_stay_the_users(benchmark: bool, deterministic: bool) -> None:
    seen = []
    engine = trainer(network(), max_epochs=2)
    engine.add_event_handler(
        Events.ITERATION_STARTED,
        lambda _: seen.append((torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)),
    )
    with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=deterministic):
        torch.backends.cudnn.benchmark = benchmark
        engine.run()
        seed_draws(4)
        assert torch.backends.cudnn.benchmark is benchmark
    assert set(seen) == {(benchmark, deterministic)} and len(seen) == 8


def test_the_first_process_draws_what_a_single_one_draws_and_the_others_differ() -> None:
    # as versions before seeded each epoch: what a run resumes must not change
    assert epoch_seed(3, 5) == epoch_seed(3, 5, 0) == 3_000_014
    seeds = [epoch_seed(3, epoch, rank) for epoch in (1, 2) for rank in range(4)]
    assert len(set(seeds)) == 8

    def dropout(rank: int) -> torch.Tensor:
        engine = trainer(network(), seed=3)
        engine.state.rank = rank
        drawn = []
        engine.add_event_handler(Events.ITERATION_STARTED, lambda _: drawn.append(torch.rand(3)))
        engine.run()
        return torch.stack(drawn)

    assert torch.equal(dropout(0), dropout(0)) and torch.equal(dropout(1), dropout(1))
    assert not torch.equal(dropout(0), dropout(1)) and not torch.equal(dropout(1), dropout(2))


def test_all_generators_are_seeded() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    seed_draws(11)
    first = draws()
    seed_draws(11)
    assert draws() == first
    seed_draws(12)
    assert all(a != b for a, b in zip(draws(), first, strict=True))


@pytest.mark.parametrize("ending", ["completed", "terminated", "failed", "interrupted"])
def test_the_end_is_told_once_however_it_comes(ending: str) -> None:
    told = []
    engine = trainer(network(), max_epochs=2)
    engine.add_event_handler(TrainerEvents.ENDED, lambda engine: told.append(engine.state.epoch))

    def stop(engine: Any) -> None:
        if ending == "terminated":
            engine.terminate()
        elif ending != "completed":
            raise KeyboardInterrupt if ending == "interrupted" else ValueError("no")

    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), stop)
    if ending in ("failed", "interrupted"):
        with pytest.raises(KeyboardInterrupt if ending == "interrupted" else ValueError):
            engine.run()
    else:
        engine.run()
    assert told == [2 if ending == "completed" else 1]


def test_a_window_that_a_network_refuses_is_the_users_to_mend() -> None:
    class Refuses(torch.nn.Conv3d):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise ValueError("the window is too small")

    engine = trainer(Refuses(1, len(LABELS), 1), train_data_loader=windows(1))
    with pytest.raises(ConfigError, match=r"--roi_size .*, --batch_size \d+: the window is"):
        engine.run()


def test_statistics_of_a_pass_that_overflowed_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float16 such a step is passed over; batch norm has seen its infinite values by then."""
    norm = torch.nn.BatchNorm3d(1)
    net = torch.nn.Sequential(norm, torch.nn.Conv3d(1, 2, 1))
    engine = trainer(net)
    monkeypatch.setattr(engine, "dtype", torch.float16)
    before = [one.clone() for one in net.buffers()]
    with engine._sound_buffers():
        net(torch.full((1, 1, 4, 4, 4), float("inf")))
        assert not torch.isfinite(norm.running_mean).all()
    assert torch.equal(norm.running_mean, before[0]) and torch.equal(norm.running_var, before[1])
    with engine._sound_buffers():
        net(torch.randn(1, 1, 4, 4, 4) + 3)
    assert norm.running_mean > 0, "sound ones stay"


def test_of_several_processes_none_computes_a_pass_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait in collectives of the pass that it left."""
    engine = trainer(network())
    loader = SimpleNamespace(is_on_device=True, leave_device=lambda: None)
    monkeypatch.setattr(engine, "data_loader", loader)
    monkeypatch.setattr("gridgate.pipeline.training.engine.trainer.WindowLoader", SimpleNamespace)
    asked: list[int] = []

    def passes() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    engine.state.output = {}
    engine._with_room(passes, True)
    assert len(asked) == 2
    asked.clear()
    monkeypatch.setattr(engine, "_parallel", True)
    with pytest.raises(torch.OutOfMemoryError):
        engine._with_room(passes, True)
    assert len(asked) == 1
