"""Losses against formulas in float64, torch's cross-entropy, and hand-computed values."""

import math
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.losses import (
    LOSSES,
    SorensenDiceLoss,
    build_loss,
    deep_supervision,
    dice_ce,
    dice_ce_nnunet,
)

SMOOTH = 1e-5
CLOSE = 1e-7  # MONAI keeps the one-hot labels in float32, and takes their norm there


def sample(
    channels: int = 3, *, seed: int = 0, batch: int = 2, size: tuple[int, ...] = (6, 5, 4)
) -> tuple[Tensor, Tensor]:
    """Float64 logits and integer labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, channels, *size, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, max(channels, 2), (batch, 1, *size), generator=generator)
    return logits, labels


def dice_terms(logits: Tensor, labels: Tensor, *, squared: bool, batch: bool) -> Tensor:
    """1 - soft Dice a case (or for the batch) and class, from the definition."""
    if logits.shape[1] == 1:
        p, y = torch.sigmoid(logits), labels.to(logits.dtype)
    else:
        p = torch.softmax(logits, dim=1)
        y = functional.one_hot(labels[:, 0], logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    p, y = p.flatten(2), y.flatten(2)
    power = 2 if squared else 1
    axes = (0, 2) if batch else (2,)
    both, sizes = (p * y).sum(axes), (p**power).sum(axes) + (y**power).sum(axes)
    return 1 - (2 * both + SMOOTH) / (sizes + SMOOTH)


def test_sorensen_dice_by_hand() -> None:
    """Two voxels, two classes, p of the foreground 0.75 and 0.5, labels 1 and 0."""
    foreground = torch.tensor([0.75, 0.5], dtype=torch.float64)
    logits = torch.stack(
        [torch.zeros(2, dtype=torch.float64), torch.log(foreground / (1 - foreground))]
    )
    logits, labels = logits.reshape(1, 2, 2, 1, 1), torch.tensor([1, 0]).reshape(1, 1, 2, 1, 1)
    dice_1 = 2 * 0.75 / (0.75**2 + 0.5**2 + 1)
    dice_0 = 2 * 0.5 / (0.25**2 + 0.5**2 + 1)
    assert SorensenDiceLoss()(logits, labels).item() == pytest.approx(
        1 - (dice_0 + dice_1) / 2, abs=1e-5
    )


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_sorensen_dice_is_the_formula(channels: int, batch: bool) -> None:
    logits, labels = sample(channels)
    loss = SorensenDiceLoss(batch=batch, sigmoid=channels == 1)
    expected = dice_terms(logits, labels, squared=True, batch=batch).mean()
    assert loss(logits, labels).item() == pytest.approx(expected.item(), rel=CLOSE)
    single = loss(logits.float(), labels)
    assert single.dtype == torch.float32
    assert single.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("background", [False, True])
def test_dice_ce_is_the_formula(background: bool, squared: bool, batch: bool) -> None:
    logits, labels = sample(4)
    loss = dice_ce(
        include_background=background,
        squared=squared,
        batch=batch,
        dice_weight=0.5,
        ce_weight=2.0,
        label_smoothing=0.1,
    )
    dice = dice_terms(logits, labels, squared=squared, batch=batch)[
        ..., 0 if background else 1 :
    ].mean()
    entropy = functional.cross_entropy(logits, labels[:, 0], label_smoothing=0.1)
    assert loss(logits, labels).item() == pytest.approx(
        (0.5 * dice + 2.0 * entropy).item(), rel=CLOSE
    )


def test_the_presets_are_the_papers() -> None:
    logits, labels = sample(4)
    entropy = functional.cross_entropy(logits, labels[:, 0])
    unetr = dice_terms(logits, labels, squared=True, batch=False).mean() + entropy
    nnunet = dice_terms(logits, labels, squared=False, batch=True)[1:].mean() + entropy
    assert dice_ce()(logits, labels).item() == pytest.approx(unetr.item(), rel=CLOSE)
    assert dice_ce_nnunet()(logits, labels).item() == pytest.approx(nnunet.item(), rel=CLOSE)


@pytest.mark.parametrize("make", [dice_ce, dice_ce_nnunet])
def test_one_channel_is_binary(make: Any) -> None:
    """nnU-Net's preset leaves the background out; a single channel is foreground and stays."""
    logits, labels = sample(1)
    dice = dice_terms(logits, labels, squared=make is dice_ce, batch=make is dice_ce_nnunet).mean()
    entropy = functional.binary_cross_entropy_with_logits(logits, labels.double())
    assert make(sigmoid=True)(logits, labels).item() == pytest.approx(
        (dice + entropy).item(), rel=CLOSE
    )


def test_class_weights() -> None:
    logits, labels = sample(3)
    weights = [0.2, 1.0, 3.0]
    terms = dice_terms(logits, labels, squared=True, batch=False) * torch.tensor(
        weights, dtype=torch.float64
    )
    found = SorensenDiceLoss(class_weights=weights)(logits, labels).item()
    assert found == pytest.approx(terms.mean().item(), rel=1e-6)
    entropy = functional.cross_entropy(logits.float(), labels[:, 0], weight=torch.tensor(weights))
    both = dice_ce(class_weights=weights)(logits.float(), labels).item()
    assert both == pytest.approx((terms.mean() + entropy).item(), rel=1e-5)
    plain = dice_terms(logits, labels, squared=False, batch=True)[1:]
    expected = (plain * torch.tensor(weights[1:], dtype=torch.float64)).mean() + entropy
    assert dice_ce_nnunet(class_weights=weights)(logits.float(), labels).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


@pytest.mark.parametrize("batch", [True, False])
def test_the_weight_of_a_single_foreground_label_counts(batch: bool) -> None:
    """MONAI leaves it out of the Dice of one channel; with ignored voxels, and in DDP it counts."""
    logits, labels = sample(2)
    weights = [1.0, 10.0]
    loss = dice_ce(include_background=False, squared=False, batch=batch, class_weights=weights)
    dice = dice_terms(logits, labels, squared=False, batch=batch)[..., 1:].mean()
    entropy = functional.cross_entropy(logits.float(), labels[:, 0], weight=torch.tensor(weights))
    expected = pytest.approx((10 * dice + entropy).item(), rel=1e-5)
    assert loss(logits.float(), labels).item() == expected
    sums = loss.summed(logits.float(), labels.float())
    assert loss.of_sums(sums).item() == expected


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_has_gradients_where_the_network_is_sure(gamma: float, channels: int) -> None:
    logits = torch.zeros(1, channels, 4, 4, 4)
    labels = torch.zeros(1, 1, 4, 4, 4)
    labels[..., :2] = 1
    logits[:, -1, ..., :2] = 200.0 if channels == 1 else -200.0  # p is 1, and 0, in float32
    if channels == 3:
        logits[:, 1, ..., :2] = 200.0
    else:
        logits[..., 2:] = -200.0
    logits.requires_grad_()
    found = build_loss("focal", sigmoid=channels == 1, gamma=gamma)(logits, labels)
    found.backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all() and torch.isfinite(found)


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_are_right(name: str, channels: int) -> None:
    logits, labels = sample(channels, batch=2, size=(3, 2, 2))
    loss = build_loss(name, sigmoid=channels == 1)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (logits.requires_grad_(),))


# what a right answer costs where that is not 0, and a wrong one where that is below 0.9
RIGHT = {"attention_unet_dice": -1e-3, "boundary": -0.1}
WRONG = {"log_cosh_dice": 0.43, "sensitivity_specificity": 0.3}


@pytest.mark.parametrize("name", list(LOSSES))
def test_a_sure_and_right_answer_costs_nothing_and_a_wrong_one_much(name: str) -> None:
    _, labels = sample(3)
    right = 40.0 * functional.one_hot(labels[:, 0], 3).movedim(-1, 1).float()
    loss = build_loss(name)
    right.requires_grad_()
    value = loss(right, labels)
    value.backward()
    least = RIGHT.get(name, 0.0)
    assert least - 1e-5 <= value.item() <= 1e-5
    assert right.grad is not None and torch.isfinite(right.grad).all()
    assert loss(right.roll(1, dims=1), labels).item() > value.item() + WRONG.get(name, 0.9)


# of background alone: neither has a slope, the squared form as p is small, the other by its weights
NO_SLOPE = ("sorensen_dice", "balanced_cross_entropy")


@pytest.mark.parametrize("name", list(LOSSES))
def test_classes_that_are_not_in_the_window(name: str) -> None:
    """Background alone has a finite loss and gradient, and its foreground still shrinks."""
    logits = torch.zeros(1, 3, 4, 4, 4, requires_grad=True)
    value = build_loss(name)(logits, torch.zeros(1, 1, 4, 4, 4, dtype=torch.uint8))
    value.backward()
    assert math.isfinite(value.item())
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    if name not in NO_SLOPE:
        assert (logits.grad[:, 1:] > 0).all()


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("channels", [1, 2])
def test_half_precision_logits_are_computed_in_float32(name: str, channels: int) -> None:
    """The plain sum over 96^3 voxels is beyond float16's largest number, 65504."""
    logits, labels = sample(channels, batch=1, size=(96, 96, 96), seed=3)
    half = logits.half().requires_grad_()
    loss = build_loss(name, sigmoid=channels == 1)
    with torch.autocast("cpu", dtype=torch.float16):
        value = loss(half, labels)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(half.detach().double(), labels).item(), rel=1e-4)
    assert (
        half.grad is not None
        and half.grad.dtype == torch.float16
        and torch.isfinite(half.grad).all()
    )


@pytest.mark.parametrize("name", list(LOSSES))
def test_autocast_is_off_inside(name: str) -> None:
    logits, labels = sample(3)
    weights = {"class_weights": [1.0, 2.0, 0.5]} if "class_weights" in LOSSES[name].options else {}
    loss = build_loss(name, **weights)
    expected = loss(logits.float(), labels)
    with torch.autocast("cpu", dtype=torch.float16):
        found = loss(logits.float(), labels)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float32])
@pytest.mark.parametrize("name", list(LOSSES))
def test_any_dtype_of_labels_and_metatensors(name: str, dtype: torch.dtype) -> None:
    logits, labels = sample(3)
    loss = build_loss(name)
    value = loss(MetaTensor(logits), MetaTensor(labels.to(dtype)))
    assert type(value) is Tensor
    assert value.item() == pytest.approx(loss(logits, labels).item(), rel=1e-12)
    tracked = logits.clone().requires_grad_()
    loss(MetaTensor(tracked), labels).backward()
    assert tracked.grad is not None and tracked.grad.abs().sum() > 0
    sigmoid_logits, mask = sample(1)
    binary = build_loss(name, sigmoid=True)
    expected = binary(sigmoid_logits, mask).item()
    assert binary(sigmoid_logits, mask.to(dtype)).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(6, 5), (6, 5, 4)])
def test_two_and_three_dimensions(size: tuple[int, ...]) -> None:
    logits, labels = sample(3, size=size)
    expected = dice_terms(logits, labels, squared=True, batch=False).mean()
    assert SorensenDiceLoss()(logits, labels).item() == pytest.approx(expected.item(), rel=CLOSE)


def test_deep_supervision_weights_each_output() -> None:
    """Halving 8^3 labels by nearest-exact takes voxel 1, 3, 5, 7 of each axis."""
    fine, labels = sample(3, size=(8, 8, 8))
    coarse, _ = sample(3, size=(4, 4, 4), seed=1)
    fine, coarse = fine.float(), coarse.float()
    inner = dice_ce()
    few = labels[:, :, 1::2, 1::2, 1::2].contiguous()
    first, second = inner(fine, labels).item(), inner(coarse, few).item()
    for dtype in (torch.uint8, torch.int64, torch.float32):
        found = deep_supervision(inner, [1.0, 0.25])([fine, coarse], labels.to(dtype))
        assert found.item() == pytest.approx(first + 0.25 * second, rel=1e-6)
    assert deep_supervision(inner)([fine, coarse], labels).item() == pytest.approx(
        first + second, rel=1e-6
    )
    assert deep_supervision(inner, "exp")((fine, coarse), labels).item() == pytest.approx(
        first + second / 2, rel=1e-6
    )
    assert deep_supervision(inner, "two")([fine, coarse], labels).item() == pytest.approx(
        first + second / 2, rel=1e-6
    )


def test_deep_supervision_of_a_plain_tensor_is_the_loss_itself() -> None:
    logits, labels = sample(3)
    inner = SorensenDiceLoss()
    assert torch.equal(deep_supervision(inner, [0.3, 0.2])(logits, labels), inner(logits, labels))


def test_deep_supervision_reaches_every_output() -> None:
    fine, labels = sample(2, size=(8, 8, 8))
    outputs = [fine.float().requires_grad_(), torch.randn(2, 2, 4, 4, 4, requires_grad=True)]
    build_loss("dice_ce", deep_supervision_weights=[1.0, 0.5])(
        outputs, MetaTensor(labels)
    ).backward()
    assert all(output.grad is not None and output.grad.abs().sum() > 0 for output in outputs)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.5, 0.25]])
def test_deep_supervision_wants_a_weight_an_output(weights: list[float]) -> None:
    fine, labels = sample(2)
    with pytest.raises(ConfigError, match=f"{len(weights)} deep supervision weights for 2 outputs"):
        deep_supervision(SorensenDiceLoss(), weights)([fine, fine], labels)


@pytest.mark.parametrize(
    ("weights", "text"), [("expo", "same, exp, two"), ([], "one number"), ([1, -1], "0 or more")]
)
def test_impossible_deep_supervision_weights(weights: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        deep_supervision(SorensenDiceLoss(), weights)


def test_build_loss_passes_options_and_names_what_it_does_not_know() -> None:
    logits, labels = sample(3)
    assert torch.equal(
        build_loss("dice_ce", squared=False)(logits, labels), dice_ce(squared=False)(logits, labels)
    )
    with pytest.raises(
        ConfigError, match=r"'dice_cee' \(did you mean 'dice_ce'\?\).*sorensen_dice.*, dice_ce,"
    ):
        build_loss("dice_cee")
    with pytest.raises(
        ConfigError, match=r"'label_smooting' \(did you mean 'label_smoothing'\?\).*class_weights"
    ):
        build_loss("dice_ce", label_smooting=0.1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"label_smoothing": 1.5}, "label_smoothing must be"),
        ({"ce_weight": -1.0}, "0 or more"),
        ({"class_weights": [1.0, -1.0]}, "class_weights must be"),
        ({"class_weights": [1.0], "sigmoid": True}, "several output channels"),
        ({"label_smoothing": 0.1, "sigmoid": True}, "several output channels"),
    ],
)
def test_impossible_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        build_loss("dice_ce", **options)


def test_channels_and_shapes_are_checked() -> None:
    logits, labels = sample(3)
    with pytest.raises(ConfigError, match=r"1 output channel.*sigmoid=False"):
        dice_ce()(logits[:, :1], labels)
    with pytest.raises(ConfigError, match=r"3 output channel.*sigmoid=True"):
        dice_ce(sigmoid=True)(logits, labels)
    with pytest.raises(
        ConfigError, match=r"need labels of shape \(2, 1, 6, 5, 4\), not \(2, 6, 5, 4\)"
    ):
        dice_ce()(logits, labels[:, 0])
    for weighted in (dice_ce(class_weights=[1.0, 2.0]), SorensenDiceLoss(class_weights=[1.0, 2.0])):
        with pytest.raises(ConfigError, match="2 class_weights for 3 output channels"):
            weighted(logits, labels)


@pytest.mark.parametrize("name", ["dice_ce", "sorensen_dice", "structure"])
def test_one_channel_refuses_labels_beyond_1(name: str) -> None:
    logits, labels = torch.zeros(1, 1, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4)
    loss = build_loss(name, sigmoid=True)
    labels[0, 0, 0] = 1
    assert torch.isfinite(loss(logits, labels))
    labels[0, 0, 0, 0, 0] = 2
    with pytest.raises(ConfigError, match="holds 2, but a network of one output channel"):
        loss(logits, labels)


def test_deep_supervision_copies_nothing_to_the_device() -> None:
    """MONAI's sum begins with a number of the CPU, which a CUDA graph cannot copy."""
    made: list[torch.device] = []

    class Watched(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.tensor:
                made.append(args[0])
            return func(*args, **(kwargs or {}))

    fine, coarse = torch.randn(1, 2, 8, 8, 8), torch.randn(1, 2, 4, 4, 4)
    labels = torch.randint(0, 2, (1, 1, 8, 8, 8)).float()
    loss = deep_supervision(build_loss("dice_ce"), [1.0, 0.5])
    with Watched():
        loss([fine, coarse], labels)
    assert made == []
