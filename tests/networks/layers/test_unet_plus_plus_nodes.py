"""Which node of UNet++ sees which, by the paper's definition.

What is left of the network when pruned.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gridgate.networks.unet_plus_plus import UNetPlusPlus

TINY = (2, 3, 4, 5, 6)
WIRINGS = ("dense", "previous", "encoder")

# Wiring: X^{i,j} by its two digits. The parents are the definition's, in words of the paper: the
# up-sampled node below, and at its own level all before it (UNet++), the one before it (UNet+), the
# encoder's (U-Net^e).

UP = {
    "01": "10", "11": "20", "21": "30", "31": "40",
    "02": "11", "12": "21", "22": "31",
    "03": "12", "13": "22",
    "04": "13",
}  # fmt: skip
ENCODER = {"00": "", "10": "00", "20": "10", "30": "20", "40": "30"}
SAME = {
    "dense": {
        "01": "00", "11": "10", "21": "20", "31": "30",
        "02": "00 01", "12": "10 11", "22": "20 21",
        "03": "00 01 02", "13": "10 11 12",
        "04": "00 01 02 03",
    },
    "previous": {
        "01": "00", "11": "10", "21": "20", "31": "30",
        "02": "01", "12": "11", "22": "21",
        "03": "02", "13": "12",
        "04": "03",
    },
    "encoder": {
        "01": "00", "11": "10", "21": "20", "31": "30",
        "02": "00", "12": "10", "22": "20",
        "03": "00", "13": "10",
        "04": "00",
    },
}  # fmt: skip
ANCESTORS = {
    "dense": {
        "00": "", "10": "00", "20": "00 10", "30": "00 10 20", "40": "00 10 20 30",
        "01": "00 10",
        "11": "00 10 20",
        "21": "00 10 20 30",
        "31": "00 10 20 30 40",
        "02": "00 01 10 11 20",
        "12": "00 10 11 20 21 30",
        "22": "00 10 20 21 30 31 40",
        "03": "00 01 02 10 11 12 20 21 30",
        "13": "00 10 11 12 20 21 22 30 31 40",
        "04": "00 01 02 03 10 11 12 13 20 21 22 30 31 40",
    },
    "encoder": {
        "00": "", "10": "00", "20": "00 10", "30": "00 10 20", "40": "00 10 20 30",
        "01": "00 10",
        "11": "00 10 20",
        "21": "00 10 20 30",
        "31": "00 10 20 30 40",
        "02": "00 10 20 11",
        "12": "00 10 20 30 21",
        "22": "00 10 20 30 40 31",
        "03": "00 10 20 30 21 12",
        "13": "00 10 20 30 40 31 22",
        "04": "00 10 20 30 40 31 22 13",
    },
}  # fmt: skip
ANCESTORS["previous"] = ANCESTORS[
    "dense"
]  # fewer edges, but all that was seen at once is seen through the neighbour
PARENTS = {w: {**ENCODER, **{node: f"{UP[node]} {SAME[w][node]}" for node in UP}} for w in WIRINGS}


def nodes_of(net: UNetPlusPlus) -> dict[str, nn.Module]:
    nodes = {f"{level}0": node for level, node in enumerate(net.encoder)}
    return nodes | {name.replace("_", ""): node for name, node in net.decoder.items()}


@contextmanager
def watched(
    net: UNetPlusPlus, pushed: str = "", held: frozenset[str] = frozenset()
) -> Iterator[dict[str, Tensor]]:
    """Record every node's output.

    Push that of one node aside, replace those of ``held`` by a constant.
    """
    outputs: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[..., Tensor]:
        def record(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            if name == pushed:
                output = output + torch.linspace(
                    0.5, 1, output.numel(), dtype=output.dtype
                ).view_as(output)
            outputs[name] = output
            return torch.ones_like(output) if name in held else output

        return record

    handles = [node.register_forward_hook(hook(name)) for name, node in nodes_of(net).items()]
    yield outputs
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_parents_and_ancestors_of_every_node(wiring: str) -> None:
    torch.manual_seed(0)
    # leaky: a push must not get lost in a zero
    net = (
        UNetPlusPlus(2, 1, 1, wiring=wiring, filters=TINY, activation="leaky_relu").double().eval()
    )
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64)
    assert nodes_of(net).keys() == PARENTS[wiring].keys()
    ancestors: dict[str, set[str]] = {name: set() for name in nodes_of(net)}
    parents: dict[str, set[str]] = {name: set() for name in nodes_of(net)}
    with torch.no_grad():
        with watched(net) as before:
            net(x)
        for node in nodes_of(net):
            others = frozenset(nodes_of(net)) - {node}
            with watched(net, held=others) as still:
                net(x)
            for found, reference, held in (
                (ancestors, before, frozenset()),
                (parents, still, others),
            ):
                with watched(net, pushed=node, held=held) as after:
                    net(x)
                for name in others:
                    if not torch.equal(after[name], reference[name]):
                        found[name].add(node)
    assert ancestors == {name: set(text.split()) for name, text in ANCESTORS[wiring].items()}
    assert parents == {name: set(text.split()) for name, text in PARENTS[wiring].items()}


def flops(net: nn.Module, *size: int) -> int:
    with torch.device("meta"):
        x = torch.empty(1, 1, *size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(x)
    return counter.get_total_flops()


def test_pruning_saves_flops() -> None:
    """The paper's network on 96 x 96 pixels, in GFLOP, and by hand, depth by depth."""
    filters, side = (32, 64, 128, 256, 512), 96

    def by_hand(depth: int) -> int:
        macs = filters[0] * side**2  # the head
        for i in range(depth + 1):
            pixels = (side >> i) ** 2
            macs += 9 * filters[i] * ((filters[i - 1] if i else 1) + filters[i]) * pixels
            for j in range(1, depth - i + 1):
                macs += 9 * filters[i] * ((j + 1) * filters[i] + filters[i]) * pixels
                macs += (
                    filters[i + 1] * filters[i] * pixels
                )  # the up: one tap of its kernel an output pixel
        return 2 * macs

    with torch.device("meta"):
        net = UNetPlusPlus(2, 1, 1).eval()
        selected = [UNetPlusPlus(2, 1, 1, inference=depth).eval() for depth in (1, 2, 3, 4)]
    counts = [flops(net.pruned(depth), side, side) for depth in (1, 2, 3, 4)]
    assert counts == [by_hand(depth) for depth in (1, 2, 3, 4)]
    assert [round(count / 1e9, 2) for count in counts] == [0.98, 2.5, 4.9, 8.37]
    # in the full network too only what the head needs is computed
    assert [flops(net, side, side) for net in selected] == counts
    assert flops(net, side, side) == counts[3] + 3 * 2 * 32 * side**2


@pytest.mark.parametrize("form", ["paper", "later"])
@pytest.mark.parametrize("wiring", WIRINGS)
def test_pruned_output_is_the_heads(wiring: str, form: str) -> None:
    torch.manual_seed(0)
    net = (
        UNetPlusPlus(2, 2, 3, wiring=wiring, form=form, filters=TINY, norm="batch", dropout=0.0)
        .double()
        .train()
    )
    x = torch.randn(2, 2, 32, 48, dtype=torch.float64)
    with torch.no_grad():
        net(x)  # moves the running statistics, which pruning must carry over
    net.eval()
    heads = {}
    for d, head in net.heads.items():
        head.register_forward_hook(
            lambda module, args, output, d=int(d): heads.__setitem__(d, output)
        )
    with torch.no_grad():
        net(x)
        for depth in (1, 2, 3, 4):
            pruned = net.pruned(depth)
            assert torch.equal(pruned(x), heads[depth])
            assert nodes_of(pruned).keys() == {f"0{depth}", *ANCESTORS[wiring][f"0{depth}"].split()}
            assert pruned.divisor == (2**depth,) * 2 and list(pruned.heads) == [str(depth)]
            pruned.train()
            assert isinstance(pruned(x), Tensor)
    assert list(net.pruned(2).pruned(2).heads) == ["2"]


def test_pruned_has_its_own_weights_and_keeps_the_settings() -> None:
    net = UNetPlusPlus(
        2, 2, 3, filters=TINY, activation="leaky_relu", concat="up_last", dropout=0.25
    )
    net = net.to(torch.bfloat16).train()
    pruned = net.pruned(1)
    assert pruned.training and pruned.settings == net.settings
    assert all(p.requires_grad and p.dtype == torch.bfloat16 for p in pruned.parameters())
    before = net.encoder[0].first.conv.weight.clone()
    with torch.no_grad():
        pruned.encoder[0].first.conv.weight.zero_()
    assert torch.equal(net.encoder[0].first.conv.weight, before)
    built = UNetPlusPlus(2, 2, 3, filters=TINY, depth=1)
    assert built.state_dict().keys() == pruned.state_dict().keys()
    assert len(built.encoder) == 2 and list(built.decoder) == ["0_1"]
    with pytest.raises(ValueError, match=r"depth is 5.*4, 3, 2, 1"):
        net.pruned(5)
    with pytest.raises(ValueError, match=r"depth is 2.*heads at depth 1"):
        pruned.pruned(2)


def test_inference_by_one_head_and_by_all() -> None:
    torch.manual_seed(0)
    net = UNetPlusPlus(3, 1, 2, filters=(2, 3, 4, 5)).eval()
    x = torch.randn(1, 1, 16, 16, 16)
    one = UNetPlusPlus(3, 1, 2, filters=(2, 3, 4, 5), inference=2).eval()
    one.load_state_dict(net.state_dict())
    heads = [net.pruned(depth)(x) for depth in (3, 2, 1)]
    assert torch.equal(one(x), heads[1])
    torch.testing.assert_close(net(x), torch.stack(heads).mean(dim=0))
    with watched(one) as computed:
        one(x)
    assert computed.keys() == {"00", "10", "20", "01", "11", "02"}
