"""Validation: MONAI's Dice and events, one-channel networks, and no array of classes x volume."""

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.metrics import DiceMetric
from monai.networks.utils import one_hot
from torch.utils._python_dispatch import TorchDispatchMode

from gridgate.data.errors import ConfigError
from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.models.ensemble import Ensemble
from gridgate.pipeline.training.engine.label_dice import MEAN_DICE, LabelDice, dice_name, labels_of
from gridgate.pipeline.training.engine.validator import validates
from gridgate.pipeline.training.losses import build_loss

from ..small_trainer import LABELS, network, trainer, validator, windows


class Largest(TorchDispatchMode):
    """The number of elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in result if isinstance(result, list | tuple) else [result]:
            if isinstance(one, torch.Tensor):
                self.elements = max(self.elements, one.untyped_storage().nbytes())
        return result


def volumes(*shape: int, labels: int = 3, count: int = 2) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(1)
    images = [torch.rand(1, 1, *shape, generator=draw) for _ in range(count)]
    return [{"image": image, "label": (image * labels).floor()} for image in images]


def metrics(engine: Any) -> dict[str, float]:
    engine.run()
    return {name: value for name, value in engine.state.metrics.items() if "dice" in name}


@pytest.mark.parametrize("axis_sizes", [(21, 10, 9), (9, 10, 21), (10, 21, 9), (5, 6, 7)])
def test_dice_is_that_of_the_whole_volumes_argmax(axis_sizes: tuple[int, int, int]) -> None:
    net, data = network(), volumes(*axis_sizes)
    found = metrics(validator(net, val_data_loader=data))
    inferer = SlidingWindow((8, 8, 8), overlap=0.25, amp=False)
    # MONAI's engine, MONAI's metric
    wanted = DiceMetric(include_background=False, reduction="mean_batch", ignore_empty=True)
    theirs = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=data,
        network=net,
        inferer=inferer,
        decollate=False,
    )
    theirs.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: wanted(
            one_hot(engine.state.output["pred"].argmax(1, keepdim=True), 3),
            one_hot(engine.state.output["label"], 3),
        ),
    )
    theirs.run()
    each = wanted.aggregate().tolist()
    assert [found[dice_name(name)] for name in LABELS[1:]] == pytest.approx(each, abs=1e-6)
    assert 0 < found[MEAN_DICE] < 1 and len(set(each)) == 2


def test_no_array_of_all_classes_and_voxels_exists() -> None:
    classes, shape = 40, (96, 24, 24)
    names = [f"l{index}" for index in range(classes)]
    net, data = network(classes), volumes(*shape, labels=classes, count=1)

    def largest(engine: Any) -> int:
        with Largest() as watched:
            engine.run()
        return watched.elements

    options = {
        "val_data_loader": data,
        "inferer": SlidingWindow((8, 24, 24), overlap=0.5, amp=False),
        "key_val_metric": {MEAN_DICE: LabelDice(names)},
    }
    whole = classes * 96 * 24 * 24 * 4
    ours = validator(net, **options)
    monais = SupervisedEvaluator(
        device=torch.device("cpu"), network=net, decollate=False, **options
    )
    assert largest(monais) >= whole  # what the test would see
    assert largest(ours) < whole / 4  # a window and its sums
    assert ours.state.metrics == monais.state.metrics


@pytest.mark.parametrize(
    "inferer",
    [
        SlidingWindow((8, 8, 8), overlap=0.25, amp=False),
        SlidingWindow((8, 8, 8), overlap=0.25, amp=False, probabilities=True),
        SlidingWindowInferer((8, 8, 8), overlap=0.25),
        SimpleInferer(),
    ],
    ids=["slabs", "probabilities", "monai", "simple"],
)
def test_a_network_of_one_channel_is_counted(inferer: Any) -> None:
    class Threshold(torch.nn.Module):
        """Logits above 0, and probabilities above 0.5, where the image is above 0.6."""

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return (image - 0.6) * 10

    data = volumes(8, 8, 8, labels=2)
    engine = validator(
        Threshold(),
        val_data_loader=data,
        inferer=inferer,
        key_val_metric={MEAN_DICE: LabelDice(["background", "organ"])},
    )
    seen = []
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output["pred"])
    )
    each = []
    for batch in data:
        predicted, label = batch["image"] > 0.6, batch["image"] >= 0.5
        each.append(2 * float((predicted & label).sum()) / float(predicted.sum() + label.sum()))
    assert metrics(engine)[MEAN_DICE] == pytest.approx(sum(each) / 2)
    assert torch.equal(seen[1], (data[1]["image"] > 0.6).to(torch.uint8))


def test_an_ensemble_of_one_channel_gives_probabilities() -> None:
    class Shift(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return image - 0.6

    for inferer in (SlidingWindow((8, 8, 8), amp=False), SimpleInferer()):
        engine = validator(
            Ensemble([Shift(), Shift()]),
            val_data_loader=(data := volumes(8, 8, 8, labels=2, count=1)),
            inferer=inferer,
            key_val_metric={MEAN_DICE: LabelDice(["background", "organ"])},
        )
        engine.run()
        assert torch.equal(engine.state.output["pred"], (data[0]["image"] > 0.6).to(torch.uint8))


def test_a_network_of_one_channel_learns_and_its_dice_rises() -> None:
    net = network(1)
    data = windows(2, labels=2, seed=9)
    check = validator(
        net, val_data_loader=data, key_val_metric={MEAN_DICE: LabelDice(["background", "organ"])}
    )
    before = metrics(check)[MEAN_DICE]
    trainer(
        net,
        train_data_loader=windows(20, labels=2),
        optimizer=torch.optim.Adam(net.parameters(), lr=0.02),
        loss_function=build_loss("dice_ce", sigmoid=True),
        max_epochs=3,
        key_train_metric={"train_dice": LabelDice(["background", "organ"])},
    ).run()
    after = metrics(check)[MEAN_DICE]
    assert after > 0.9 > before


def test_logits_of_one_channel_are_counted_by_the_metric() -> None:
    metric = LabelDice(["background", "organ"])
    logits = torch.tensor([-1.0, 2.0, 3.0, 0.5]).reshape(1, 1, 2, 2, 1)
    label = torch.tensor([0, 1, 1, 0]).reshape(1, 1, 2, 2, 1)
    metric.update((logits, label))
    assert metric.compute().tolist() == [pytest.approx(2 * 2 / (3 + 2))]


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_than_labels_are_refused(channels: int) -> None:
    with pytest.raises(ConfigError, match="channel"):
        LabelDice(LABELS).update((torch.rand(1, channels, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)))


def test_label_values_beyond_the_labels_are_refused() -> None:
    maps = torch.full((1, 1, 4, 4, 4), 3, dtype=torch.uint8)
    fine = torch.zeros_like(maps)
    for prediction, reference in ((maps, fine), (fine, maps)):
        with pytest.raises(ConfigError, match="labels up to 3"):
            LabelDice(LABELS).update((prediction, reference))


def test_monais_events_postprocessing_and_decollation_work() -> None:
    fired, posted = [], []

    def post(data: dict[str, Any]) -> dict[str, Any]:
        posted.append((tuple(data["pred"].shape), data["pred"].dtype))
        return data

    plain = metrics(validator(network()))
    for decollate, shape in ((False, (1, 1, 8, 8, 8)), (True, (1, 8, 8, 8))):
        fired.clear(), posted.clear()
        engine = validator(network(), postprocessing=post, decollate=decollate)
        for event in (IterationEvents.FORWARD_COMPLETED, IterationEvents.MODEL_COMPLETED):
            engine.add_event_handler(event, lambda _, event=event: fired.append(event.name))
        assert metrics(engine) == plain
        assert fired == ["FORWARD_COMPLETED", "MODEL_COMPLETED"] * 2
        assert posted == [(shape, torch.uint8)] * 2


def test_a_network_with_several_outputs_is_validated_by_its_first() -> None:
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            scores = self.inner(image)
            return scores, -scores

    assert metrics(validator(Two())) == metrics(validator(network()))


def test_many_classes_fit_the_label_maps_type() -> None:
    scores = torch.zeros(1, 300, 2)
    scores[0, 299, 0] = scores[0, 255, 1] = 1
    assert labels_of(scores, dim=1).flatten().tolist() == [299, 255]
    assert labels_of(scores[:, :256], dim=1).dtype == torch.uint8


def test_without_a_case_nothing_is_validated_until_there_is_one() -> None:
    cases: list[Any] = []
    check = validator(network(), val_data_loader=cases)
    check.run(3)
    assert not validates(check) and check.state.metrics == {}
    assert check.state.best_metric_epoch == -1 and check.state.iteration == 0
    cases += windows(2, seed=9)
    check.run(4)
    assert validates(check) and check.state.iteration == 2
    assert 0 <= check.state.metrics[MEAN_DICE] == check.state.best_metric <= 1
