"""Checkpoints of the authors' releases under our names."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gridgate.networks import AttentionUNet, UNet, build, official
from gridgate.networks.unetr import unetr

CT = ("ct_multi", "ct_single")


class Published:
    """A state dict in the authors' naming, from the key patterns of their release.

    Weights are random.
    """

    def __init__(self, filters: tuple[int, ...], in_channels: int, kernel: tuple[int, ...]) -> None:
        self.weights: dict[str, Tensor] = {}
        self.filters, self.in_channels, self.kernel = filters, in_channels, kernel
        torch.manual_seed(0)

    def conv(
        self,
        key: str,
        outside: int,
        inside: int,
        kernel: tuple[int, ...] = (1, 1, 1),
        bias: bool = True,
    ) -> None:
        self.weights[f"{key}.weight"] = torch.randn(outside, inside, *kernel)
        if bias:
            self.weights[f"{key}.bias"] = torch.randn(outside)

    def unit(
        self, key: str, outside: int, inside: int, kernel: tuple[int, ...] = (1, 1, 1)
    ) -> None:
        self.conv(f"{key}.0", outside, inside, kernel)
        for part in ("weight", "bias", "running_mean"):
            self.weights[f"{key}.1.{part}"] = torch.randn(outside)
        self.weights[f"{key}.1.running_var"] = torch.rand(outside) + 0.5

    def block(self, key: str, outside: int, inside: int) -> None:
        self.unit(f"{key}.conv1", outside, inside, self.kernel)
        self.unit(f"{key}.conv2", outside, outside, self.kernel)

    def unet(self) -> "Published":
        widths = self.filters
        for level, (inside, outside) in enumerate(
            zip((self.in_channels, *widths[:3]), widths[:4], strict=True)
        ):
            self.block(f"conv{level + 1}", outside, inside)
        self.block("center", widths[4], widths[3])
        for level in (4, 3, 2, 1):
            self.block(
                f"up_concat{level}.conv", widths[level - 1], widths[level - 1] + widths[level]
            )
        return self

    def gate(self, key: str, inside: int, gating: int) -> None:
        self.conv(f"{key}.theta", inside, inside, (2, 2, 2), bias=False)
        self.conv(f"{key}.phi", inside, gating)
        self.conv(f"{key}.psi", 1, inside)
        self.unit(f"{key}.W", inside, inside)

    def gates(self, variant: str) -> "Published":
        widths, early = self.filters, variant == "grid_gating"
        signal = widths[3] if early else widths[4]
        self.unit("gating.conv1", signal, widths[4])
        for level in (4, 3, 2):
            inside = widths[level - 1]
            gating = signal if early or level == 4 else widths[level]
            count = {"ct_multi": 2, "ct_single": 1, "grid_gating": 0}[variant]
            for number in range(count):
                self.gate(f"attentionblock{level}.gate_block_{number + 1}", inside, gating)
            if early:
                self.gate(f"attentionblock{level}", inside, gating)
            else:
                self.unit(f"attentionblock{level}.combine_gates", inside, count * inside)
        return self

    def heads(self, classes: int, *, fused: bool) -> "Published":
        if fused:
            for level in (4, 3, 2):
                self.conv(f"dsv{level}.dsv.0", classes, self.filters[level - 1])
            self.conv("dsv1", classes, self.filters[0])
        self.conv("final", classes, 4 * classes if fused else self.filters[0])
        return self


WIDTHS = (3, 4, 5, 6, 7)


@pytest.mark.parametrize("variant", [*CT, "grid_gating"])
def test_attention_unet_loads_what_was_published(variant: str) -> None:
    kernel = (3, 3, 1) if variant == "grid_gating" else (3, 3, 3)
    published = (
        Published(WIDTHS, 2, kernel).unet().gates(variant).heads(3, fused=variant in CT).weights
    )
    renamed, missing, unexpected = official.convert(
        "attention_unet", published, variant=variant, filters=WIDTHS
    )
    assert missing == [] and unexpected == []
    net = AttentionUNet(3, 2, 3, variant=variant, filters=WIDTHS)
    net.load_state_dict(renamed, strict=True)
    # each tensor went to its own place: widths differ by level, so those of one shape are told
    # apart here
    first = "gates.0." if variant in CT else ""
    block = "gate_block_1." if first else ""
    for ours, theirs in {
        "down3.second.conv.weight": "conv3.conv2.0.weight",
        "bottom.first.norm.running_mean": "center.conv1.1.running_mean",
        "gating_signal.norm.bias": "gating.conv1.1.bias",
        f"gate2.{first}theta.weight": f"attentionblock2.{block}theta.weight",
        f"gate4.{first}output.norm.weight": f"attentionblock4.{block}W.1.weight",
        "up1.block.second.norm.running_var": "up_concat1.conv.conv2.1.running_var",
    }.items():
        assert torch.equal(net.state_dict()[ours], published[theirs])
    heads = {
        "head.level4.bias": "dsv4.dsv.0.bias",
        "head.level1.bias": "dsv1.bias",
        "head.fuse.bias": "final.bias",
    }
    for ours, theirs in (heads if variant in CT else {"head.level1.bias": "final.bias"}).items():
        assert torch.equal(net.state_dict()[ours], published[theirs])
    if variant == "ct_multi":
        second = net.state_dict()["gate3.gates.1.psi.weight"]
        assert torch.equal(second, published["attentionblock3.gate_block_2.psi.weight"])


def test_unet_loads_what_was_published_whatever_it_is_wrapped_in() -> None:
    published = Published(WIDTHS, 1, (3, 3, 3)).unet().heads(4, fused=True).weights
    expected, missing, unexpected = official.convert("unet", published, filters=WIDTHS)
    assert missing == [] and unexpected == []
    UNet(3, 1, 4, filters=WIDTHS).load_state_dict(expected, strict=True)
    parallel = {f"module.{key}": value for key, value in published.items()}
    for wrapped in (
        parallel,
        {"state_dict": published, "epoch": 3},
        {"model": parallel, "optimizer": {"state": {}}},
        {"model": {"state_dict": parallel}},
    ):
        found, missing, unexpected = official.convert("unet", wrapped, filters=WIDTHS)
        assert missing == [] and unexpected == [] and found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())


def test_what_is_missing_and_left_over_is_named() -> None:
    published = Published(WIDTHS, 1, (3, 3, 3)).unet().heads(4, fused=True).weights
    del published["conv2.conv1.0.bias"], published["dsv1.weight"]
    published["something.else"] = torch.zeros(1)
    found, missing, unexpected = official.convert("unet", published, filters=WIDTHS)
    assert missing == ["down2.first.conv.bias", "head.level1.weight"]
    assert unexpected == ["something.else"] and "something.else" not in found


def test_another_shape_is_an_error_with_both() -> None:
    published = Published(WIDTHS, 1, (3, 3, 3)).unet().heads(4, fused=True).weights
    with pytest.raises(
        ValueError, match=r"down2.*\(4, 3, 3, 3, 3\) in the checkpoint and \(32, 3, 3, 3, 3\)"
    ):
        official.convert("unet", published, filters=(3, 32, 5, 6, 7))
    with pytest.raises(
        ValueError, match=r"\(3, 1, 3, 3, 3\) in the checkpoint and \(3, 2, 3, 3, 3\)"
    ):
        official.convert("unet", published, in_channels=2, filters=WIDTHS)
    with pytest.raises(ValueError, match="2 spatial axes"):
        official.convert(
            "unet", published, spatial_dims=2, in_channels=1, out_channels=4, filters=WIDTHS
        )


@pytest.mark.parametrize(
    ("state_dict", "text"),
    [
        ({}, "no tensors"),
        ({"epoch": 3}, "epoch"),
        ({"model": torch.nn.Linear(1, 1)}, "whole module"),
    ],
)
def test_what_holds_no_tensors_is_refused(state_dict: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        official.convert("unet", state_dict)


def test_unknown_names_are_named() -> None:
    with pytest.raises(ValueError, match="'attention_unet'"):
        official.convert("atention_unet", {"a": torch.zeros(1)}, in_channels=1, out_channels=1)
    with pytest.raises(ValueError, match="in_channels cannot be read off the checkpoint"):
        official.convert("unet", {"bottom.first.conv.bias": torch.zeros(256)}, out_channels=1)


def test_unetr_of_before_the_unused_norms_loads() -> None:
    tiny = {"img_size": 32, "hidden_size": 24, "mlp_dim": 48, "num_heads": 2, "feature_size": 2}
    net = unetr(3, 1, 3, **tiny)
    old = {key: value for key, value in net.state_dict().items() if "norm_cross_attn" not in key}
    old["vit.patch_embedding.cls_token"] = torch.zeros(1, 1, 24)  # MONAI had it then, unused
    found, missing, unexpected = official.convert("unetr", old, **tiny)
    assert missing == [] and unexpected == ["vit.patch_embedding.cls_token"]
    other = unetr(3, 1, 3, **tiny)
    other.load_state_dict(found, strict=True)
    x = torch.randn(1, 1, 32, 32, 32)
    assert torch.equal(net.eval()(x), other.eval()(x))


@pytest.mark.parametrize(
    "name", ["unet_plus_plus", "uctransnet", "transfuse", "transunet", "wide_unet", "UNet"]
)
def test_channels_are_read_off_our_own_keys_of_any_network(name: str) -> None:
    options: dict[str, Any] = (
        {"img_size": 32} if name in ("uctransnet", "transfuse", "transunet") else {}
    )
    with torch.device("meta"):
        weights = build(name, spatial_dims=2, in_channels=3, out_channels=5, **options).state_dict()
    found, missing, unexpected = official.convert(name, weights, spatial_dims=2, **options)
    assert missing == [] and unexpected == [] and found.keys() == weights.keys()


def test_the_plain_unet_of_the_unet_plus_plus_paper_has_that_papers_names() -> None:
    published: dict[str, Tensor] = {}

    def conv(key: str, outside: int, inside: int, kernel: int) -> None:
        published[f"{key}.weight"] = torch.randn(outside, inside, kernel, kernel)
        published[f"{key}.bias"] = torch.randn(outside)

    widths = (2, 3, 4, 5, 6)
    for row, (inside, outside) in enumerate(zip((1, *widths[:4]), widths, strict=True)):
        conv(f"conv{row + 1}1_1", outside, inside, 3)
        conv(f"conv{row + 1}1_2", outside, outside, 3)
    conv("output", 1, widths[0], 1)  # a single head has no number
    names, _, unexpected = official.convert(
        "unet",
        published,
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        form="zhou",
        filters=widths,
    )
    with torch.device("meta"):
        net = build("unet", spatial_dims=2, out_channels=1, form="zhou", filters=widths)
    assert unexpected == []
    assert {key for key in net.state_dict() if key.startswith(("encoder", "heads"))} == set(names)


def test_channels_that_no_size_tells_are_asked_for_and_the_others_still_read() -> None:
    # TransUNet makes three channels of one, so its first convolution does not tell
    with torch.device("meta"):
        weights = build(
            "transunet", spatial_dims=2, in_channels=1, out_channels=5, img_size=32
        ).state_dict()
    found, missing, unexpected = official.convert(
        "transunet", weights, spatial_dims=2, in_channels=1, img_size=32
    )
    assert missing == [] and unexpected == [] and found.keys() == weights.keys()
    with pytest.raises(ValueError, match=r"weight has the shape .* in the checkpoint"):
        official.convert("transunet", weights, spatial_dims=2, in_channels=5, img_size=32)
    with pytest.raises(ValueError, match="in_channels cannot be read"):
        official.convert("unet", {"head.level1.bias": torch.zeros(2)}, out_channels=2)


def test_another_networks_tensors_and_what_is_no_state_dict_are_told() -> None:
    weights = {
        "inc.conv.weight": torch.zeros(4, 1, 3, 3),
        "mtc.encoder.encoder_norm1.weight": torch.zeros(4),
    }
    with pytest.raises(
        ValueError, match=r"none of the 2 tensors is unetr's, the first is 'inc\.conv"
    ):
        official.convert("unetr", weights)
    with pytest.raises(ValueError, match=r"a state dict is wanted, .*, not str"):
        official.convert("unetr", "model.pth")  # type: ignore[arg-type]
