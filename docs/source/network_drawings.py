"""Schematic drawings of the networks: boxes for maps and blocks, arrows for what goes where.

Heights say the resolution (the finest on top), not sizes in pixels. Drawn from each network's
description, in our own words; nothing of the papers' figures is in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

Place = tuple[float, float]

COLOURS = {
    "conv": "#cfe3f5",
    "attention": "#f8d9a8",
    "transformer": "#e2d3f2",
    "output": "#cdebd3",
    "input": "#eeeeee",
}
"""Kind of a box -> its colour."""


@dataclass
class Drawing:
    """Boxes by name, and arrows between them.

    Args:
        size: of the figure, in inches.
        boxes: name -> (place, text, kind).
        arrows: (from, to) and whether it is dashed: a skip connection.
    """

    size: Place
    boxes: dict[str, tuple[Place, str, str]] = field(default_factory=dict)
    arrows: list[tuple[str, str, bool]] = field(default_factory=list)

    def box(self, name: str, place: Place, text: str, kind: str = "conv") -> None:
        """A box whose middle is at a place; one unit is a box and a gap."""
        self.boxes[name] = (place, text, kind)

    def chain(self, *names: str, dashed: bool = False) -> None:
        """Arrows from each to the next."""
        pairs = itertools.pairwise(names)
        self.arrows += [(first, second, dashed) for first, second in pairs]

    def figure(self) -> Figure:
        """The drawing as a figure."""
        figure = Figure(figsize=self.size, layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        shapes = {
            name: _box(axes, place, text, COLOURS[kind])
            for name, (place, text, kind) in self.boxes.items()
        }
        for first, second, dashed in self.arrows:
            _arrow(axes, shapes[first], shapes[second], dashed)
        _legend(axes, self.boxes.values())
        across = [place[0] for place, _, _ in self.boxes.values()]
        up = [place[1] for place, _, _ in self.boxes.values()]
        axes.set(xlim=(min(across) - 0.6, max(across) + 0.6), ylim=(min(up) - 0.7, max(up) + 0.5))
        return figure


_WIDE, _HIGH = 0.74, 0.46
_KINDS: Mapping[str, str] = {
    "conv": "convolutions",
    "attention": "attention",
    "transformer": "transformer",
}


def _box(axes: Axes, place: Place, text: str, colour: str) -> FancyBboxPatch:
    corner = (place[0] - _WIDE / 2, place[1] - _HIGH / 2)
    look = {"facecolor": colour, "edgecolor": "#55606a", "linewidth": 0.8, "zorder": 3}
    shape = FancyBboxPatch(corner, _WIDE, _HIGH, boxstyle="round,pad=0,rounding_size=0.06", **look)
    axes.add_patch(shape)
    axes.text(*place, text, ha="center", va="center", fontsize=7, zorder=4)
    return shape


def _arrow(axes: Axes, start: FancyBboxPatch, end: FancyBboxPatch, dashed: bool) -> None:
    look = {"linestyle": (0, (3, 2)), "color": "#a05a00"} if dashed else {"color": "#55606a"}
    middles = [(box.get_x() + _WIDE / 2, box.get_y() + _HIGH / 2) for box in (start, end)]
    arrow = FancyArrowPatch(
        *middles,
        arrowstyle="-|>",
        mutation_scale=8,
        patchA=start,
        patchB=end,
        linewidth=0.9,
        **look,
    )
    axes.add_patch(arrow)


def _legend(axes: Axes, boxes: Iterable[tuple[Place, str, str]]) -> None:
    shown = {kind for _, _, kind in boxes}
    handles = [
        FancyBboxPatch((0, 0), 1, 1, facecolor=COLOURS[kind], edgecolor="#55606a", label=name)
        for kind, name in _KINDS.items()
        if kind in shown
    ]
    axes.legend(handles=handles, loc="lower left", fontsize=7, frameon=False, ncols=3)


def drawings() -> Iterator[tuple[str, Figure]]:
    """Name of a network, and its drawing."""
    yield "attention_unet", attention_unet().figure()
    yield "unetr", unetr().figure()
    yield "unet_plus_plus", unet_plus_plus().figure()
    yield "uctransnet", uctransnet().figure()
    yield "transfuse", transfuse().figure()
    yield "transunet", transunet().figure()


def _levels(drawing: Drawing, widths: Sequence[int], *, right: float) -> None:
    """An encoder downwards on the left and a decoder upwards on the right."""
    for level, width in enumerate(widths):
        drawing.box(f"e{level}", (level * 0.45, -level), f"{width}")
    for level, width in enumerate(widths[:-1]):
        drawing.box(f"d{level}", (right - level * 0.45, -level), f"{width}")
    drawing.chain(*(f"e{level}" for level in range(len(widths))))
    deepest = len(widths) - 1
    drawing.chain(f"e{deepest}", *(f"d{level}" for level in range(deepest - 1, -1, -1)))


def attention_unet() -> Drawing:
    """Five levels of feature scale 4; gates on the three coarser skips."""
    drawing = Drawing((7, 4))
    _levels(drawing, (16, 32, 64, 128, 256), right=6.0)
    drawing.box("x", (-1.0, 0), "window", "input")
    drawing.box("y", (7.2, 0), "heads,\nfused", "output")
    drawing.chain("x", "e0")
    drawing.chain("e0", "d0", dashed=True)
    for level in (1, 2, 3):
        drawing.box(f"g{level}", (3.0, -level), "gate", "attention")
        drawing.chain(f"e{level}", f"g{level}", f"d{level}", dashed=True)
        source = "e4" if level == 3 else f"d{level + 1}"
        drawing.chain(source, f"g{level}")
    for level in range(4):
        drawing.chain(f"d{level}", "y")
    return drawing


def unetr() -> Drawing:
    """Transformer states as skips of a decoder."""
    drawing = Drawing((7, 4))
    drawing.box("x", (0, 0), "window", "input")
    drawing.box("p", (0, -4), "patches\n16³", "transformer")
    drawing.chain("x", "p")
    above = "p"
    for number, layer in enumerate((3, 6, 9, 12)):
        name = f"t{layer}"
        drawing.box(name, (1.2 + number * 1.0, -4), f"layer {layer}", "transformer")
        drawing.chain(above, name)
        above = name
    for number, level in enumerate((1, 2, 3)):
        layer = 3 * (number + 1)
        drawing.box(f"s{level}", (1.2 + number * 1.0, -level), "up-\nsampling")
        drawing.chain(f"t{layer}", f"s{level}", f"d{level}", dashed=True)
    for level in range(4):
        drawing.box(f"d{level}", (5.6, -level), f"decoder\n1/{2**level}")
    drawing.box("s0", (2.2, 0), "convolution")
    drawing.chain("x", "s0", "d0", dashed=True)
    drawing.chain("t12", "d3", "d2", "d1", "d0", "y")
    drawing.box("y", (6.8, 0), "logits", "output")
    return drawing


def unet_plus_plus() -> Drawing:
    """The triangle of nodes, with a head on each node of the top row."""
    drawing = Drawing((7, 4.4))
    for level in range(5):
        for column in range(5 - level):
            place = (column * 1.2 + level * 0.6, -float(level))
            drawing.box(f"{level}{column}", place, f"X({level},{column})")
    for level in range(4):
        drawing.chain(f"{level}0", f"{level + 1}0")
        for column in range(1, 5 - level):
            drawing.chain(f"{level + 1}{column - 1}", f"{level}{column}")
            drawing.chain(f"{level}{column - 1}", f"{level}{column}", dashed=True)
    for column in range(1, 5):
        drawing.box(f"h{column}", (column * 1.2, 0.8), "head", "output")
        drawing.chain(f"0{column}", f"h{column}")
    return drawing


def uctransnet() -> Drawing:
    """Four skips through the channel transformer, then channel attention."""
    drawing = Drawing((7, 4))
    _levels(drawing, (64, 128, 256, 512, 512), right=6.6)
    drawing.box("x", (-1.0, 0), "window", "input")
    drawing.box("y", (7.6, 0), "logits", "output")
    drawing.chain("x", "e0")
    drawing.chain("d0", "y")
    for level in range(4):
        drawing.box(f"t{level}", (3.0, -level), "CCT", "transformer")
        drawing.box(f"c{level}", (4.2, -level), "CCA", "attention")
        drawing.chain(f"e{level}", f"t{level}", f"c{level}", f"d{level}", dashed=True)
        drawing.chain("e4" if level == 3 else f"d{level + 1}", f"c{level}")
    drawing.chain("t0", "t1", "t2", "t3")  # one transformer over the channels of all four
    drawing.chain("t3", "t2", "t1", "t0")
    return drawing


def transfuse() -> Drawing:
    """Two branches and BiFusion at three scales."""
    drawing = Drawing((7, 4))
    drawing.box("x", (0, -1.5), "window", "input")
    for number, scale in enumerate((4, 8, 16)):
        drawing.box(f"r{scale}", (1.4 + number * 1.2, 0), f"ResNet\n1/{scale}")
    drawing.chain("x", "r4", "r8", "r16")
    drawing.box("v", (1.4, -3), "ViT", "transformer")
    for number, scale in enumerate((16, 8, 4)):
        drawing.box(f"t{scale}", (2.6 + number * 1.2, -3), f"tokens\n1/{scale}", "transformer")
    drawing.chain("x", "v", "t16", "t8", "t4")
    for number, scale in enumerate((16, 8, 4)):
        drawing.box(f"f{scale}", (3.6 + number * 1.3, -1.5), f"BiFusion\n1/{scale}", "attention")
        drawing.chain(f"r{scale}", f"f{scale}", dashed=True)
        drawing.chain(f"t{scale}", f"f{scale}", dashed=True)
    drawing.chain("f16", "f8", "f4", "y2")
    drawing.box("y2", (7.5, -1.5), "map 2", "output")
    drawing.box("y1", (7.5, -3), "map 1", "output")
    drawing.box("yx", (7.5, 0), "map x", "output")
    drawing.chain("t4", "y1")
    drawing.chain("f16", "yx")
    return drawing


def transunet() -> Drawing:
    """ResNet, transformer, cascade."""
    drawing = Drawing((7, 4))
    drawing.box("x", (-0.4, 0), "window", "input")
    for level in range(1, 5):
        drawing.box(f"e{level}", (level * 0.5, -level), f"ResNet\n1/{2**level}")
    drawing.box("v", (3.2, -4), "ViT,\n12 layers", "transformer")
    for level in range(4):
        drawing.box(f"d{level}", (6.2 - level * 0.5, -level), f"cascade\n1/{2**level}")
    drawing.box("y", (7.3, 0), "logits", "output")
    drawing.chain("x", "e1", "e2", "e3", "e4", "v", "d3", "d2", "d1", "d0", "y")
    for level in (1, 2, 3):
        drawing.chain(f"e{level}", f"d{level}", dashed=True)
    return drawing
