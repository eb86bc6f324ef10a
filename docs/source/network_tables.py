"""The tables of docs/networks.md: what each network costs, and the papers' counts beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from gridgate.networks import NETWORKS, build, network_facts
from gridgate.pipeline.costs.costs import WINDOWS, CostSettings, count

IN_CHANNELS, CLASSES = 1, 14


@dataclass(frozen=True)
class Published:
    """A number of parameters that a paper prints, and the network here that it belongs to.

    Args:
        network: its name.
        form: in words.
        classes: output channels.
        printed: in the paper, or by papers that compare with it.
        options: of the network.
        channels: of the input.
    """

    network: str
    form: str
    dims: int
    classes: int
    printed: str
    options: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 1


# as in the papers, see NOTICE; the window changes the position embeddings alone
PUBLISHED = (
    Published("unet", "feature scale 4", 3, 4, "5.88 M", {"feature_scale": 4}),
    Published("unet", "feature scale 3", 3, 4, "10.40 M", {"feature_scale": 3}),
    Published("attention_unet", "CT, two gates per skip", 3, 4, "6.40 M", {"variant": "ct_multi"}),
    Published("attention_unet", "CT, one gate per skip", 3, 4, "", {"variant": "ct_single"}),
    Published("attention_unet", "grid gating", 3, 4, "", {"variant": "grid_gating"}),
    Published("unetr", "window 96 x 96 x 96", 3, 14, "92.58 M", {"img_size": 96}),
    Published("unet", "of UNet++", 2, 1, "", {"form": "zhou_paper"}),
    Published("wide_unet", "of UNet++", 2, 1, ""),
    Published("unet_plus", "with its four heads", 2, 1, ""),
    Published("unet_e", "with its four heads", 2, 1, ""),
    Published("unet_plus_plus", "with its four heads", 2, 1, "", {"form": "paper"}),
    Published("uctransnet", "window 224 x 224", 2, 1, "65.6 M", {"img_size": 224}, channels=3),
    Published("transfuse", "S, window 192 x 256", 2, 1, "26.3 M", {"size": "S"}, channels=3),
    Published("transfuse", "L, window 192 x 256", 2, 1, "", {"size": "L"}, channels=3),
    Published("transunet", "R50-ViT-B/16, 224 x 224", 2, 9, "105.28 M", {"img_size": 224}),
)


def costs_table() -> str:
    """Parameters and operations of each network at its defaults, in 3D and in 2D."""
    rows = [
        "| network | name | parameters, 3D | GFLOPs, 96 x 96 x 96 | parameters, 2D | "
        "GFLOPs, 224 x 224 |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for name in NETWORKS:
        cells = [
            f"{number:,d} | {flops:,.1f}" for number, flops in map(partial(costs, name), (3, 2))
        ]
        rows.append(f"| {network_facts(name).title} | `{name}` | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def costs(name: str, dims: int) -> tuple[int, float]:
    """Parameters and GFLOPs of a network in 2D or 3D, 1 -> 14 channels."""
    window = WINDOWS[dims]
    return count(
        name, CostSettings(window=window, in_channels=IN_CHANNELS, classes=CLASSES, device="cpu")
    )


def published_table() -> str:
    """The papers' numbers of parameters beside those of the networks here."""
    rows = [
        "| name | form | axes | channels | parameters here | printed |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in PUBLISHED:
        rows.append(
            f"| `{one.network}` | {one.form} | {one.dims}D | {one.channels} -> {one.classes} | "
            f"{parameters(one):,d} | {one.printed} |"
        )
    return "\n".join(rows) + "\n"


def parameters(one: Published) -> int:
    """The number of parameters of the network here."""
    with torch.device("meta"):
        network = build(
            one.network,
            spatial_dims=one.dims,
            in_channels=one.channels,
            out_channels=one.classes,
            **one.options,
        )
    return sum(parameter.numel() for parameter in network.parameters())


def papers_table() -> str:
    """Each network's paper, as its facts tell it."""
    rows = ["| name | paper |", "|---|---|"]
    for name in NETWORKS:
        reference = network_facts(name).reference
        rows.append(f"| `{name}` | {reference} |")
    return "\n".join(rows) + "\n"
