"""UNet++ (Zhou et al. 2018, 2019, arXiv 1807.10165, 1912.05074): paper's and later form.

Written from the papers. The authors of UNet++ state a pending patent and a non-commercial licence
for their own release; nothing of it is used here.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from .facts import NetworkFacts, Tiny, described
from .layers.blocks import (
    check_input,
    check_statistics,
    convolution,
    crop_at_end,
    pad_at_end,
    spatial_size,
)
from .layers.unet_plus_plus_nodes import (
    FORMS,
    SLOPE,
    WIRINGS,
    DecoderNode,
    EncoderNode,
    Form,
    ancestors,
    check_form,
    choose,
    initialise_he,
    node_name,
)

FACTS = NetworkFacts(
    title="UNet++",
    reference="Zhou et al. UNet++: Redesigning Skip Connections to Exploit Multiscale Features in "
    "Image Segmentation. TMI 2019. arXiv:1912.05074",
    paper={"form": "later"},
    paper_2d={"form": "paper"},
    small={"form": "later", "filters": [8, 16, 32, 64, 128]},
    official="unet_plus_plus",
    tiny=Tiny({"filters": (4, 6, 8, 10)}),
)


@described(FACTS)
class UNetPlusPlus(nn.Module):
    """U-Nets of every depth nested in one another, and the family between it and the U-Net.

    Node X^{i,j} (level i, the finest 0; column j, the encoder 0) is two units of convolution, norm,
    activation and dropout. It sees the up-sampled X^{i+1,j-1} and, at its own level, by ``wiring``:

    * ``"dense"``: X^{i,0}, ..., X^{i,j-1}: UNet++;
    * ``"previous"``: X^{i,j-1} only: UNet+;
    * ``"encoder"``: X^{i,0} only: U-Net^e, which with its last head alone is the plain U-Net.

    Heads are 1x1 convolutions of X^{0,1}, ..., X^{0,L}, all at full resolution. Nodes that feed no
    head are not built; those that feed no head in use are not computed.

    Any size is taken: axes are padded at their end to a multiple of ``divisor`` by repeating the
    border, and the logits cropped back.

    Args:
        form: "paper" (convolution and ReLU without norm, dropout, max-pooling, five levels; the
            default in 2D) or "later" (instance norm, leaky ReLU, strided convolutions, six levels;
            the default in 3D). It sets all arguments below that are None.
        wiring: see above.
        deep_supervision: heads on X^{0,1..L}. In training forward gives the list of their logits,
            that of X^{0,L} first; all carry the same weight in the loss. False: the head of X^{0,L}
            alone.
        inference: what forward gives in eval mode: "ensemble", the mean of the heads' logits (the
            default; the paper's one-class network averages behind the sigmoid, but every network
            here gives logits), or the depth d of one head, X^{0,d}, of which only the ancestors are
            then computed.
        depth: build the network pruned to this depth: X^{0,depth} with the one head, and its
            ancestors (nodes with i + j <= depth); ``deep_supervision`` means nothing then. None:
            all levels of ``filters``.
        filters: channels of the levels, the finest first, two or more of them.
        norm: "none", "batch" or "instance".
        activation: "relu" or "leaky_relu" (slope 0.01).
        concat: "up_first" or "up_last": where the up-sampled channels stand among those a node
            sees.
        down: "pool" (max 2) or "stride" (of a level's first convolution).
        head_bias: whether the heads have a bias. up_bias: the same of the transposed convolutions.
        dropout: probability to drop a value after each activation, in training, 0 to below 1.

    Attributes:
        divisor: sizes the network takes without padding are multiples of it: 2 to the power of the
            number of levels above the coarsest, for each axis.
        head_weights: weights of the heads in the loss, in the list's order; (1.0,) when forward
            always gives one tensor, as it does with a single head.

    Raises:
        ValueError: an argument out of range; in forward, an input of the wrong rank or channel
            count, or so small that a norm has a single value per channel to work on.
    """

    def __init__(
        self,
        spatial_dims: int = 3,
        in_channels: int = 1,
        out_channels: int = 2,
        *,
        form: str | None = None,
        wiring: str = "dense",
        deep_supervision: bool = True,
        inference: str | int | None = None,
        depth: int | None = None,
        filters: Sequence[int] | None = None,
        norm: str | None = None,
        activation: str | None = None,
        concat: str | None = None,
        down: str | None = None,
        head_bias: bool | None = None,
        up_bias: bool | None = None,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims is {spatial_dims}: this network is built for 2 or 3.")
        choose("wiring", wiring, WIRINGS)
        settings = _settings(
            ("paper" if spatial_dims == 2 else "later") if form is None else form,
            filters=None if filters is None else tuple(filters),
            norm=norm,
            activation=activation,
            concat=concat,
            down=down,
            head_bias=head_bias,
            up_bias=up_bias,
            dropout=dropout,
        )
        inference = "ensemble" if inference is None else inference
        depths = _depths(len(settings.filters) - 1, depth, deep_supervision, inference)

        self.spatial_dims = spatial_dims
        self.in_channels, self.out_channels = in_channels, out_channels
        self.wiring, self.inference, self.norm = wiring, inference, settings.norm
        self.settings = settings
        self.pools = settings.down == "pool"
        self.divisor = (2 ** depths[0],) * spatial_dims
        self.head_weights = (1 / len(depths),) * len(depths)

        self.used = [str(d) for d in depths if inference in ("ensemble", d)]
        self.built = ancestors(depths, wiring)
        self.needed = ancestors([int(d) for d in self.used], wiring)
        self._build(depths)

    def _build(self, depths: Sequence[int]) -> None:
        """The modules, for heads at these depths, the deepest first."""
        spatial_dims, settings, deepest = self.spatial_dims, self.settings, depths[0]
        self.pool = Pool[Pool.MAX, spatial_dims](2)
        self.encoder = nn.ModuleList()
        for level in range(deepest + 1):
            channels = settings.filters[level - 1] if level else self.in_channels
            self.encoder.append(EncoderNode(spatial_dims, channels, level, settings))
        self.decoder = nn.ModuleDict()
        for column in range(1, deepest + 1):
            for level in range(deepest - column + 1):
                if node_name(level, column) in self.built:
                    self.decoder[node_name(level, column)] = DecoderNode(
                        spatial_dims, level, column, self.wiring, settings
                    )
        self.heads = nn.ModuleDict()
        for d in depths:
            self.heads[str(d)] = convolution(
                spatial_dims, settings.filters[0], self.out_channels, bias=settings.head_bias
            )
        slope = SLOPE if settings.activation == "leaky_relu" else 0.0
        self.apply(lambda module: initialise_he(module, slope))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """(B, in_channels, X, Y[, Z]) -> logits (B, out_channels, X, Y[, Z]), no softmax inside.

        In training, with more than one head, the list of the heads' logits, that of X^{0,L} first.
        """
        check_input(x, self.in_channels, self.spatial_dims)
        computed = self.built if self.training else self.needed
        size = spatial_size(x)
        x = pad_at_end(x, list(self.divisor), list(self.divisor))
        features: dict[str, Tensor] = {}
        for level, node in enumerate(self.encoder):
            name = f"{level}_0"
            if name in computed:
                if level > 0 and self.pools:
                    x = self.pool(x)
                if level > 0 and self.norm != "none":
                    check_statistics(x if self.pools else _halved(x), self.norm, self.training)
                x = node(x)
                features[name] = x
        for name, node in self.decoder.items():
            if name in computed:
                features[name] = node(features)

        outputs: list[Tensor] = []
        for name, head in self.heads.items():
            if self.training or name in self.used:
                logits = crop_at_end(head(features[f"0_{name}"]), size)
                if self.training or len(outputs) == 0:
                    outputs.append(logits)
                else:  # summed one by one: with many classes a copy of each would weigh
                    outputs[0] = outputs[0] + logits
        if self.training and len(outputs) > 1:
            return outputs
        return outputs[0] if len(self.used) == 1 else outputs[0] / len(self.used)

    def pruned(self, depth: int) -> "UNetPlusPlus":
        """A new network of the head X^{0,depth} and its ancestors, with a copy of their weights.

        For a window whose sizes are multiples of this network's divisor, its eval output is that of
        the head in this one. Its own divisor is 2^depth. ValueError when this network has no such
        head.
        """
        if str(depth) not in self.heads:
            raise ValueError(
                f"depth is {depth}: this network has heads at depth {', '.join(self.heads)}."
            )
        with torch.device("meta"):
            net = UNetPlusPlus(
                self.spatial_dims,
                self.in_channels,
                self.out_channels,
                wiring=self.wiring,
                depth=depth,
                **asdict(self.settings),
            )
        weights = self.state_dict()
        net.load_state_dict({key: weights[key].clone() for key in net.state_dict()}, assign=True)
        return net.train(self.training)


def _settings(form: str, **given: Any) -> Form:
    """A form with what is given (not None) in place of its own."""
    choose("form", form, FORMS)
    changed = {key: value for key, value in given.items() if value is not None}
    settings = replace(FORMS[form], **changed)
    check_form(settings)
    return settings


def _depths(
    levels: int, depth: int | None, deep_supervision: bool, inference: str | int
) -> list[int]:
    """The depths that have heads, the deepest first."""
    if depth is not None and not 1 <= depth <= levels:
        raise ValueError(
            f"depth is {depth}: {levels + 1} filters make a network of depth 1 to {levels}."
        )
    deepest = levels if depth is None else depth
    depths = list(range(deepest, 0, -1)) if deep_supervision and depth is None else [deepest]
    if inference != "ensemble" and inference not in depths:
        raise ValueError(
            f"inference is {inference!r}: choose 'ensemble' or the depth of a head that is built, "
            f"{', '.join(map(str, reversed(depths)))}."
        )
    return depths


def _halved(x: Tensor) -> Tensor:
    """A view of the size that a convolution of stride 2 leaves."""
    return x[:, :, ::2, ::2, ::2] if x.dim() == 5 else x[:, :, ::2, ::2]
