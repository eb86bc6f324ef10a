"""Networks by name."""

import pytest
import torch
from monai.networks.nets import UNETR

from gridgate.networks import AttentionUNet, UNet, build


def test_builds_by_name_with_options() -> None:
    net = build("attention_unet", out_channels=3, variant="ct_single", feature_scale=32)
    assert isinstance(net, AttentionUNet) and len(net.gate4.gates) == 1
    assert net.eval()(torch.zeros(1, 1, 16, 16, 16)).shape == (1, 3, 16, 16, 16)
    assert isinstance(build("unet", spatial_dims=2, in_channels=2, out_channels=2, feature_scale=32), UNet)
    tiny = {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 2}
    assert isinstance(build("unetr", out_channels=2, **tiny), UNETR)


def test_unknown_network_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(ValueError, match=r"'attention_unet'.*Known: attention_unet, unet, unetr") as caught:
        build("atention_unet", out_channels=2)
    assert "Did you mean 'attention_unet'" in str(caught.value)


def test_unknown_option_names_the_nearest_and_lists_all() -> None:
    with pytest.raises(ValueError, match=r"option of the network 'unet'.*Did you mean 'feature_scale'.*align_corners"):
        build("unet", out_channels=2, feature_scal=4)
    with pytest.raises(ValueError, match="Known"):
        build("unet", out_channels=2, qqqq=4)
