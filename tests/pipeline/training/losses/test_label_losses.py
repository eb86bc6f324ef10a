"""The classes in MONAI's style: activations, reductions, ignored voxels, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import monai.losses
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.data.errors import ConfigError
from gridgate.pipeline.training.losses import (
    AttentionUNetDiceLoss,
    BalancedCrossEntropyLoss,
    BoundaryLoss,
    ComboLoss,
    CrossEntropyLoss,
    DiceFocalLoss,
    DistanceMapCrossEntropyLoss,
    ExponentialLogarithmicLoss,
    FocalLoss,
    FocalTverskyLoss,
    GeneralisedDiceLoss,
    HausdorffLoss,
    LogCoshDiceLoss,
    SensitivitySpecificityLoss,
    ShapeAwareLoss,
    SoftDiceLoss,
    StructuralSimilarityLoss,
    TverskyLoss,
    UCTransNetLoss,
    UNetPlusPlusLoss,
    build_loss,
)

from .test_formulas import WEIGHTS, case, dice_terms, focal_terms

Make = Callable[..., nn.Module]
SOFTMAX: dict[str, Any] = {"to_onehot_y": True, "softmax": True}
VOXELWISE: list[Make] = [
    AttentionUNetDiceLoss,
    BalancedCrossEntropyLoss,
    ComboLoss,
    CrossEntropyLoss,
    DiceFocalLoss,
    ExponentialLogarithmicLoss,
    FocalLoss,
    FocalTverskyLoss,
    GeneralisedDiceLoss,
    LogCoshDiceLoss,
    SensitivitySpecificityLoss,
    SoftDiceLoss,
    TverskyLoss,
    UCTransNetLoss,
    UNetPlusPlusLoss,
]
SPATIAL: list[Make] = [
    BoundaryLoss,
    DistanceMapCrossEntropyLoss,
    HausdorffLoss,
    ShapeAwareLoss,
    StructuralSimilarityLoss,
]
# Sums over labels, as cross-entropy is; the others take the mean of the labels.
SUMMED: list[Make] = [
    BalancedCrossEntropyLoss,
    CrossEntropyLoss,
    DistanceMapCrossEntropyLoss,
    FocalLoss,
    ShapeAwareLoss,
    UNetPlusPlusLoss,
]
FOREGROUND: list[Make] = [BoundaryLoss, HausdorffLoss]


def one_hot(labels: Tensor, channels: int) -> Tensor:
    """The labels (B, 1, *size) as masks (B, C, *size) in float64."""
    return torch.cat([labels == c for c in range(channels)], dim=1).double()


def approximately(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", ["softmax 3D", "softmax 2D", "softmax 3D missing"])
@pytest.mark.parametrize("gamma", [2.0, 1.5])
def test_focal_with_softmax_is_monais_times_the_labels(kind: str, gamma: float) -> None:
    c = case(kind)
    monais = monai.losses.FocalLoss(use_softmax=True, to_onehot_y=True, gamma=gamma)
    expected = 3 * monais(c.logits, c.labels).item()
    assert build_loss("focal", gamma=gamma)(c.logits, c.labels).item() == approximately(expected)


@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_with_sigmoid_is_monais(alpha: float | None) -> None:
    c = case("sigmoid 3D")
    expected = monai.losses.FocalLoss(gamma=2.0, alpha=alpha)(c.logits, c.labels.double()).item()
    found = build_loss("focal", sigmoid=True, alpha=alpha)(c.logits, c.labels).item()
    assert found == approximately(expected)


@pytest.mark.parametrize("kind", ["softmax 3D", "softmax 2D", "softmax 3D blobs"])
@pytest.mark.parametrize(
    ("name", "options", "monais"),
    [
        ("hausdorff", {"distance_weight": 1.0, "dice_weight": 0.0}, monai.losses.HausdorffDTLoss),
        ("dice", {}, monai.losses.DiceLoss),
        ("tversky", {}, monai.losses.TverskyLoss),
        (
            "boundary",
            {"distance_weight": 1.0, "dice_weight": 0.0},
            getattr(monai.losses, "BoundaryLoss", None),
        ),
    ],
)
def test_value_is_monais(name: str, options: dict[str, Any], monais: Any, kind: str) -> None:
    if monais is None:
        pytest.skip("this MONAI has no such loss")
    c = case(kind)
    known: dict[str, dict[str, Any]] = {
        "hausdorff": {"alpha": 2.0},
        "dice": {"smooth_nr": 1e-5, "smooth_dr": 1e-5},
        "tversky": {"alpha": 0.3, "beta": 0.7, "smooth_nr": 1e-5, "smooth_dr": 1e-5},
        "boundary": {"include_background": False},
    }
    expected = monais(softmax=True, to_onehot_y=True, **known[name])(c.logits, c.labels).item()
    assert build_loss(name, **options)(c.logits, c.labels).item() == approximately(expected)


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_reductions_are_of_the_windows_and_labels(make: Make) -> None:
    c = case("softmax 3D")
    none, mean, total = (
        make(reduction=reduction, **SOFTMAX)(c.logits, c.labels)
        for reduction in ("none", "mean", "sum")
    )
    labels = 1 if make is GeneralisedDiceLoss else 2 if make in FOREGROUND else 3
    assert none.shape == (2, labels)
    assert none.unique().numel() == none.numel()
    assert total.item() == approximately(none.sum().item())
    factor = labels if make in SUMMED else 1
    assert mean.item() == approximately(factor * none.mean().item())


def test_terms_of_dice_and_focal_lie_at_their_window_and_label() -> None:
    c = case("softmax 2D")
    terms = SoftDiceLoss(reduction="none", **SOFTMAX)(c.logits, c.labels)
    np.testing.assert_allclose(terms.numpy(), dice_terms(c), rtol=1e-6)
    terms = FocalLoss(reduction="none", **SOFTMAX)(c.logits, c.labels)
    np.testing.assert_allclose(terms.numpy(), focal_terms(c, 2.0), rtol=1e-6)


@pytest.mark.parametrize("make", [SoftDiceLoss, FocalLoss, TverskyLoss, CrossEntropyLoss])
def test_weight_is_a_factor_of_each_label(make: Make) -> None:
    c = case("softmax 2D")
    terms = make(reduction="none", **SOFTMAX)(c.logits, c.labels).numpy()
    expected = terms * np.array(WEIGHTS)
    for first in (0, 1):  # the background's weight stays in the list where it has no term
        loss = make(reduction="none", weight=WEIGHTS, include_background=first == 0, **SOFTMAX)
        found = loss(c.logits, c.labels).numpy()
        np.testing.assert_allclose(found, expected[:, first:], rtol=1e-6)


@pytest.mark.parametrize("make", [SoftDiceLoss, FocalLoss, TverskyLoss, CrossEntropyLoss])
def test_background_is_left_out_after_the_softmax(make: Make) -> None:
    c = case("softmax 3D")
    every = make(reduction="none", **SOFTMAX)(c.logits, c.labels)
    short = make(reduction="none", include_background=False, **SOFTMAX)(c.logits, c.labels)
    np.testing.assert_allclose(short.numpy(), every[:, 1:].numpy(), rtol=1e-9)


def test_monais_focal_loss_leaves_the_background_out_before_the_softmax() -> None:
    c = case("softmax 3D")
    options: dict[str, Any] = {"include_background": False, "to_onehot_y": True}
    ours = FocalLoss(softmax=True, **options)(c.logits, c.labels).item()
    monais = monai.losses.FocalLoss(use_softmax=True, **options)(c.logits, c.labels).item()
    assert ours == approximately(focal_terms(c, 2.0)[:, 1:].sum(axis=1).mean())
    p = c.logits[:, 1:].softmax(dim=1)
    before = -one_hot(c.labels, 3)[:, 1:] * (1 - p) ** 2 * p.log()
    assert monais == approximately(before.mean().item())
    assert abs(ours - 2 * monais) > 0.01 * ours


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_a_one_hot_target_gives_the_value_of_labels(make: Make) -> None:
    c = case("softmax 3D")
    expected = make(**SOFTMAX)(c.logits, c.labels).item()
    assert make(softmax=True)(c.logits, one_hot(c.labels, 3)).item() == approximately(expected)


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_probabilities_are_those_of_labels_one_by_one(make: Make) -> None:
    c = case("softmax 3D")
    y, p = one_hot(c.labels, 3), torch.from_numpy(c.p)
    expected = make(sigmoid=True)(p.logit(), y).item()
    assert make()(p, y).item() == approximately(expected)


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_probabilities_of_one_channel_give_the_value_of_logits(make: Make) -> None:
    c = case("sigmoid 2D blobs")
    y = c.labels.double()
    expected = make(sigmoid=True)(c.logits, c.labels).item()
    assert make()(torch.from_numpy(c.p), y).item() == approximately(expected)


def test_sigmoid_channels_may_overlap() -> None:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 5, 4, generator=draw, dtype=torch.float64)
    y = torch.randint(0, 2, logits.shape, generator=draw).double()
    assert (y.sum(dim=1) > 1).any()
    p = 1 / (1 + (-logits).exp())
    each = [
        1 - (2 * (p * y)[b, k].sum() + 1e-5) / (p[b, k].sum() + y[b, k].sum() + 1e-5)
        for b in range(2)
        for k in range(2)
    ]
    found = SoftDiceLoss(sigmoid=True, reduction="none")(logits, y)
    np.testing.assert_allclose(found.flatten().numpy(), np.array(each), rtol=1e-6)


def with_ignored(kind: str) -> tuple[Tensor, Tensor, slice]:
    """Logits, labels with a slab of negative ones, and what is left along the first axis."""
    c = case(kind)
    labels = c.labels.clone()
    labels[:, :, :2] = -1
    return c.logits, labels, slice(2, None)


@pytest.mark.parametrize("kind", ["softmax 3D", "softmax 2D", "sigmoid 3D"])
@pytest.mark.parametrize("make", VOXELWISE)
def test_value_is_of_the_window_without_its_ignored_voxels(make: Make, kind: str) -> None:
    logits, labels, left = with_ignored(kind)
    options: dict[str, Any] = {"sigmoid": True} if "sigmoid" in kind else SOFTMAX
    for reduction in ("none", "mean"):
        loss = make(reduction=reduction, **options)
        found, cut = loss(logits, labels), loss(logits[:, :, left], labels[:, :, left])
        np.testing.assert_allclose(found.numpy(), cut.numpy(), rtol=1e-6)


@pytest.mark.parametrize("make", [SoftDiceLoss, CrossEntropyLoss, FocalLoss, TverskyLoss])
def test_each_window_ignores_its_own_voxels(make: Make) -> None:
    c = case("softmax 3D")
    labels = c.labels.clone()
    labels[0, :, :, 3:] = -1
    labels[1, :, :1] = -100
    loss = make(reduction="none", **SOFTMAX)
    found = loss(c.logits, labels)
    for b, cut in ((0, np.s_[:1, :, :, :3]), (1, np.s_[1:, :, 1:])):
        np.testing.assert_allclose(found[b], loss(c.logits[cut], labels[cut])[0], rtol=1e-6)


@pytest.mark.parametrize("kind", ["softmax 3D", "softmax 3D blobs", "sigmoid 3D"])
@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_predictions_at_ignored_voxels_change_nothing(make: Make, kind: str) -> None:
    logits, labels, left = with_ignored(kind)
    loss = make(**({"sigmoid": True} if "sigmoid" in kind else SOFTMAX))
    changed = logits.clone()
    changed[:, :, :2] = 5 * changed[:, :, :2].flip(1).neg() + 1
    changed.requires_grad_()
    found = loss(changed, labels)
    assert found.item() == approximately(loss(logits, labels).item())
    (gradient,) = torch.autograd.grad(found, changed)
    assert gradient[:, :, :2].abs().max() == 0
    assert gradient[:, :, left].abs().max() > 0


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_bfloat16_logits_give_a_float32_loss(make: Make) -> None:
    c = case("softmax 3D")
    loss = make(**SOFTMAX)
    found = loss(c.logits.bfloat16(), c.labels)
    assert found.dtype == torch.float32
    rounded = loss(c.logits.bfloat16().float(), c.labels)
    assert rounded.dtype == torch.float32
    assert found.item() == pytest.approx(rounded.item(), rel=1e-5)
    assert found.item() == pytest.approx(loss(c.logits.float(), c.labels).item(), rel=0.02)


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
@pytest.mark.parametrize(
    "options",
    [
        {"reduction": "median"},
        {"softmax": True, "sigmoid": True},
        {"weight": [1.0, 2.0]},
        {"weight": [1.0, 2.0, 3.0, 4.0]},
    ],
    ids=str,
)
def test_wrong_options_are_config_errors(make: Make, options: dict[str, Any]) -> None:
    c = case("softmax 2D")
    with pytest.raises(ConfigError):
        make(**{**SOFTMAX, **options})(c.logits, c.labels)


@pytest.mark.parametrize("shape", [(2, 1, 7, 5), (1, 1, 7, 6), (2, 2, 7, 6), (2, 1, 7, 6, 1)])
@pytest.mark.parametrize("onehot", [True, False])
def test_target_of_another_shape_is_a_config_error(shape: tuple[int, ...], onehot: bool) -> None:
    c = case("softmax 2D")
    for make in VOXELWISE + SPATIAL:
        with pytest.raises(ConfigError):
            make(softmax=True, to_onehot_y=onehot)(c.logits, torch.zeros(shape))


@pytest.mark.parametrize("make", VOXELWISE + SPATIAL)
def test_certain_probabilities_have_gradients(make: Make) -> None:
    """As a sigmoid has them in float32 from a logit of 17 on: exactly 0 and 1."""
    c = case("sigmoid 2D blobs")
    p = torch.from_numpy(c.p).clone()
    p[..., 0], p[..., 1] = 0.0, 1.0
    p.requires_grad_()
    loss = make()(p, c.labels.double())
    assert torch.isfinite(loss)
    (gradient,) = torch.autograd.grad(loss, p)
    assert torch.isfinite(gradient).all()


def test_weights_follow_the_format_and_are_made_once() -> None:
    c = case("softmax 3D")
    loss = VOXELWISE[0](**SOFTMAX, weight=[1.0, 2.0, 0.5])
    first = loss(c.logits, c.labels)
    kept = loss._made_weights
    assert loss(c.logits, c.labels) == first and loss._made_weights is kept
    assert loss(c.logits.float(), c.labels).item() == pytest.approx(first.item(), rel=1e-5)
