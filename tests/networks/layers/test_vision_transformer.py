"""The transformer block against formulas and torch's own encoder layer.

Positions against numbers by hand.
"""

import math

import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.layers.vision_transformer import (
    TransformerBlock,
    VisionTransformer,
    resize_positions,
)


def stirred(module: nn.Module, seed: int = 0) -> nn.Module:
    """In double precision, with no weight left at 0 or 1."""
    torch.manual_seed(seed)
    for parameter in module.double().parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.eval()


def normed(x: Tensor, norm: nn.Module, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * norm.weight + norm.bias
    )


@pytest.mark.parametrize("eps", [1e-6, 1e-2])
def test_block_is_the_formula(eps: float) -> None:
    block = stirred(TransformerBlock(12, 3, 20, eps=eps))
    x = 0.1 * torch.randn(2, 5, 12, dtype=torch.float64)
    w = dict(block.named_parameters())

    qkv = (
        normed(x, block.get_submodule("norm1"), eps) @ w["attention.qkv.weight"].T
        + w["attention.qkv.bias"]
    )
    mixed = torch.zeros_like(x)
    for head in range(3):  # channels 0..11 are queries, 12..23 keys, 24..35 values, four a head
        q, k, v = (qkv[..., 12 * part + 4 * head : 12 * part + 4 * head + 4] for part in range(3))
        scores = (q @ k.transpose(1, 2) / math.sqrt(4)).exp()
        mixed[..., 4 * head : 4 * head + 4] = scores / scores.sum(-1, keepdim=True) @ v
    y = x + mixed @ w["attention.proj.weight"].T + w["attention.proj.bias"]
    hidden = (
        normed(y, block.get_submodule("norm2"), eps) @ w["mlp.fc1.weight"].T + w["mlp.fc1.bias"]
    )
    hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    expected = y + hidden @ w["mlp.fc2.weight"].T + w["mlp.fc2.bias"]
    torch.testing.assert_close(block(x), expected, rtol=1e-11, atol=1e-11)


def test_block_is_torchs_pre_norm_encoder_layer() -> None:
    block = stirred(TransformerBlock(16, 4, 24))
    layer = nn.TransformerEncoderLayer(
        16, 4, 24, 0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).double()
    names = {
        "self_attn.in_proj_": "attention.qkv.",
        "self_attn.out_proj.": "attention.proj.",
        "linear1.": "mlp.fc1.",
        "linear2.": "mlp.fc2.",
    }
    theirs = {}
    for name in layer.state_dict():
        ours = name
        for old, new in names.items():
            ours = ours.replace(old, new)
        theirs[name] = block.state_dict()[ours]
    layer.load_state_dict(theirs)
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    torch.testing.assert_close(block(x), layer(x), rtol=1e-10, atol=1e-10)


def test_dropout_is_for_training_only_and_zeroes_single_values() -> None:
    torch.manual_seed(0)
    block = TransformerBlock(16, 4, 24, dropout=0.5)
    x = torch.randn(1, 400, 16)
    kept = []
    block.attention.register_forward_hook(
        lambda module, inputs, output: kept.append((output != 0).float().mean())
    )
    block.mlp.register_forward_hook(
        lambda module, inputs, output: kept.append((output != 0).float().mean())
    )
    block(x)
    assert kept[0].item() == pytest.approx(0.5, abs=0.03) and kept[1].item() == pytest.approx(
        0.5, abs=0.03
    )
    block.eval()
    assert torch.equal(block(x), block(x))


def test_width_must_be_a_multiple_of_heads() -> None:
    with pytest.raises(ValueError, match="multiple of its heads"):
        TransformerBlock(10, 3, 20)


def test_positions_by_hand() -> None:
    """A row of 0 and 3 stretched to four.

    With corners aligned 0, 1, 2, 3, else the ends stand still.
    """
    positions = torch.tensor([0.0, 3.0, 10.0, 13.0]).reshape(1, 4, 1)
    aligned = resize_positions(positions, [2, 2], [2, 4], True)
    assert aligned.flatten().tolist() == pytest.approx([0, 1, 2, 3, 10, 11, 12, 13], abs=1e-5)
    centred = resize_positions(positions, [2, 2], [2, 4], False)
    assert centred.flatten().tolist() == pytest.approx(
        [0, 0.75, 2.25, 3, 10, 10.75, 12.25, 13], abs=1e-5
    )


def test_positions_that_are_linear_stay_linear_in_three_dimensions() -> None:
    def ramp(grid: tuple[int, ...]) -> Tensor:
        axes = torch.meshgrid(*[torch.linspace(0, 1, n) for n in grid], indexing="ij")
        return torch.stack([axis.flatten() for axis in axes], dim=-1)[None]

    found = resize_positions(ramp((2, 3, 4)), [2, 3, 4], [5, 4, 3], True)
    torch.testing.assert_close(found, ramp((5, 4, 3)), rtol=1e-5, atol=1e-6)


def test_positions_of_the_same_grid_stay_and_others_are_checked() -> None:
    positions = torch.randn(1, 6, 3)
    assert resize_positions(positions, [2, 3], [2, 3], True) is positions
    with pytest.raises(ValueError, match="7 position embeddings"):
        resize_positions(torch.randn(1, 7, 3), [2, 3], [4, 4], True)
    with pytest.raises(ValueError, match="as many axes"):
        resize_positions(positions, [2, 3], [4, 4, 4], True)


def test_vit_puts_tokens_back_where_they_come_from() -> None:
    """With blocks that add nothing.

    A voxel of the map is the norm of its own patch's projection and position.
    """
    net = stirred(VisionTransformer(3, 1, (8, 12, 4), patch=4, width=6, depth=1, heads=2))
    for block in net.blocks:
        for linear in (block.attention.proj, block.mlp.fc2):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)
    x = torch.randn(1, 1, 8, 12, 4, dtype=torch.float64)
    found = net(x)
    assert found.shape == (1, 6, 2, 3, 1)
    for i in range(2):
        for j in range(3):
            patch = x[0, 0, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            token = (
                (net.patches.weight[:, 0] * patch).sum((1, 2, 3))
                + net.patches.bias
                + net.positions[0, 3 * i + j]
            )
            torch.testing.assert_close(found[0, :, i, j, 0], normed(token, net.norm, 1e-6))


def test_vit_takes_other_windows() -> None:
    net = stirred(VisionTransformer(2, 2, (32, 48), patch=16, width=8, depth=2, heads=2))
    x = torch.randn(1, 2, 64, 48, dtype=torch.float64)
    own = VisionTransformer(2, 2, (64, 48), patch=16, width=8, depth=2, heads=2).double().eval()
    positions = resize_positions(net.positions, [2, 3], [4, 3], True)
    own.load_state_dict({**net.state_dict(), "positions": positions})
    torch.testing.assert_close(net(x), own(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("img_size", [(32,), (32, 40), (0, 32)])
def test_bad_windows_are_named(img_size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="2 multiples of the patch, 16"):
        VisionTransformer(2, 1, img_size)
