"""Channel-wise cross attention (CCA) against its formula in numpy."""

import numpy as np
import pytest
import torch

from gridgate.networks.layers.channel_attention import ChannelCrossAttention


def test_two_channels_by_hand() -> None:
    """Means 2 and 6 of the skip, 1 and 4 of the decoder.

    Both linear layers swap the channels, + 0.5 and - 1.
    """
    net = ChannelCrossAttention(2).double()
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    net.load_state_dict(
        {
            "from_skip.weight": swap,
            "from_skip.bias": torch.tensor([0.5, 0.5]),
            "from_decoder.weight": swap,
            "from_decoder.bias": torch.tensor([-1.0, -1.0]),
        }
    )
    skip = torch.tensor([[[[1.0, 3.0]], [[4.0, 8.0]]]], dtype=torch.float64)
    decoder = torch.tensor([[[[1.0, 1.0]], [[3.0, 5.0]]]], dtype=torch.float64)
    first = 1 / (1 + np.exp(-(6 + 0.5 + 4 - 1) / 2))
    second = 1 / (1 + np.exp(-(2 + 0.5 + 1 - 1) / 2))
    expected = [[[[1 * first, 3 * first]], [[4 * second, 8 * second]]]]
    np.testing.assert_allclose(net(skip, decoder).detach().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("spatial", [(3, 5), (3, 4, 2)])
def test_agrees_with_numpy_and_clips_below_zero(spatial: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net = ChannelCrossAttention(6).double()
    skip, decoder = (torch.randn(2, 6, *spatial, dtype=torch.float64) for _ in range(2))
    axes = tuple(range(2, 2 + len(spatial)))
    w = {key: value.numpy() for key, value in net.state_dict().items()}
    a = skip.numpy().mean(axis=axes) @ w["from_skip.weight"].T + w["from_skip.bias"]
    a = a + decoder.numpy().mean(axis=axes) @ w["from_decoder.weight"].T + w["from_decoder.bias"]
    scale = 1 / (1 + np.exp(-a / 2))
    expected = np.maximum(skip.numpy() * np.expand_dims(scale, axes), 0)
    np.testing.assert_allclose(
        net(skip, decoder).detach().numpy(), expected, rtol=1e-12, atol=1e-15
    )
    assert (expected == 0).any()
