"""TransUNet written a second time, as plain functions on weights under the authors' keys.

It follows the paper's facts and shares nothing with gridgate.networks.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as f

TINY = {
    "stem_width": 4,
    "groups": 2,
    "units": (2, 1, 3),
    "hidden_size": 12,
    "num_layers": 2,
    "num_heads": 3,
    "mlp_dim": 20,
    "decoder_widths": (10, 8, 6, 5, 4),
}


BACKBONE = "transformer.embeddings.hybrid_model"


GRID = (3, 2, 2)


def release(
    spatial_dims: int, *, classes: int = 3, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor]:
    """A state dict in the authors' naming with the shapes that TINY must have.

    No number in it is 0 or 1.
    """
    generator = torch.Generator().manual_seed(0)
    weights: dict[str, Tensor] = {}

    def put(key: str, *shape: int, about: float = 0.0, spread: float = 0.3) -> None:
        weights[key] = about + spread * torch.randn(*shape, generator=generator, dtype=dtype)

    def conv(key: str, inside: int, outside: int, kernel: int, *, bias: bool = False) -> None:
        put(
            f"{key}.weight",
            outside,
            inside,
            *(kernel,) * spatial_dims,
            spread=(inside * kernel**2) ** -0.5,
        )
        if bias:
            put(f"{key}.bias", outside)

    def norm(key: str, channels: int, *, batch: bool = False) -> None:
        put(f"{key}.weight", channels, about=1.0)
        put(f"{key}.bias", channels)
        if batch:
            put(f"{key}.running_mean", channels)
            weights[f"{key}.running_var"] = 0.5 + torch.rand(
                channels, generator=generator, dtype=dtype
            )
            weights[f"{key}.num_batches_tracked"] = torch.tensor(7)

    def linear(key: str, inside: int, outside: int) -> None:
        put(f"{key}.weight", outside, inside, spread=inside**-0.5)
        put(f"{key}.bias", outside)

    conv(f"{BACKBONE}.root.conv", 3, 4, 7)
    norm(f"{BACKBONE}.root.gn", 4)
    inside = 4
    for block, (count, outside) in enumerate(((2, 16), (1, 32), (3, 64)), start=1):
        for unit in range(1, count + 1):
            key, middle = f"{BACKBONE}.body.block{block}.unit{unit}", outside // 4
            for part, (a, b, kernel) in enumerate(
                ((inside, middle, 1), (middle, middle, 3), (middle, outside, 1)), 1
            ):
                conv(f"{key}.conv{part}", a, b, kernel)
                norm(f"{key}.gn{part}", b)
            if unit == 1:
                conv(f"{key}.downsample", inside, outside, 1)
                norm(f"{key}.gn_proj", outside)
            inside = outside
    conv("transformer.embeddings.patch_embeddings", 64, 12, 1, bias=True)
    put(
        "transformer.embeddings.position_embeddings",
        1,
        math.prod(GRID[:spatial_dims]),
        12,
        spread=1.0,
    )
    for layer in range(2):
        key = f"transformer.encoder.layer.{layer}"
        norm(f"{key}.attention_norm", 12)
        norm(f"{key}.ffn_norm", 12)
        linear(f"{key}.ffn.fc1", 12, 20)
        linear(f"{key}.ffn.fc2", 20, 12)
        for part in ("query", "key", "value", "out"):
            linear(f"{key}.attn.{part}", 12, 12)
    norm("transformer.encoder.encoder_norm", 12)
    conv("decoder.conv_more.0", 12, 10, 3)
    norm("decoder.conv_more.1", 10, batch=True)
    for block, (deeper, skip, width) in enumerate(((10, 32, 8), (8, 16, 6), (6, 4, 5), (5, 0, 4))):
        for part, channels in (("conv1", deeper + skip), ("conv2", width)):
            conv(f"decoder.blocks.{block}.{part}.0", channels, width, 3)
            norm(f"decoder.blocks.{block}.{part}.1", width, batch=True)
    conv("segmentation_head.0", 4, classes, 3, bias=True)
    return weights


class Reference:
    """The network of TINY's depth with weights in the authors' naming.

    2D or 3D by the rank of its input.
    """

    def __init__(self, weights: dict[str, Tensor], *, training: bool = False) -> None:
        self.weights, self.training = weights, training

    def affine(self, x: Tensor, key: str) -> Tensor:
        shape = (1, -1) + (1,) * (x.dim() - 2)
        return x * self.weights[f"{key}.weight"].view(shape) + self.weights[f"{key}.bias"].view(
            shape
        )

    def conv(self, x: Tensor, key: str, *, stride: int = 1, standard: bool = False) -> Tensor:
        weight = self.weights[f"{key}.weight"]
        if standard:
            flat = weight.flatten(1)
            flat = (flat - flat.mean(1, keepdim=True)) / (
                flat.var(1, keepdim=True, unbiased=False) + 1e-5
            ).sqrt()
            weight = flat.view_as(weight)
        function: Callable[..., Tensor] = f.conv3d if x.dim() == 5 else f.conv2d
        return function(
            x, weight, self.weights.get(f"{key}.bias"), stride=stride, padding=weight.shape[-1] // 2
        )

    def group_norm(self, x: Tensor, key: str, groups: int, eps: float) -> Tensor:
        each = x.reshape(x.shape[0], groups, -1)
        each = (each - each.mean(2, keepdim=True)) / (
            each.var(2, keepdim=True, unbiased=False) + eps
        ).sqrt()
        return self.affine(each.view_as(x), key)

    def layer_norm(self, x: Tensor, key: str) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
        return x * self.weights[f"{key}.weight"] + self.weights[f"{key}.bias"]

    def linear(self, x: Tensor, key: str) -> Tensor:
        return x @ self.weights[f"{key}.weight"].T + self.weights[f"{key}.bias"]

    def unit(self, x: Tensor, key: str, stride: int) -> Tensor:
        y = x
        for part in (1, 2, 3):
            y = self.conv(y, f"{key}.conv{part}", stride=stride if part == 2 else 1, standard=True)
            y = self.group_norm(y, f"{key}.gn{part}", 2, 1e-6)
            if part < 3:
                y = y.clamp(min=0)
        if f"{key}.downsample.weight" in self.weights:
            x = self.conv(x, f"{key}.downsample", stride=stride, standard=True)
            x = self.group_norm(x, f"{key}.gn_proj", x.shape[1], 1e-5)
        return (x + y).clamp(min=0)

    def attention(self, x: Tensor, key: str) -> Tensor:
        query, keys, value = (self.linear(x, f"{key}.{part}") for part in ("query", "key", "value"))
        out = torch.empty_like(x)
        for head in range(3):
            own = slice(4 * head, 4 * head + 4)
            scores = (
                query[..., own] @ keys[..., own].transpose(1, 2) / 2
            ).exp()  # 2 is the root of 4 channels
            out[..., own] = scores / scores.sum(-1, keepdim=True) @ value[..., own]
        return self.linear(out, f"{key}.out")

    def positions(self, grid: tuple[int, ...]) -> Tensor:
        """Interpolated by numpy, an axis after the other.

        First token on first token and last on last.
        """
        p = (
            self.weights["transformer.embeddings.position_embeddings"]
            .detach()
            .numpy()
            .reshape(*GRID[: len(grid)], 12)
        )
        for axis, new in enumerate(grid):
            old = p.shape[axis]
            at = np.linspace(0, old - 1, new)
            p = np.apply_along_axis(
                lambda line, at=at, old=old: np.interp(at, np.arange(old), line), axis, p
            )
        return torch.from_numpy(p.reshape(1, -1, 12))

    def decoder_unit(self, x: Tensor, key: str) -> Tensor:
        x = self.conv(x, f"{key}.0")
        shape = (1, -1) + (1,) * (x.dim() - 2)
        mean, var = self.weights[f"{key}.1.running_mean"], self.weights[f"{key}.1.running_var"]
        if self.training:
            axes = [0, *range(2, x.dim())]
            mean, var = x.mean(axes), x.var(axes, unbiased=False)
        x = (x - mean.view(shape)) / (var.view(shape) + 1e-5).sqrt()
        return self.affine(x, f"{key}.1").clamp(min=0)

    def __call__(self, x: Tensor) -> Tensor:
        axes = x.dim() - 2
        half = self.conv(
            x.repeat(1, 3, *(1,) * axes), f"{BACKBONE}.root.conv", stride=2, standard=True
        )
        half = self.group_norm(half, f"{BACKBONE}.root.gn", 2, 1e-6).clamp(min=0)
        y = (f.max_pool3d if axes == 3 else f.max_pool2d)(half, 3, 2)
        maps = []
        for block, (count, stride) in enumerate(((2, 1), (1, 2), (3, 2)), start=1):
            for unit in range(1, count + 1):
                y = self.unit(
                    y, f"{BACKBONE}.body.block{block}.unit{unit}", stride if unit == 1 else 1
                )
            maps.append(y)
        quarter = x.new_zeros(*maps[0].shape[:2], *(size // 4 for size in x.shape[2:]))
        quarter[(..., *(slice(size) for size in maps[0].shape[2:]))] = maps[0]

        y = self.conv(y, "transformer.embeddings.patch_embeddings")
        grid = tuple(y.shape[2:])
        tokens = y.flatten(2).transpose(1, 2)
        assert tokens.shape[1] == math.prod(grid)
        tokens = tokens + self.positions(grid)
        for layer in range(2):
            key = f"transformer.encoder.layer.{layer}"
            tokens = tokens + self.attention(
                self.layer_norm(tokens, f"{key}.attention_norm"), f"{key}.attn"
            )
            inner = self.linear(self.layer_norm(tokens, f"{key}.ffn_norm"), f"{key}.ffn.fc1")
            inner = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
            tokens = tokens + self.linear(inner, f"{key}.ffn.fc2")
        tokens = self.layer_norm(tokens, "transformer.encoder.encoder_norm")

        y = self.decoder_unit(
            tokens.transpose(1, 2).reshape(x.shape[0], 12, *grid), "decoder.conv_more"
        )
        mode = "trilinear" if axes == 3 else "bilinear"
        for block, skip in enumerate((maps[1], quarter, half, None)):
            y = f.interpolate(y, scale_factor=2, mode=mode, align_corners=True)
            if skip is not None:
                y = torch.cat([y, skip], dim=1)
            for part in ("conv1", "conv2"):
                y = self.decoder_unit(y, f"decoder.blocks.{block}.{part}")
        return self.conv(y, "segmentation_head.0")
