"""unetr(): the paper's settings on MONAI's network."""

import pytest
import torch
from monai.networks.nets import UNETR

from gridgate.networks.unetr import AnyWindowUNETR, unetr

TINY = {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 2}


def test_parameter_count_at_the_papers_settings() -> None:
    """Counted by hand from the paper's figure.

    12 x 2 x 768 more (norm_cross_attn) are never used.
    """
    with torch.device("meta"):
        net = unetr(3, 1, 14)
    hidden, mlp, tokens, voxels = 768, 3072, 6**3, 16**3
    layer = 4 * hidden**2 + hidden + 2 * hidden * mlp + mlp + hidden + 2 * 2 * hidden
    vit = voxels * hidden + hidden + tokens * hidden + 12 * layer + 2 * hidden

    def residual(inside: int, outside: int) -> int:
        return (
            27 * inside * outside + 27 * outside**2 + (inside * outside if inside != outside else 0)
        )

    def up(inside: int, outside: int) -> int:
        return 8 * inside * outside

    encoders = residual(1, 16) + up(hidden, 32) + 2 * (up(32, 32) + residual(32, 32))
    encoders += up(hidden, 64) + up(64, 64) + residual(64, 64) + up(hidden, 128)
    decoders = sum(
        up(i, o) + residual(2 * o, o) for i, o in ((hidden, 128), (128, 64), (64, 32), (32, 16))
    )
    used = vit + encoders + decoders + 16 * 14 + 14
    assert used == 92_784_046
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == used
    assert sum(p.numel() for p in net.parameters()) == 92_802_478 == used + 12 * 2 * hidden


def test_every_trainable_parameter_gets_a_gradient() -> None:
    net = unetr(3, 1, 2, **TINY)
    net(torch.randn(1, 1, 32, 32, 32)).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None]
    assert [name for name, p in net.named_parameters() if not p.requires_grad] == without
    assert len(without) == 24 and all("norm_cross_attn" in name for name in without)


def test_keys_and_outputs_are_monais() -> None:
    torch.manual_seed(0)
    ours = unetr(3, 1, 2, **TINY).eval()
    theirs = UNETR(1, 2, (32, 32, 32), 2, 24, 48, 2, proj_type="perceptron", conv_block=True).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 1, 32, 32, 32)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize("projection", ["perceptron", "conv"])
def test_positions_of_another_window_are_interpolated(projection: str) -> None:
    """Against MONAI's own network of that window, given positions that were interpolated here."""
    torch.manual_seed(0)
    ours = AnyWindowUNETR(
        1,
        2,
        (32, 32, 48),
        feature_size=2,
        hidden_size=24,
        mlp_dim=48,
        num_heads=2,
        proj_type=projection,
    ).eval()
    size = (16, 48, 32)
    theirs = UNETR(1, 2, size, 2, 24, 48, 2, proj_type=projection).eval()
    weights = ours.state_dict()
    key = "vit.patch_embedding.position_embeddings"
    old = weights[key].view(2, 2, 3, 24).permute(3, 0, 1, 2)[None]
    new = torch.nn.functional.interpolate(
        old, size=(1, 3, 2), mode="trilinear", align_corners=False
    )
    theirs.load_state_dict(
        weights | {key: new[0].permute(1, 2, 3, 0).reshape(1, 6, 24)}, strict=True
    )
    x = torch.randn(2, 1, *size, dtype=torch.float64)
    expected = theirs.double()(x)
    assert (
        ours.double()(x) - expected
    ).abs().max() <= 1e-6 * expected.abs().max()  # MONAI's were float32 before


def test_other_sizes_are_padded_by_the_border_and_cropped() -> None:
    net = unetr(3, 1, 2, **TINY).eval()
    x = torch.randn(1, 1, 30, 32, 17)
    i, j, k = torch.arange(32).clamp(max=29), torch.arange(32), torch.arange(32).clamp(max=16)
    padded = x[:, :, i][:, :, :, j][:, :, :, :, k]
    assert torch.equal(net(x), net(padded)[:, :, :30, :, :17])
    assert net.divisor == (16, 16, 16)


def test_scripts_for_any_window() -> None:
    net = unetr(2, 1, 3, **TINY).eval()
    scripted = torch.jit.script(net)
    for size in ((32, 32), (48, 16), (20, 33)):
        x = torch.randn(1, 1, *size)
        torch.testing.assert_close(scripted(x), net(x))


def test_takes_two_dimensions_and_uneven_windows() -> None:
    net = unetr(2, 1, 3, **{**TINY, "img_size": (32, 48)}).eval()
    assert net(torch.randn(1, 1, 32, 48)).shape == (1, 3, 32, 48)


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="3 multiples of 16"):
        unetr(img_size=(96, 96, 90))
    with pytest.raises(ValueError, match="3 multiples of 16"):
        unetr(img_size=(96, 96))
    with pytest.raises(ValueError, match="multiple of num_heads"):
        unetr(hidden_size=100, num_heads=12)
