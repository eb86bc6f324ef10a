"""The authors' TransUNet keys.

The network written a second time, as plain functions on weights under those keys.

The second writing follows the paper's facts and shares nothing with gridgate.networks, so agreement
to rounding means that the network is the paper's, that each key goes to its own place, and that no
two alike are swapped.
"""

import pytest
import torch
from torch import Tensor

from gridgate.networks.official.transunet import rename
from gridgate.networks.transunet import TransUNet

from .transunet_reference import BACKBONE, GRID, TINY, Reference, release


def loaded(weights: dict[str, Tensor], spatial_dims: int) -> TransUNet:
    img_size = tuple(16 * tokens for tokens in GRID[:spatial_dims])
    net = TransUNet(spatial_dims, 1, 3, img_size=img_size, dropout_rate=0.0, **TINY).double()
    net.load_state_dict(rename(weights, img_size=img_size, **TINY), strict=True)
    return net.eval()


@pytest.mark.parametrize(
    "size",
    [
        (48, 32),
        (48, 32, 32),
        pytest.param((80, 16), id="another window"),
        pytest.param((16, 48, 32), id="another window in 3D"),
    ],
)
def test_agrees_with_an_independent_writing_under_the_authors_keys(size: tuple[int, ...]) -> None:
    weights = release(len(size))
    x = torch.randn(2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = loaded(weights, len(size))(x), Reference(weights)(x)
    assert ours.shape == (2, 3, *size)
    assert theirs.std() > 0.01
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def test_agrees_in_training_and_in_every_gradient() -> None:
    weights = release(2)
    net = loaded(weights, 2).train()
    leaves = {
        key: value.clone().requires_grad_()
        for key, value in weights.items()
        if value.dtype == torch.float64
    }
    x = torch.randn(2, 1, 48, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # the reference reads it through numpy, without a gradient
    key = "transformer.embeddings.position_embeddings"
    used = {k: v for k, v in leaves.items() if "running" not in k and k != key}
    theirs = dict(
        zip(
            used,
            torch.autograd.grad(
                Reference(leaves, training=True)(x).square().mean(), list(used.values())
            ),
            strict=True,
        )
    )
    parameters = {k: v for k, v in net.named_parameters() if k != "positions"}
    ours = dict(
        zip(
            parameters,
            torch.autograd.grad(net(x).square().mean(), list(parameters.values())),
            strict=True,
        )
    )
    expected = rename(theirs)
    assert expected.keys() == ours.keys()
    largest = max(g.abs().max() for g in theirs.values())
    for name, gradient in ours.items():
        assert (gradient - expected[name]).abs().max() <= 1e-9 * largest, name


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_key_is_renamed(spatial_dims: int) -> None:
    weights = release(spatial_dims, dtype=torch.float32)
    renamed = rename(weights)
    assert not renamed.keys() & weights.keys()
    # three tensors become one, for weight and bias in two layers
    assert len(renamed) == len(weights) - 2 * 2 * 2
    layer = "transformer.encoder.layer.1.attn"
    parts = [weights[f"{layer}.{part}.weight"] for part in ("query", "key", "value")]
    assert torch.equal(renamed["layers.1.attention.qkv.weight"], torch.cat(parts))


def test_unknown_and_incomplete_keys_stay_as_they_are() -> None:
    weights = release(2, dtype=torch.float32)
    del weights["transformer.encoder.layer.0.attn.key.weight"]
    strange = {
        "decoder.blocks.0.conv3.0.weight",
        f"{BACKBONE}.body.block4.unit1.conv1.weight",
        f"{BACKBONE}.body.block1.unit1.conv4.weight",
        "transformer.encoder.layer.0.attn.gate.weight",
        "module.decoder.conv_more.0.weight",
        "epoch",
    }
    renamed = rename({**weights, **dict.fromkeys(strange, torch.zeros(1))})
    left = {f"transformer.encoder.layer.0.attn.{part}.weight" for part in ("query", "value")}
    assert renamed.keys() & (weights.keys() | strange) == left | strange
    assert "layers.0.attention.qkv.weight" not in renamed
    assert "layers.0.attention.qkv.bias" in renamed
