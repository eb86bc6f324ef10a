"""Weights of the UNet++ authors' releases, built here in their naming, in our networks."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gridgate.networks import build
from gridgate.networks.official import convert
from gridgate.networks.official.unet_plus_plus import rename
from gridgate.networks.unet_plus_plus import UNetPlusPlus

Shapes = dict[str, tuple[int, ...]]


def filled(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def same(module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> bool:
    """The module holds exactly the tensors whose keys begin with ``prefix``, in its own order."""
    theirs = [value for key, value in tensors.items() if key.startswith(prefix)]
    ours = list(module.state_dict().values())
    return len(ours) == len(theirs) > 0 and all(
        torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )


def paper_shapes(filters: tuple[int, ...], in_channels: int, classes: int) -> Shapes:
    """Keys and shapes of the 2D paper form: rows and columns from 1, dense wiring."""
    shapes: Shapes = {}
    levels = len(filters)
    for c in range(1, levels + 1):
        for r in range(1, levels + 2 - c):
            width = filters[r - 1]
            seen = width * c if c > 1 else (in_channels if r == 1 else filters[r - 2])
            if c > 1:
                shapes[f"up{r}{c}.weight"] = (filters[r], width, 2, 2)
                shapes[f"up{r}{c}.bias"] = (width,)
            shapes[f"conv{r}{c}_1.weight"] = (width, seen, 3, 3)
            shapes[f"conv{r}{c}_1.bias"] = (width,)
            shapes[f"conv{r}{c}_2.weight"] = (width, width, 3, 3)
            shapes[f"conv{r}{c}_2.bias"] = (width,)
    for d in range(1, levels):
        shapes[f"output_{d}.weight"] = (classes, filters[0], 1, 1)
        shapes[f"output_{d}.bias"] = (classes,)
    return shapes


def test_paper_form_loads_and_every_node_has_its_own_weights() -> None:
    theirs = filled(paper_shapes((2, 3, 4, 5, 6), 2, 3))
    net = UNetPlusPlus(2, 2, 3, filters=(2, 3, 4, 5, 6))
    net.load_state_dict(rename(theirs, filters=(2, 3, 4, 5, 6)))  # strict
    assert same(net.encoder[2], theirs, "conv31_")
    assert same(net.decoder["0_4"].up, theirs, "up15")
    assert same(net.decoder["1_2"].second, theirs, "conv23_2")
    assert same(net.heads["3"], theirs, "output_3")


def later_shapes(
    base: int, in_channels: int, classes: int, cap: int = 320, *, batch_norm: bool = False
) -> Shapes:
    """Keys and shapes of the 3D PyTorch form, level by level: five down-samplings.

    Norms stand under "instnorm" whatever they are; batch norms have running statistics as well.
    """
    shapes: Shapes = {}
    widths = [min(base * 2**level, cap) for level in range(6)]

    def unit(key: str, width: int, seen: int) -> None:
        shapes[f"{key}.conv.weight"] = (width, seen, 3, 3, 3)
        shapes[f"{key}.conv.bias"] = (width,)
        shapes[f"{key}.instnorm.weight"] = (width,)
        shapes[f"{key}.instnorm.bias"] = (width,)
        if batch_norm:
            shapes[f"{key}.instnorm.running_mean"] = (width,)
            shapes[f"{key}.instnorm.running_var"] = (width,)
            shapes[f"{key}.instnorm.num_batches_tracked"] = ()

    for level in range(5):
        unit(
            f"conv_blocks_context.{level}.blocks.0",
            widths[level],
            widths[level - 1] if level else in_channels,
        )
        unit(f"conv_blocks_context.{level}.blocks.1", widths[level], widths[level])
    unit("conv_blocks_context.5.0.blocks.0", widths[5], widths[4])
    unit("conv_blocks_context.5.1.blocks.0", widths[5], widths[5])
    for k in range(5):
        for j in range(5 - k):
            level = 4 - k - j
            unit(
                f"loc{k}.{j}.0.blocks.0", widths[level], widths[level] * (j + 2)
            )  # j + 1 of its level, and the up
            unit(f"loc{k}.{j}.1.blocks.0", widths[level], widths[level])
            shapes[f"up{k}.{j}.weight"] = (widths[level + 1], widths[level], 2, 2, 2)
    for m in range(5):
        shapes[f"seg_outputs.{m}.weight"] = (classes, widths[0], 1, 1, 1)
    return shapes


def test_later_form_loads_and_every_node_has_its_own_weights() -> None:
    theirs = filled(later_shapes(1, 2, 3, cap=10))
    net = UNetPlusPlus(3, 2, 3, filters=(1, 2, 4, 8, 10, 10))
    net.load_state_dict(rename(theirs))  # strict
    assert same(net.encoder[0], theirs, "conv_blocks_context.0.")
    assert same(net.encoder[5], theirs, "conv_blocks_context.5.")
    # X^{4-k-j, j+1}
    for k, j, node in ((0, 0, "4_1"), (0, 4, "0_5"), (2, 1, "1_2"), (3, 1, "0_2"), (4, 0, "0_1")):
        assert same(net.decoder[node].up, theirs, f"up{k}.{j}."), node
        units = nn.ModuleList([net.decoder[node].first, net.decoder[node].second])
        assert same(units, theirs, f"loc{k}.{j}."), node
    assert same(net.heads["5"], theirs, "seg_outputs.0") and same(
        net.heads["1"], theirs, "seg_outputs.4"
    )


def test_later_form_with_batch_norm_keeps_the_running_statistics() -> None:
    theirs = filled(later_shapes(1, 2, 3, cap=10, batch_norm=True))
    for number, key in enumerate(key for key in theirs if key.endswith("num_batches_tracked")):
        theirs[key] = torch.tensor(number + 7)  # a counter of each norm, none of them 0
    options = {"form": "later", "norm": "batch", "filters": (1, 2, 4, 8, 10, 10)}
    found, missing, unexpected = convert("unet_plus_plus", theirs, **options)
    assert missing == [] and unexpected == []
    net = UNetPlusPlus(3, 2, 3, **options)
    net.load_state_dict(found)  # strict
    assert same(net.encoder[0], theirs, "conv_blocks_context.0.")
    assert same(net.encoder[5], theirs, "conv_blocks_context.5.")
    for k, j, node in ((0, 0, "4_1"), (0, 4, "0_5"), (2, 1, "1_2")):
        units = nn.ModuleList([net.decoder[node].first, net.decoder[node].second])
        assert same(units, theirs, f"loc{k}.{j}."), node


@pytest.mark.parametrize("name", ["unet_plus_plus", "unet_plus", "unet_e", "unet"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_no_statistic_of_the_family_is_lost(name: str, spatial_dims: int) -> None:
    """Our keys written back in the release's naming, then converted: every tensor comes back."""
    options: dict[str, Any] = {"norm": "batch", "filters": (2, 3, 4)}
    options |= {"form": "zhou_later" if name == "unet" else "later"}
    own = build(name, spatial_dims=spatial_dims, out_channels=3, **options).state_dict()
    own = {key: value + number for number, (key, value) in enumerate(own.items())}
    theirs = {in_the_releases_naming(key, levels=2): value for key, value in own.items()}
    assert len(theirs) == len(own)
    found, missing, unexpected = convert(name, theirs, spatial_dims=spatial_dims, **options)
    assert missing == [] and unexpected == [] and found.keys() == own.keys()
    assert all(torch.equal(found[key], own[key]) for key in own)


def in_the_releases_naming(key: str, *, levels: int) -> str:
    place, _, what = key.rpartition(".")
    part, name, *rest = place.replace(".norm", ".instnorm").split(".")
    if part == "heads":
        return f"seg_outputs.{levels - int(name)}.{what}"
    unit = {"first": "0", "second": "1"}.get(rest[0], "")
    if part == "encoder" and int(name) == levels:
        return f"conv_blocks_context.{name}.{unit}.blocks.0.{rest[1]}.{what}"
    if part == "encoder":
        return f"conv_blocks_context.{name}.blocks.{unit}.{rest[1]}.{what}"
    level, column = map(int, name.split("_"))
    diagonal = f"{levels - level - column}.{column - 1}"
    if rest == ["up"]:
        return f"up{diagonal}.{what}"
    return f"loc{diagonal}.{unit}.blocks.0.{rest[1]}.{what}"


def test_later_form_has_the_published_size() -> None:
    shapes = later_shapes(32, 1, 3)
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == 45_966_784
    with torch.device("meta"):
        ours = UNetPlusPlus(3, 1, 3).state_dict()
        theirs = rename({key: torch.empty(shape) for key, shape in shapes.items()})
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.items()
    }


@pytest.mark.parametrize(
    "key", ["conv1_1.weight", "conv11_3.weight", "conv01_1.weight", "output_4", "epoch"]
)
def test_keys_that_the_paper_form_has_not_stay(key: str) -> None:
    assert list(rename({key: torch.zeros(1)})) == [key]


@pytest.mark.parametrize(
    "key",
    [
        "conv_blocks_context.0.blocks.2.conv.weight",
        "loc3.2.0.blocks.0.conv.bias",
        "up5.0.weight",
        "seg_outputs.5.weight",
    ],
)
def test_keys_that_the_later_form_has_not_stay(key: str) -> None:
    theirs = filled(later_shapes(1, 1, 2))
    assert rename({**theirs, key: torch.zeros(1)}).keys() == rename(theirs).keys() | {key}


class Channels:
    """U-Net of depth 1 in Keras' layout, arrays (X, Y, C).

    Kernels (3, 3, in, out), transposed (2, 2, out, in).
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self.weights = weights

    def conv(self, x: np.ndarray, layer: str, *, relu: bool = True) -> np.ndarray:
        kernel, bias = (
            self.weights[f"{layer}/{layer}/kernel:0"],
            self.weights[f"{layer}/{layer}/bias:0"],
        )
        border = kernel.shape[0] // 2
        padded = np.pad(x, ((border, border), (border, border), (0, 0)))
        out = np.zeros((*x.shape[:2], kernel.shape[3])) + bias
        for i in range(kernel.shape[0]):
            for j in range(kernel.shape[1]):
                out += padded[i : i + x.shape[0], j : j + x.shape[1]] @ kernel[i, j]
        return np.maximum(out, 0) if relu else out

    def up(self, x: np.ndarray, layer: str) -> np.ndarray:
        kernel, bias = (
            self.weights[f"{layer}/{layer}/kernel:0"],
            self.weights[f"{layer}/{layer}/bias:0"],
        )
        out = np.zeros((2 * x.shape[0], 2 * x.shape[1], kernel.shape[2]))
        for i in range(2):
            for j in range(2):
                out[i::2, j::2] = x @ kernel[i, j].T + bias
        return out

    def node(self, x: np.ndarray, name: str) -> np.ndarray:
        return self.conv(self.conv(x, f"conv{name}_1"), f"conv{name}_2")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        x11 = self.node(x, "11")
        pooled = x11.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2, -1).max(axis=(1, 3))
        x21 = self.node(pooled, "21")
        x12 = self.node(np.concatenate([self.up(x21, "up12"), x11], axis=2), "12")
        return self.conv(x12, "output_1", relu=False)


def test_keras_kernels_are_turned() -> None:
    rng = np.random.default_rng(0)
    weights = {}
    for key, shape in paper_shapes((2, 3), 2, 3).items():
        layer, kind = key.split(".")
        # both kinds of kernel: the two spatial axes first, then PyTorch's channel axes exchanged
        turned = (*shape[2:], shape[1], shape[0]) if kind == "weight" else shape
        weights[f"{layer}/{layer}/{'kernel' if kind == 'weight' else 'bias'}:0"] = rng.normal(
            size=turned
        )
    net = UNetPlusPlus(2, 2, 3, filters=(2, 3)).double().eval()
    net.load_state_dict(rename({key: torch.from_numpy(value) for key, value in weights.items()}))
    x = rng.normal(size=(6, 8, 2))
    theirs = Channels(weights)(x)
    with torch.no_grad():
        ours = net(torch.from_numpy(x).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).max() <= 1e-9 * np.abs(theirs).max()
