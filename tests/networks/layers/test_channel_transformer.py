"""The channel-wise cross fusion transformer (CCT).

Its attention, positions, embeddings and way back.
"""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.networks.layers.channel_transformer import (
    ChannelTransformer,
    Embedding,
    Layer,
    Reconstruction,
    attention_map,
    split_heads,
)


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64) * scale


def linear_weights(old: int, new: int) -> np.ndarray:
    """(new, old): linear interpolation between cell centres.

    The border held beyond the outer ones.
    """
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(old)))


@pytest.mark.parametrize(
    "scale", [1.0, 1e-2]
)  # at 1e-2 the eps is as large as the scores' variance
def test_attention_map_is_its_formula_in_numpy(scale: float) -> None:
    torch.manual_seed(0)
    query, key = normal(2, 3, 7, 4, scale=scale), normal(2, 3, 7, 10)
    expected = np.empty((2, 3, 4, 10))
    for b in range(2):
        for h in range(3):
            scores = query[b, h].numpy().T @ key[b, h].numpy() / np.sqrt(10)
            scores = (scores - scores.mean()) / np.sqrt(scores.var() + 1e-5)
            expected[b, h] = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(attention_map(query, key).numpy(), expected, rtol=1e-12)


def test_attention_rows_sum_to_one() -> None:
    torch.manual_seed(0)
    values = attention_map(normal(2, 4, 9, 8), normal(2, 4, 9, 30))
    assert values.shape == (2, 4, 8, 30) and values.min() > 0
    torch.testing.assert_close(
        values.sum(dim=3), torch.ones(2, 4, 8, dtype=torch.float64), rtol=0, atol=1e-14
    )


def test_a_factor_on_the_scores_cancels_in_the_instance_norm_up_to_eps() -> None:
    """So that 1 / sqrt(KV) might be left out: what differs is eps against the scores' variance."""
    torch.manual_seed(0)
    query, key = normal(2, 4, 50, 8), normal(2, 4, 50, 30)
    values, unscaled = attention_map(query, key), attention_map(query * 30**0.5, key)
    assert 0 < (values - unscaled).abs().max() < 1e-5
    large = [attention_map(query * factor, key) for factor in (1e4, 1e4 * 30**0.5)]
    torch.testing.assert_close(large[0], large[1], rtol=1e-12, atol=1e-14)


def test_tokens_permuted_together_leave_the_map_and_permute_the_output() -> None:
    torch.manual_seed(0)
    layer = Layer((4, 6), heads=2, expansion=2, dropout=0.1).double().eval()
    tokens = [normal(2, 12, 4), normal(2, 12, 6)]
    order = torch.randperm(12)
    with torch.no_grad():
        outputs, maps = layer(tokens)
        permuted, same = layer([t[:, order] for t in tokens])
        apart, others = layer([tokens[0], tokens[1][:, order]])
    for scale in range(2):
        torch.testing.assert_close(same[scale], maps[scale], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            permuted[scale], outputs[scale][:, order], rtol=1e-12, atol=1e-12
        )
        assert (
            others[scale] - maps[scale]
        ).abs().max() > 1e-3  # permuting one scale alone is something else
    assert (apart[0] - outputs[0]).abs().max() > 1e-3


def test_heads_are_full_width_and_averaged() -> None:
    """With the same weights in every head, four heads give what one gives."""
    torch.manual_seed(0)
    one = Layer((4, 6), heads=1, expansion=2, dropout=0.0).double()
    four = Layer((4, 6), heads=4, expansion=2, dropout=0.0).double()
    repeated = {
        k: torch.cat([v] * 4) if k.endswith(("key.weight", "value.weight", "query.weight")) else v
        for k, v in one.state_dict().items()
    }
    four.load_state_dict(repeated)
    tokens = [normal(2, 5, 4), normal(2, 5, 6)]
    for ours, theirs in zip(four(tokens)[0], one(tokens)[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    x = normal(1, 5, 12)
    torch.testing.assert_close(split_heads(x, 3)[:, 1], x[:, :, 4:8])


def test_embedding_is_a_product_a_patch_and_a_position() -> None:
    torch.manual_seed(0)
    net = Embedding(3, 3, (4, 2, 1), (2, 3, 4), dropout=0.1).double().eval()
    nn.init.normal_(net.position)
    x = normal(2, 3, 8, 6, 4)
    patches = x.numpy().reshape(
        2, 3, 2, 4, 3, 2, 4, 1
    )  # B, C, then token and place within it for each axis
    weight, bias = (
        net.get_parameter(f"patch.{name}").detach().numpy() for name in ("weight", "bias")
    )
    expected = np.einsum("bcxiyjzk,dcijk->bdxyz", patches, weight) + bias[:, None, None, None]
    expected = expected + net.position.detach().numpy()
    np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new"), [((2, 3), (4, 3)), ((2, 3, 5), (4, 2, 7)), ((4, 4, 1), (3, 4, 2))]
)
def test_positions_follow_the_token_grid_linearly(
    old: tuple[int, ...], new: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    net = Embedding(len(old), 3, (1,) * len(old), old, dropout=0.0).double()
    assert not net.position.any()  # zeros at the start
    nn.init.normal_(net.position)
    expected = net.position.detach().numpy()
    for axis, (a, b) in enumerate(zip(old, new, strict=True)):
        expected = np.moveaxis(
            np.tensordot(linear_weights(a, b), expected, axes=(1, axis + 2)), 0, axis + 2
        )
    for mode in (net.train(), net.eval()):
        np.testing.assert_allclose(
            mode.position_on(list(new)).detach().numpy(), expected, rtol=1e-12
        )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_positions_of_the_training_grid_are_untouched(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = Embedding(3, 5, (1, 1, 1), (6, 5, 3), dropout=0.0).to(dtype)
    nn.init.normal_(net.position)
    assert torch.equal(net.eval().position_on([6, 5, 3]), net.position)
    assert net.train().position_on([6, 5, 3]) is net.position


def test_reconstruction_repeats_each_token_over_its_voxels() -> None:
    torch.manual_seed(0)
    net = Reconstruction(2, 3, norm="batch").double().eval()
    nn.init.normal_(net.get_parameter("norm.weight"))
    tokens, skip = normal(2, 6, 3), normal(2, 3, 4, 12)
    t = tokens.numpy()
    t = (t - t.mean(-1, keepdims=True)) / np.sqrt(t.var(-1, keepdims=True) + 1e-6)
    t = t * net.get_parameter("norm.weight").detach().numpy()
    grid = t.reshape(2, 2, 3, 3).transpose(0, 3, 1, 2).repeat(2, axis=2).repeat(4, axis=3)
    weight, bias = (
        net.get_parameter(f"unit.conv.{name}").detach().numpy() for name in ("weight", "bias")
    )
    x = np.einsum("bcxy,dc->bdxy", grid, weight[:, :, 0, 0]) + bias[:, None, None]
    expected = skip.numpy() + np.maximum(
        x / np.sqrt(1 + 1e-5), 0
    )  # batch norm with its initial statistics
    np.testing.assert_allclose(
        net(tokens, [2, 3], skip).detach().numpy(), expected, rtol=1e-10, atol=1e-12
    )


def test_dropout_acts_in_training_only_and_leaves_the_reported_maps() -> None:
    torch.manual_seed(0)
    net = ChannelTransformer(
        2,
        (2, 4),
        [(4, 4), (2, 2)],
        (3, 2),
        layers=1,
        heads=2,
        embedding_dropout=0.0,
        attention_dropout=0.5,
    )
    features = [torch.randn(2, 2, 12, 8), torch.randn(2, 4, 6, 4)]
    first, maps = net(features)
    second, same = net(features)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(maps[0][1], same[0][1])
    net.eval()
    assert torch.equal(net(features)[0][0], net(features)[0][0])
    assert [f.shape for f in first] == [f.shape for f in features]


def test_maps_are_in_single_precision_and_products_within_halfs_range() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(1, 1, 4096, 8).abs() * 6, torch.randn(1, 1, 4096, 960).abs() * 6
    assert (query.transpose(2, 3) @ key).max() > 65504  # a half precision product would be infinite
    expected = attention_map(query.double(), key.double())
    for dtype, tolerance in ((torch.float16, 0.05), (torch.bfloat16, 0.4)):
        values = attention_map(query.to(dtype), key.to(dtype))
        assert values.dtype == torch.float32
        torch.testing.assert_close(values.sum(dim=3), torch.ones(1, 1, 8))
        torch.testing.assert_close(values.double(), expected, rtol=tolerance, atol=0)
