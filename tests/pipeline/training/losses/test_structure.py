"""The structure loss against hand-computed numbers, average pooling, and NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.losses import build_loss
from gridgate.pipeline.training.losses.compound.structure import StructureLoss, local_mean


def binary(p: np.ndarray, m: np.ndarray, kernel: int, boundary: float) -> float:
    """The loss of one case from probabilities and a mask, window by window."""
    around = np.zeros(m.shape)
    for index in np.ndindex(*m.shape):
        near = tuple(slice(max(i - kernel // 2, 0), i + kernel // 2 + 1) for i in index)
        around[index] = m[near].sum() / kernel**m.ndim
    w = 1 + boundary * np.abs(around - m)
    entropy = -(m * np.log(p) + (1 - m) * np.log(1 - p))
    both, either = (w * p * m).sum(), (w * (p + m - p * m)).sum()
    return float((w * entropy).sum() / w.sum() + 1 - (both + 1) / (either + 1))


def sample(channels: int, size: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, channels, *size, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, max(channels, 2), (2, 1, *size), generator=generator)


def test_by_hand() -> None:
    """Three pixels, the middle one foreground, p 1/2 everywhere: means over 3x3 are 1/9."""
    labels = torch.tensor([0, 1, 0]).reshape(1, 1, 1, 3)
    w = [1 + 5 / 9, 1 + 5 * 8 / 9, 1 + 5 / 9]
    both, either = w[1] / 2, sum(w) / 2 + w[1] / 2
    expected = math.log(2) + 1 - (both + 1) / (either + 1)
    found = StructureLoss(kernel=3)(torch.zeros(1, 1, 1, 3, dtype=torch.float64), labels)
    assert found.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(9, 40), (5, 40, 7)])
@pytest.mark.parametrize("kernel", [1, 5, 31])
def test_local_mean_is_average_pooling(size: tuple[int, ...], kernel: int) -> None:
    mask = torch.rand(
        2, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    ).round()
    if len(size) == 2:
        expected = functional.avg_pool2d(mask, kernel, stride=1, padding=kernel // 2)
    else:
        ones = torch.ones(1, 1, *[kernel] * 3, dtype=torch.float64) / kernel**3
        expected = functional.conv3d(mask, ones, padding=kernel // 2)
    torch.testing.assert_close(local_mean(mask, kernel), expected, rtol=1e-12, atol=1e-12)


def test_the_2d_preset_is_the_mean_of_the_2d_losses_of_all_slices() -> None:
    logits, labels = sample(3, (20, 40, 6))
    flat = [
        build_loss("structure")(logits[..., place], labels[..., place]).item() for place in range(6)
    ]
    assert build_loss("structure_2d")(logits, labels).item() == pytest.approx(
        np.mean(flat), rel=1e-12
    )
    assert build_loss("structure")(logits, labels).item() != pytest.approx(np.mean(flat), rel=1e-3)


def test_one_channel_in_two_dimensions_is_the_papers() -> None:
    """The published form: 1 + 5 |avgpool31(mask) - mask|, sums an image, mean over the batch."""
    logits, mask = sample(1, (45, 38))
    p, m = torch.sigmoid(logits)[:, 0].numpy(), mask[:, 0].numpy()
    expected = [binary(p[case], m[case], 31, 5.0) for case in range(2)]
    found = build_loss("structure", sigmoid=True)(logits, mask).item()
    assert found == pytest.approx(np.mean(expected), rel=1e-10)


@pytest.mark.parametrize("size", [(7, 6), (5, 6, 4)])
def test_several_classes_are_each_against_the_rest(size: tuple[int, ...]) -> None:
    logits, labels = sample(4, size)
    p, weights = torch.softmax(logits, dim=1).numpy(), [9.0, 0.5, 1.0, 2.0]
    terms = np.array(
        [
            [binary(p[b, c], (labels[b, 0] == c).numpy().astype(float), 5, 3.0) for c in (1, 2, 3)]
            for b in range(2)
        ]
    )
    plain = build_loss("structure", kernel=5, boundary=3.0)(logits, labels).item()
    weighted = build_loss("structure", kernel=5, boundary=3.0, class_weights=weights)(
        logits, labels
    ).item()
    assert plain == pytest.approx(terms.mean(), rel=1e-10)
    assert weighted == pytest.approx((terms * weights[1:]).mean(), rel=1e-10)


def test_two_channels_are_one_channel_of_their_difference() -> None:
    logits, labels = sample(2, (6, 5, 4))
    one = build_loss("structure", sigmoid=True)(logits[:, 1:] - logits[:, :1], labels)
    assert build_loss("structure")(logits, labels).item() == pytest.approx(one.item(), rel=1e-12)


def test_a_certain_mistake_keeps_its_gradient() -> None:
    """A class at probability 1 - 1e-40 where it is not: log(1 - p) of p would be infinite."""
    logits = torch.tensor([0.0, 100.0, 0.0]).reshape(1, 3, 1, 1).requires_grad_()
    loss = StructureLoss(kernel=1)(logits, torch.tensor([2]).reshape(1, 1, 1, 1))
    loss.backward()
    assert loss.item() == pytest.approx((100 - math.log(2) + 1 / 2 + 100 + 1 / 2) / 2, rel=1e-5)
    assert logits.grad is not None and logits.grad[0, 1].item() == pytest.approx(1.0, rel=1e-4)


def test_boundaries_weigh_more() -> None:
    """The same doubt costs more at the edge of a square than in its middle."""
    labels = torch.zeros(1, 1, 21, 21, dtype=torch.long)
    labels[..., 5:16, 5:16] = 1
    sure = 8.0 * (2 * labels - 1).double()
    middle, edge = sure.clone(), sure.clone()
    middle[..., 10, 10], edge[..., 5, 5] = 0.0, 0.0
    loss = StructureLoss(kernel=7)
    assert loss(edge, labels).item() > 2 * loss(middle, labels).item()
    assert StructureLoss(kernel=7, boundary=0)(edge, labels).item() == pytest.approx(
        StructureLoss(kernel=7, boundary=0)(middle, labels).item(), rel=1e-12
    )


def test_deep_supervision_takes_transfuses_weights() -> None:
    labels = sample(2, (8, 8, 8))[1]
    maps = [sample(2, (8, 8, 8), seed)[0] for seed in (1, 2, 3)]
    single = build_loss("structure")
    expected = sum(w * single(m, labels).item() for w, m in zip((0.5, 0.3, 0.2), maps, strict=True))
    found = build_loss("structure", deep_supervision_weights=(0.5, 0.3, 0.2))(maps, labels)
    assert found.item() == pytest.approx(expected, rel=1e-6)  # MONAI sums in float32


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError, match="kernel must be an odd number"):
        build_loss("structure", kernel=30)
    with pytest.raises(ConfigError, match="boundary must be 0 or more"):
        build_loss("structure", boundary=-1.0)
    with pytest.raises(ConfigError, match="several output channels"):
        build_loss("structure", class_weights=[1.0, 1.0], sigmoid=True)
