"""Dice per label against MONAI's DiceMetric, and through an engine."""

import math

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.metrics import DiceMetric
from monai.networks.utils import one_hot

from gridgate.pipeline.training.engine.label_dice import MEAN_DICE, LabelDice, dice_name

LABELS = ["background", "liver", "spleen", "aorta"]


def blobs(
    seed: int, *, batch: int = 1, size: int = 6, values: tuple[int, ...] = (0, 1, 2, 3)
) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    picked = torch.randint(len(values), (batch, 1, size, size, size), generator=chance)
    return torch.tensor(values)[picked].float()


def logits(prediction: torch.Tensor) -> torch.Tensor:
    """Logits, noise included, of which the prediction is the largest."""
    noise = torch.rand(
        len(prediction),
        len(LABELS),
        *prediction.shape[2:],
        generator=torch.Generator().manual_seed(9),
    )
    return one_hot(prediction, num_classes=len(LABELS)) * 2 + noise


def monais(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """Mean Dice per foreground label by MONAI."""
    metric = DiceMetric(include_background=False, reduction="mean_batch", ignore_empty=True)
    for prediction, label in batches:
        metric(one_hot(prediction, len(LABELS)), one_hot(label, len(LABELS)))
    return [float(value) for value in metric.aggregate()]


def ours(batches: list[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    metric = LabelDice(LABELS)
    for prediction, label in batches:
        metric.update((logits(prediction), label))
    return [float(value) for value in metric.compute()]


def test_it_is_monais_over_several_batches() -> None:
    batches = [
        (blobs(1), blobs(2)),
        (blobs(3, batch=3), blobs(4, batch=3)),
        (blobs(5, size=9), blobs(5, size=9)),
    ]
    found = ours(batches)
    assert found == pytest.approx(monais(batches), abs=1e-6)
    assert len(set(found)) == 3


def test_a_case_counts_as_one_whatever_its_size() -> None:
    right, wrong = blobs(1, size=12, values=(1,)), blobs(2, size=3, values=(1,))
    assert ours([(right, right), (torch.zeros_like(wrong), wrong)])[0] == pytest.approx(0.5)


def test_absent_labels() -> None:
    with_all, no_aorta, only_liver = blobs(1), blobs(2, values=(0, 1, 2)), blobs(3, values=(0, 1))
    # absent from case and prediction: left out of that label's mean
    batches = [(with_all, with_all.roll(1, 2)), (no_aorta, no_aorta.roll(1, 2))]
    assert ours(batches) == pytest.approx(monais(batches), abs=1e-6)
    assert ours(batches)[2] == pytest.approx(ours(batches[:1])[2])
    # predicted where the case has none: 0, as one that is missed; MONAI leaves such a case out
    assert ours([(with_all, no_aorta)])[2] == 0
    assert ours([(no_aorta, with_all)])[2] == 0
    # in no case at all
    liver, spleen, aorta = ours([(only_liver, only_liver)])
    assert liver == 1 and math.isnan(spleen) and math.isnan(aorta)


def test_a_hand_counted_case() -> None:
    label = torch.tensor([0, 1, 1, 1, 2, 2, 0, 0]).reshape(1, 1, 2, 2, 2)
    prediction = torch.tensor([0, 1, 1, 2, 2, 0, 1, 0]).reshape(1, 1, 2, 2, 2)
    liver, spleen, aorta = ours([(prediction.float(), label.float())])
    assert liver == pytest.approx(2 * 2 / (3 + 3))
    assert spleen == pytest.approx(2 * 1 / (2 + 2))
    assert math.isnan(aorta)


def test_reset_forgets() -> None:
    metric, case = LabelDice(LABELS), blobs(1)
    metric.update((logits(case), blobs(2)))
    metric.reset()
    metric.update((logits(case), case))
    assert metric.compute().tolist() == [1, 1, 1]


def test_metatensors_and_whole_numbers_are_the_same() -> None:
    prediction, label = blobs(1), blobs(2)
    metric = LabelDice(LABELS)
    metric.update((MetaTensor(logits(prediction)), MetaTensor(label.to(torch.uint8))))
    assert metric.compute().tolist() == pytest.approx(ours([(prediction, label)]))


def test_through_an_engine() -> None:
    batches = [(blobs(1), blobs(2)), (blobs(3, values=(0, 1, 2)), blobs(4, values=(0, 1, 2)))]
    engine = Engine(
        lambda _, batch: {"pred": logits(batch[0]), "label": batch[1], "image": batch[0]}
    )
    LabelDice(LABELS).attach(engine, MEAN_DICE)
    for _ in range(2):  # the second epoch starts anew
        metrics = engine.run(batches, max_epochs=1).metrics
        wanted = ours(batches)
        for name, value in zip(LABELS[1:], wanted, strict=True):
            assert metrics[dice_name(name)] == pytest.approx(value)
        assert metrics[MEAN_DICE] == pytest.approx(sum(wanted) / 3)
        assert isinstance(metrics[MEAN_DICE], float)


def test_the_mean_leaves_out_what_no_case_has() -> None:
    engine = Engine(lambda _, batch: {"pred": logits(batch[0]), "label": batch[1]})
    LabelDice(LABELS).attach(engine, MEAN_DICE)
    liver, nothing = blobs(1, values=(0, 1)), blobs(1, values=(0,))
    metrics = engine.run([(liver, liver)], max_epochs=1).metrics
    assert metrics[MEAN_DICE] == 1 and math.isnan(metrics[dice_name("aorta")])

    # of cases without any label nothing is the best, found or not
    assert math.isnan(engine.run([(nothing, nothing)], max_epochs=1).metrics[MEAN_DICE])
    assert math.isnan(engine.run([(liver, nothing)], max_epochs=1).metrics[MEAN_DICE])
    assert engine.run([(nothing, liver)], max_epochs=1).metrics[MEAN_DICE] == 0


def test_unequal_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        LabelDice(LABELS).update((logits(blobs(1, batch=2)), blobs(2)))


def test_neither_ignored_voxels_nor_unannotated_labels_count() -> None:
    """By hand: of 8 voxels the last two are ignored; the spleen was not drawn."""
    reference = torch.tensor([0, 1, 1, 1, 0, 0, -1, -1]).reshape(1, 1, 2, 2, 2).float()
    prediction = torch.tensor([0, 1, 1, 2, 2, 0, 1, 1]).reshape(1, 1, 2, 2, 2)
    metric = LabelDice(LABELS)
    metric.update((prediction, reference, torch.tensor([[True, True, False, True]])))
    liver, spleen, aorta = metric.compute().tolist()
    assert liver == pytest.approx(2 * 2 / (2 + 3))
    assert math.isnan(spleen) and math.isnan(aorta)
    metric.update((prediction, reference, None))
    assert metric.compute()[1] == 0  # annotated now, and predicted where it is not


def test_an_engine_hands_on_what_is_annotated() -> None:
    label = blobs(1)
    batch = {
        "pred": label.long(),
        "label": label,
        "annotated": torch.tensor([[True] * 3 + [False]]),
    }
    engine = Engine(lambda engine, batch: batch)
    LabelDice(LABELS).attach(engine, MEAN_DICE)
    metrics = engine.run([batch]).metrics
    assert metrics[dice_name("liver")] == 1 and math.isnan(metrics[dice_name("aorta")])
