"""UCTransNet against an own functional writing.

From its facts and in the authors' names, over renamed weights.
"""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn import functional as f

from gridgate.networks.official.uctransnet import rename
from gridgate.networks.uctransnet import UCTransNet


def published(
    spatial_dims: int = 2,
    *,
    window: Sequence[int] = (32, 32),
    patch: int = 16,
    width: int = 2,
    layers: int = 2,
    heads: int = 3,
    expansion: int = 4,
) -> dict[str, Tensor]:
    """A state dict with the authors' keys and shapes and random values (1 channel in.

    1 class), double.
    """
    torch.manual_seed(0)
    widths = [width, 2 * width, 4 * width, 8 * width]
    together = sum(widths)
    state: dict[str, Tensor] = {}

    def put(name: str, *shape: int, scale: float, around: float = 0.0) -> None:
        state[name] = torch.randn(*shape, dtype=torch.float64) * scale + around

    def conv(name: str, inside: int, outside: int, kernel: int) -> None:
        put(
            f"{name}.weight",
            outside,
            inside,
            *[kernel] * spatial_dims,
            scale=(inside * kernel**spatial_dims) ** -0.5,
        )
        put(f"{name}.bias", outside, scale=0.3)

    def linear(name: str, inside: int, outside: int, *, bias: bool = True) -> None:
        put(f"{name}.weight", outside, inside, scale=inside**-0.5)
        if bias:
            put(f"{name}.bias", outside, scale=0.3)

    def norm(name: str, channels: int, *, batch: bool = False) -> None:
        put(f"{name}.weight", channels, scale=0.2, around=1.0)
        put(f"{name}.bias", channels, scale=0.2)
        if batch:
            put(f"{name}.running_mean", channels, scale=0.2)
            state[f"{name}.running_var"] = torch.rand(channels, dtype=torch.float64) + 0.5
            state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def unit(name: str, inside: int, outside: int, kernel: int = 3) -> None:
        conv(f"{name}.conv", inside, outside, kernel)
        norm(f"{name}.norm", outside, batch=True)

    unit("inc", 1, width)
    for k, (inside, outside) in enumerate(
        zip(widths, [*widths[1:], widths[3]], strict=True), start=1
    ):
        unit(f"down{k}.nConvs.0", inside, outside)
        unit(f"down{k}.nConvs.1", outside, outside)
    tokens = math.prod(size // patch for size in window)
    for i, channels in enumerate(widths, start=1):
        conv(f"mtc.embeddings_{i}.patch_embeddings", channels, channels, patch // 2 ** (i - 1))
        put(f"mtc.embeddings_{i}.position_embeddings", 1, tokens, channels, scale=0.5)
        norm(f"mtc.encoder.encoder_norm{i}", channels)
        unit(f"mtc.reconstruct_{i}", channels, channels, 1)
    for layer in range(layers):
        start = f"mtc.encoder.layer.{layer}"
        norm(f"{start}.attn_norm", together)
        for h in range(heads):
            linear(f"{start}.channel_attn.key.{h}", together, together, bias=False)
            linear(f"{start}.channel_attn.value.{h}", together, together, bias=False)
        for i, channels in enumerate(widths, start=1):
            norm(f"{start}.attn_norm{i}", channels)
            norm(f"{start}.ffn_norm{i}", channels)
            for h in range(heads):
                linear(f"{start}.channel_attn.query{i}.{h}", channels, channels, bias=False)
            linear(f"{start}.channel_attn.out{i}", channels, channels, bias=False)
            linear(f"{start}.ffn{i}.fc1", channels, expansion * channels)
            linear(f"{start}.ffn{i}.fc2", expansion * channels, channels)
    for k, (channels, outside) in enumerate(
        zip(widths, [width, width, 2 * width, 4 * width], strict=True), start=1
    ):
        linear(f"up{k}.coatt.mlp_x.1", channels, channels)
        linear(f"up{k}.coatt.mlp_g.1", channels, channels)
        unit(f"up{k}.nConvs.0", 2 * channels, outside)
        unit(f"up{k}.nConvs.1", outside, outside)
    conv("outc", width, 1, 1)
    return state


class Reference:
    """The network as plain arithmetic, one head and one scale at a time."""

    def __init__(
        self, state: dict[str, Tensor], *, patch: int, layers: int, heads: int, training: bool
    ) -> None:
        self.state, self.patch, self.layers, self.heads, self.training = (
            state,
            patch,
            layers,
            heads,
            training,
        )

    def conv(self, x: Tensor, name: str, *, stride: int = 1) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
        run = f.conv3d if x.dim() == 5 else f.conv2d
        return run(
            x, weight, bias, stride=stride, padding=weight.shape[-1] // 2 if stride == 1 else 0
        )

    def unit(self, x: Tensor, name: str) -> Tensor:
        x = self.conv(x, f"{name}.conv")
        shape = [1, -1] + [1] * (x.dim() - 2)
        if self.training:
            axes = [0, *range(2, x.dim())]
            mean, var = x.mean(axes, keepdim=True), x.var(axes, correction=0, keepdim=True)
        else:
            mean = self.state[f"{name}.norm.running_mean"].view(shape)
            var = self.state[f"{name}.norm.running_var"].view(shape)
        x = (x - mean) / (var + 1e-5).sqrt()
        return (
            x * self.state[f"{name}.norm.weight"].view(shape)
            + self.state[f"{name}.norm.bias"].view(shape)
        ).clamp(min=0)

    def two_units(self, x: Tensor, name: str) -> Tensor:
        return self.unit(self.unit(x, f"{name}.nConvs.0"), f"{name}.nConvs.1")

    def pool(self, x: Tensor) -> Tensor:
        for axis in range(2, x.dim()):
            x = x.unflatten(axis, (-1, 2)).amax(axis + 1)
        return x

    def enlarge(self, x: Tensor, factor: int) -> Tensor:
        for axis in range(2, x.dim()):
            x = x.repeat_interleave(factor, dim=axis)
        return x

    def linear(self, x: Tensor, name: str) -> Tensor:
        y = x @ self.state[f"{name}.weight"].T
        return y + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else y

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def layer(self, tokens: list[Tensor], name: str) -> tuple[list[Tensor], list[list[Tensor]]]:
        everything = self.layer_norm(torch.cat(tokens, dim=2), f"{name}.attn_norm")
        outputs, maps = [], []
        for i, t in enumerate(tokens, start=1):
            own = self.layer_norm(t, f"{name}.attn_norm{i}")
            contexts, probabilities = [], []
            for h in range(self.heads):
                query = self.linear(own, f"{name}.channel_attn.query{i}.{h}")
                key = self.linear(everything, f"{name}.channel_attn.key.{h}")
                value = self.linear(everything, f"{name}.channel_attn.value.{h}")
                scores = torch.einsum("bnc,bnk->bck", query, key) / math.sqrt(key.shape[2])
                mean, var = (
                    scores.mean((1, 2), keepdim=True),
                    scores.var((1, 2), correction=0, keepdim=True),
                )
                scores = ((scores - mean) / (var + 1e-5).sqrt()).exp()
                probabilities.append(scores / scores.sum(2, keepdim=True))
                contexts.append(torch.einsum("bck,bnk->bnc", probabilities[-1], value))
            t = t + self.linear(sum(contexts) / self.heads, f"{name}.channel_attn.out{i}")
            inner = self.linear(self.layer_norm(t, f"{name}.ffn_norm{i}"), f"{name}.ffn{i}.fc1")
            inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
            outputs.append(t + self.linear(inner, f"{name}.ffn{i}.fc2"))
            maps.append(probabilities)
        return outputs, maps

    def up(self, skip: Tensor, deeper: Tensor, name: str) -> Tensor:
        deeper = self.enlarge(deeper, 2)
        axes = list(range(2, skip.dim()))
        a = self.linear(skip.mean(axes), f"{name}.coatt.mlp_x.1")
        a = (a + self.linear(deeper.mean(axes), f"{name}.coatt.mlp_g.1")) / 2
        scale = (1 / (1 + (-a).exp())).view(*a.shape, *[1] * len(axes))
        return self.two_units(torch.cat([(skip * scale).clamp(min=0), deeper], dim=1), name)

    def __call__(self, x: Tensor) -> tuple[Tensor, list[list[list[Tensor]]]]:
        skips = [self.unit(x, "inc")]
        for k in (1, 2, 3):
            skips.append(self.two_units(self.pool(skips[-1]), f"down{k}"))
        bottom = self.two_units(self.pool(skips[-1]), "down4")
        grid = [size // self.patch for size in x.shape[2:]]
        tokens = []
        for i, skip in enumerate(skips, start=1):
            embedded = self.conv(
                skip, f"mtc.embeddings_{i}.patch_embeddings", stride=self.patch // 2 ** (i - 1)
            )
            tokens.append(
                embedded.flatten(2).mT + self.state[f"mtc.embeddings_{i}.position_embeddings"]
            )
        maps = []
        for layer in range(self.layers):
            tokens, of_layer = self.layer(tokens, f"mtc.encoder.layer.{layer}")
            maps.append(of_layer)
        fused = []
        for i, (skip, t) in enumerate(zip(skips, tokens, strict=True), start=1):
            t = self.layer_norm(t, f"mtc.encoder.encoder_norm{i}")
            cells = self.enlarge(t.mT.reshape(*skip.shape[:2], *grid), self.patch // 2 ** (i - 1))
            fused.append(self.unit(cells, f"mtc.reconstruct_{i}") + skip)
        for k in (4, 3, 2, 1):
            bottom = self.up(fused[k - 1], bottom, f"up{k}")
        return self.conv(bottom, "outc"), maps


CASES = [
    (2, (32, 32), 16, 2),
    (2, (48, 80), 16, 3),
    (3, (32, 16, 48), 16, 2),
    (3, (32, 32, 16), 8, 1),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("spatial_dims", "window", "patch", "heads"), CASES)
def test_agrees_with_an_independent_writing(
    spatial_dims: int, window: tuple[int, ...], patch: int, heads: int, training: bool
) -> None:
    state = published(spatial_dims, window=window, patch=patch, heads=heads)
    size = {"img_size": window, "patch_size": patch, "heads": heads, "layers": 2, "width": 2}
    net = UCTransNet(
        spatial_dims, 1, 1, embedding_dropout=0.0, attention_dropout=0.0, **size
    ).double()
    net.load_state_dict(rename(state, spatial_dims=spatial_dims, **size))
    x = torch.randn(2, 1, *window, dtype=torch.float64)
    with torch.no_grad():
        ours, our_maps = net.train(training).attend(x)
        theirs, maps = Reference(state, patch=patch, layers=2, heads=heads, training=training)(x)
    assert ours.shape == (2, 1, *window)
    assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()
    assert len(our_maps) == 8
    for layer in range(2):
        for scale in range(4):
            expected = torch.stack(maps[layer][scale], dim=1)
            torch.testing.assert_close(
                our_maps[f"layer{layer + 1}.scale{scale + 1}"], expected, rtol=1e-9, atol=1e-12
            )


def test_agrees_in_every_gradient() -> None:
    state = published(2, window=(32, 48))
    size = {"img_size": (32, 48), "layers": 2, "heads": 3, "width": 2}
    net = UCTransNet(2, 1, 1, embedding_dropout=0.0, attention_dropout=0.0, **size).double().train()
    net.load_state_dict(rename(state, spatial_dims=2, **size))
    leaves = {
        k: v.clone().requires_grad_()
        for k, v in state.items()
        if v.is_floating_point() and "running" not in k
    }
    x = torch.randn(2, 1, 32, 48, dtype=torch.float64)
    net(x).square().mean().backward()
    Reference(leaves, patch=16, layers=2, heads=3, training=True)(x)[0].square().mean().backward()
    theirs = rename(
        {k: v.grad for k, v in leaves.items() if v.grad is not None}, spatial_dims=2, **size
    )
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None
        assert (parameter.grad - theirs[name]).abs().max() <= 1e-9 * largest, name


def test_published_size_is_renamed_in_full() -> None:
    with torch.device("meta"):
        state = published(2, window=(224, 224), width=64, layers=4, heads=4)
        state["inc.conv.weight"] = torch.empty(64, 3, 3, 3)
        net = UCTransNet(2, 3, 1)
    renamed = rename(state, spatial_dims=2)
    assert {k: v.shape for k, v in renamed.items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }


def test_what_does_not_fit_is_left_to_be_seen() -> None:
    state = published(2, window=(32, 32))
    state["inc.conv.extra.weight"] = state["up5.nConvs.0.conv.weight"] = torch.zeros(1)
    del state["mtc.encoder.layer.1.channel_attn.key.2.weight"]
    options = {"spatial_dims": 2, "img_size": (48, 48), "width": 2, "layers": 2, "heads": 3}
    renamed = rename(state, **options)
    with torch.device("meta"):
        own = UCTransNet(in_channels=1, out_channels=1, **options).state_dict()
    assert own.keys() - renamed.keys() == {"transformer.layers.1.key.weight"}
    assert renamed.keys() - own.keys() == {
        "inc.conv.extra.weight",
        "up5.nConvs.0.conv.weight",
        "mtc.encoder.layer.1.channel_attn.key.0.weight",
        "mtc.encoder.layer.1.channel_attn.key.1.weight",
    }
    assert renamed["transformer.embeddings.0.position"].shape == (
        1,
        4,
        2,
    )  # a window of 48 has 9 tokens, not 4
