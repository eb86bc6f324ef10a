"""What every network in the registry promises, in 3D, at tiny widths.

Shapes, gradients, number formats, training.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from gridgate.data.phantom.phantom import make_phantom
from gridgate.pipeline.models.devices import cpu_has_bfloat16
from gridgate.pipeline.training.engine.passes.small_maps import SmallMapsInFloat32
from gridgate.pipeline.training.losses import build_loss

from .tiny_networks import CLASSES, TINY, every_network, heads, noise, stirred, tiny

SLOW_IN_HALF = {"SwinUNETR", "VNet", "wide_unet"}


@every_network
def test_shapes_heads_and_gradients(name: str) -> None:
    net, tried = tiny(name), TINY[name]
    assert len(net.divisor) == 3 and all(
        size % d == 0 for size, d in zip(tried.window, net.divisor, strict=True)
    )
    x = noise(name)
    outputs = heads(net, x)
    weights = getattr(net, "head_weights", (1.0,))
    assert len(outputs) == len(weights) and sum(weights) == pytest.approx(1) and min(weights) > 0
    assert outputs[0].shape == (2, CLASSES, *tried.window)
    for output in outputs:
        assert output.shape[:2] == (2, CLASSES)
        assert all(
            whole % part == 0 for whole, part in zip(tried.window, output.shape[2:], strict=True)
        )
    sum(w * output.square().mean() for w, output in zip(weights, outputs, strict=True)).backward()
    wanting = {key for key, p in net.named_parameters() if p.requires_grad}
    assert wanting
    without = {
        key for key, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()
    }
    assert without.isdisjoint(wanting)


@every_network
def test_eval_is_one_tensor_deterministic_and_for_any_window(name: str) -> None:
    net, tried = stirred(name), TINY[name]
    x = noise(name)
    with torch.no_grad():
        once, again = net(x), net(x)
        assert isinstance(once, Tensor) and once.shape == (2, CLASSES, *tried.window)
        assert torch.equal(once, again) and once.isfinite().all() and once.std() > 0
        # a case does not depend on those beside it
        torch.testing.assert_close(net(x[:1]), once[:1], rtol=1e-4, atol=1e-5)
        assert all(size % d == 0 for size, d in zip(tried.other, net.divisor, strict=True))
        assert net(torch.randn(1, 1, *tried.other)).shape == (1, CLASSES, *tried.other)


@every_network
def test_bfloat16_forward_and_backward_are_finite(name: str) -> None:
    if name in SLOW_IN_HALF and not cpu_has_bfloat16():
        pytest.skip("10 to 27 s on a CPU without bfloat16")
    net, x = tiny(name), noise(name, batch=TINY[name].cases)
    # as the trainer does; CPUs without bfloat16 have only oneDNN's reference loops, which take
    # minutes
    with torch.backends.mkldnn.flags(enabled=cpu_has_bfloat16()):
        with torch.autocast("cpu", torch.bfloat16), SmallMapsInFloat32():
            outputs = heads(net, x)
        loss = sum(output.float().square().mean() for output in outputs)
        loss.backward()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            half = net.eval()(x[:1])
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    assert half.dtype == torch.bfloat16 and half.float().isfinite().all()


@pytest.mark.parametrize("name", sorted(set(TINY) - SLOW_IN_HALF))
def test_float16_logits_are_those_of_float32_within_its_precision(name: str) -> None:
    net, x = tiny(name).eval(), noise(name, batch=1)
    with torch.no_grad():
        exact = net(x)
        with torch.autocast("cpu", torch.float16):
            half = net(x)
    assert half.dtype == torch.float16
    assert (half.float() - exact).abs().max() < 0.02 * exact.abs().max()


def phantom_batch(window: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Two phantoms on a coarse grid of the window's size.

    Labels: background, liver, the other organs.
    """
    images, labels = [], []
    for seed in (0, 1):
        phantom = make_phantom(seed, shape=window, orientation="RAS", oblique_degrees=0.0)
        images.append(np.clip(phantom.image / 200, -1, 1))
        labels.append(np.minimum(phantom.labels, 2))
    return torch.tensor(np.stack(images)[:, None]), torch.tensor(np.stack(labels)[:, None]).long()


@every_network
def test_at_most_thirty_steps_on_a_phantom_lower_the_loss(name: str) -> None:
    net, tried = tiny(name).train(), TINY[name]
    x, labels = phantom_batch(tried.window)
    assert labels.unique().tolist() == [0, 1, 2]
    weights = getattr(net, "head_weights", (1.0,))
    loss_of = build_loss("dice_ce", deep_supervision_weights=weights if len(weights) > 1 else None)
    x, labels = x[: tried.cases], labels[: tried.cases]
    optimizer = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], lr=5e-3, fused=True
    )
    losses: list[float] = []
    while len(losses) < 6 or np.mean(losses[-3:]) >= 0.9 * np.mean(losses[:3]):
        assert len(losses) < 30, losses
        loss = loss_of(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        assert np.isfinite(losses[-1]), losses
