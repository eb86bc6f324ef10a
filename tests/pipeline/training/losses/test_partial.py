"""Losses of partly annotated windows and of ignored voxels, against numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.losses import LOSSES, build_loss
from gridgate.pipeline.training.losses.wrapping.annotation import Annotation

from ..small_trainer import network, trainer, windows

SMOOTH = 1e-5


def draw(windows: int, channels: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of windows of 4 x 3 x 2 voxels."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(windows, channels, 4, 3, 2)) * 2
    labels = random.integers(0, max(channels, 2), size=(windows, 1, 4, 3, 2))
    return torch.tensor(logits), torch.tensor(labels, dtype=torch.float32)


def annotation(*rows: list[bool], ignores: list[bool] | None = None) -> Annotation:
    return Annotation(
        torch.tensor([[True, *row] for row in rows]),
        torch.tensor(ignores if ignores is not None else [False] * len(rows)),
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax of (channels, voxels)."""
    powers = np.exp(logits - logits.max(0))
    return powers / powers.sum(0)


def dice_and_entropy(chances: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Of one window: 1 - Dice per channel with squared sums, and the mean cross-entropy."""
    truth = np.stack([labels == channel for channel in range(len(chances))]).astype(float)
    both = (chances * truth).sum(1)
    whole = (chances**2).sum(1) + truth.sum(1)
    entropy = -np.log((chances * truth).sum(0)).mean()
    return 1 - (2 * both + SMOOTH) / (whole + SMOOTH), float(entropy)


def by_hand(
    logits: torch.Tensor, labels: torch.Tensor, kept: list[int], valid: np.ndarray | None = None
) -> float:
    """dice_ce of one window (channels, x, y, z) in which only `kept` were annotated."""
    scores = logits.numpy().reshape(len(logits), -1)
    truth = labels.numpy().reshape(-1)
    if valid is not None:
        scores, truth = scores[:, valid.reshape(-1)], truth[valid.reshape(-1)]
    chances = probabilities(scores)
    rest = [channel for channel in range(len(chances)) if channel not in kept]
    reduced = np.stack([chances[rest].sum(0), *(chances[channel] for channel in kept)])
    number = {channel: place for place, channel in enumerate(kept, start=1)}
    renumbered = np.array([number.get(int(value), 0) for value in truth])
    dice, entropy = dice_and_entropy(reduced, renumbered)
    return float(dice.mean()) + entropy


def test_unannotated_labels_are_one_with_the_background() -> None:
    """Three windows: of labels 1 to 3 the first has all, the second 2, the third 1 and 3."""
    logits, labels = draw(3, 4)
    labels[1][(labels[1] == 1) | (labels[1] == 3)] = 0
    labels[2][labels[2] == 2] = 0
    given = annotation([True, True, True], [False, True, False], [True, False, True])
    found = build_loss("dice_ce")(logits, labels, given)
    kept = ([1, 2, 3], [2], [1, 3])
    wanted = np.mean([by_hand(*row) for row in zip(logits, labels, kept, strict=True)])
    assert float(found) == pytest.approx(wanted, rel=1e-6)


def test_the_numbers_of_one_voxel() -> None:
    """Two voxels, probabilities 1/2, 1/4, 1/4; label 2 was not annotated."""
    logits = torch.log(torch.tensor([0.5, 0.25, 0.25])).reshape(1, 3, 1, 1, 1).repeat(1, 1, 2, 1, 1)
    labels = torch.tensor([0.0, 1.0]).reshape(1, 1, 2, 1, 1)
    loss = build_loss("dice_ce", ce_weight=1.0, dice_weight=0.0)
    entropy = -(np.log(0.75) + np.log(0.25)) / 2
    assert float(loss(logits, labels, annotation([True, False]))) == pytest.approx(entropy)
    whole = -(np.log(0.5) + np.log(0.25)) / 2
    assert float(loss(logits, labels)) == pytest.approx(whole)


def test_a_window_without_annotation_teaches_nothing() -> None:
    logits, labels = draw(2, 3)
    logits.requires_grad_()
    given = annotation([False, False], [True, True])
    loss = build_loss("dice_ce")(
        logits, labels * torch.tensor([0.0, 1.0]).view(2, 1, 1, 1, 1), given
    )
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0].any() and logits.grad[1].all()
    alone = build_loss("dice_ce")(logits[1:].detach(), labels[1:])
    assert loss.item() == pytest.approx(float(alone))
    nothing = build_loss("dice_ce")(logits[:1], labels[:1] * 0, annotation([False, False]))
    assert float(nothing) == 0


@pytest.mark.parametrize("name", ["dice_ce", "sorensen_dice"])
def test_ignored_voxels_do_not_count(name: str) -> None:
    logits, labels = draw(2, 3, seed=4)
    labels[0, 0, 1:3, 0] = -1
    given = annotation([True, True], [True, True], ignores=[True, False])
    found = build_loss(name)(logits, labels, given)
    terms = []
    for scores, truth in zip(logits, labels, strict=True):
        valid = truth.numpy()[0] >= 0
        chances = probabilities(scores.numpy()[:, valid])
        dice, entropy = dice_and_entropy(chances, truth.numpy()[0][valid])
        terms.append(dice.mean() + (entropy if name == "dice_ce" else 0))
    assert float(found) == pytest.approx(np.mean(terms), rel=1e-6)


def test_ignored_voxels_in_sums_over_the_batch() -> None:
    """nnU-Net's loss: Dice's sums go over the voxels that count, of all windows."""
    logits, labels = draw(2, 3, seed=8)
    labels[0, 0, :2] = -1
    labels[1, 0, 0, 0] = -1
    given = annotation([True, True], [True, True], ignores=[True, True])
    found = build_loss("dice_ce_nnunet")(logits, labels, given)
    valid = labels.numpy()[:, 0] >= 0
    chances = probabilities(np.moveaxis(logits.numpy(), 1, 0)[:, valid])
    truth = labels.numpy()[:, 0][valid]
    masks = np.stack([truth == channel for channel in range(3)])
    both, whole = (chances * masks).sum(1), chances.sum(1) + masks.sum(1)
    dice = 1 - (2 * both + SMOOTH) / (whole + SMOOTH)
    entropy = -np.log((chances * masks).sum(0)).mean()
    assert float(found) == pytest.approx(dice[1:].mean() + entropy, rel=1e-6)


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("name", list(LOSSES))
def test_no_gradient_comes_from_ignored_voxels(name: str, channels: int) -> None:
    """Nor does it matter what is predicted there; partial labels beside it make no difference."""
    logits, labels = draw(2, channels, seed=2)
    labels = labels.clamp(max=max(channels - 1, 1))
    labels[0, 0, 1, 1] = -1
    labels[1, 0, 3] = -1
    many = max(channels - 1, 1)
    kept = [True] * many if channels == 1 else [True, False, True]
    if channels > 1:
        labels[1][labels[1] == 2] = 0
    given = annotation([True] * many, kept, ignores=[True, True])
    loss = build_loss(name, **({"sigmoid": True} if channels == 1 else {}))
    logits.requires_grad_()
    first = loss(logits, labels, given)
    first.backward()
    assert logits.grad is not None
    ignored = (labels < 0).expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad[~ignored].any()
    other = torch.where(ignored, logits.detach() + 7, logits.detach())
    assert float(loss(other, labels, given)) == pytest.approx(float(first), rel=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_of_partial_windows_are_right(name: str) -> None:
    logits, labels = draw(2, 3, seed=3)
    labels[1][labels[1] == 1] = 0
    labels[0, 0, 0] = -1
    given = annotation([True, True], [False, True], ignores=[True, False])
    loss = build_loss(name)
    assert torch.autograd.gradcheck(
        lambda scores: loss(scores, labels, given), (logits.requires_grad_(),)
    )


@pytest.mark.parametrize("name", list(LOSSES))
def test_whole_annotation_gives_the_same_bits(name: str) -> None:
    """An annotation that names everything is None, and one that names it anyway changes nothing."""
    logits, labels = (tensor.float() for tensor in draw(3, 4))
    batch = {"annotated": torch.ones(3, 4, dtype=torch.bool), "ignores": torch.zeros(3).bool()}
    assert Annotation.of(batch) is None and Annotation.of({}) is None
    gradients = []
    for more in ((), (annotation(*[[True] * 3] * 3),)):
        scores = logits.clone().requires_grad_()
        build_loss(name)(scores, labels, *more).backward()
        gradients.append(scores.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-8)


def test_class_weights_follow_their_labels() -> None:
    """The weights 1, 2, 5, 9 of background and three labels; of label 2 alone 1 and 5 are left."""
    logits, labels = draw(1, 4, seed=6)
    labels[(labels == 1) | (labels == 3)] = 0
    weighted = build_loss("sorensen_dice", class_weights=[1.0, 2.0, 5.0, 9.0])
    found = weighted(logits, labels, annotation([False, True, False]))
    chances = probabilities(logits.numpy().reshape(4, -1))
    reduced = np.stack([chances[[0, 1, 3]].sum(0), chances[2]])
    dice, _ = dice_and_entropy(reduced, (labels.numpy().reshape(-1) == 2).astype(int))
    assert float(found) == pytest.approx((dice * [1, 5]).mean(), rel=1e-6)


def test_deep_supervision_of_partial_windows() -> None:
    """Each output against the labels at its size; ignored voxels stay ignored there."""
    logits, labels = draw(1, 3, seed=1)
    labels[0, 0, 0] = -1
    labels[labels == 2] = 0
    small = torch.tensor(np.random.default_rng(5).normal(size=(1, 3, 2, 3, 2)))
    given = annotation([True, False], ignores=[True])
    deep = build_loss("dice_ce", deep_supervision_weights=[1.0, 0.5])
    single = build_loss("dice_ce")
    taken = labels[:, :, 1::2]  # nearest: of two voxels the second
    wanted = single(logits.float(), labels, given) + 0.5 * single(small.float(), taken, given)
    assert float(deep([logits, small], labels, given)) == pytest.approx(float(wanted), rel=1e-6)
    assert float(deep(logits, labels, given)) == pytest.approx(float(single(logits, labels, given)))


def test_the_trainer_leaves_out_what_is_not_annotated() -> None:
    """A training whose third channel is never annotated moves it by the background alone."""

    def batches(**more: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [one | {"label": one["label"].clamp(max=1)} | more for one in windows(4)]

    def trained(data: list[dict[str, Any]], **options: Any) -> torch.nn.Module:
        net = network()
        trainer(net, train_data_loader=data, max_epochs=10, **options).run()
        return net

    whole = batches(annotated=torch.ones(1, 3).bool(), ignores=torch.zeros(1).bool())
    plain = trained(batches())
    for one, other in zip(plain.parameters(), trained(whole).parameters(), strict=True):
        assert torch.equal(one, other)
    partial = trained(batches(annotated=torch.tensor([[True, True, False]])))
    image = windows(1)[0]["image"]
    chance = [net.eval()(image).softmax(1)[:, 2].mean().item() for net in (plain, partial)]
    assert chance[1] > 2 * chance[0]
    with pytest.raises(ConfigError, match="cannot leave out"):
        trained(
            batches(annotated=torch.tensor([[True, True, False]])),
            loss_function=torch.nn.CrossEntropyLoss(),
        )
