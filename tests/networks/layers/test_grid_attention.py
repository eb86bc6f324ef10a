"""The grid attention gate against numbers worked out by hand."""

import math

import pytest
import torch

from gridgate.networks.layers.grid_attention import GridAttentionGate, ParallelGates


def set_all(module: torch.nn.Module, value: float) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(value)


def test_one_voxel_by_hand() -> None:
    """2x2 features of one channel, one value of g.

    Theta sums, phi = 3g + 1, psi = 0.5f - 2, W = 2ax + 1.
    """
    gate = GridAttentionGate(2, 1, 1).double().eval()
    set_all(gate.theta, 1.0)
    gate.phi.weight.data.fill_(3.0), gate.phi.bias.data.fill_(1.0)
    gate.psi.weight.data.fill_(0.5), gate.psi.bias.data.fill_(-2.0)
    gate.output.conv.weight.data.fill_(2.0), gate.output.conv.bias.data.fill_(1.0)
    set_all(gate.output.norm, 1.0)  # running statistics are 0 and 1: norm is y / sqrt(1 + eps) + 1
    x = torch.tensor([[[[1.0, 2.0], [-0.5, 1.5]]]], dtype=torch.float64)
    g = torch.full((1, 1, 1, 1), -1.0, dtype=torch.float64)
    f = max(0.0, (1 + 2 - 0.5 + 1.5) + (3 * -1 + 1))
    a = 1 / (1 + math.exp(-(0.5 * f - 2)))
    output, coefficients = gate(x, g)
    assert f == 2 and torch.allclose(coefficients, torch.full_like(x, a), rtol=0, atol=1e-12)
    expected = (2 * a * x + 1) / math.sqrt(1 + 1e-5) + 1
    assert torch.allclose(output, expected, rtol=0, atol=1e-12)


def two_cells(gating: str) -> tuple[GridAttentionGate, torch.Tensor, torch.Tensor]:
    """A gate whose theta + phi is -1 in the first of two cells and 3 in the second.

    Psi = 2 f + 0.5.
    """
    gate = GridAttentionGate(2, 1, 1, gating=gating).double().eval()
    set_all(gate.theta, 1.0)
    gate.phi.weight.data.fill_(0.0), gate.phi.bias.data.fill_(-1.0)
    gate.psi.weight.data.fill_(2.0), gate.psi.bias.data.fill_(0.5)
    x = torch.zeros(1, 1, 4, 2, dtype=torch.float64)
    x[0, 0, 2:] = 1.0  # four voxels of a cell sum to 4
    return gate, x, torch.zeros(1, 1, 1, 1, dtype=torch.float64)


def outer(coefficients: torch.Tensor) -> list[float]:
    """Those of the first and last voxel, which lie beyond the cells' centres: the cells' own."""
    return [coefficients[0, 0, 0, 0].item(), coefficients[0, 0, 3, 0].item()]


def test_softplus_stands_in_for_the_relu() -> None:
    gate, x, g = two_cells("softplus")
    scores = [2 * math.log(1 + math.exp(f)) + 0.5 for f in (-1, 3)]
    expected = [1 / (1 + math.exp(-score)) for score in scores]
    assert outer(gate.coefficients(x, g)) == pytest.approx(expected, abs=1e-12)


def test_softmax_over_all_positions_stands_in_for_the_sigmoid() -> None:
    gate, x, g = two_cells("softmax")
    scores = [2 * max(0, f) + 0.5 for f in (-1, 3)]
    expected = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
    assert sum(expected) == pytest.approx(1) and expected[1] > 0.99
    assert outer(gate.coefficients(x, g)) == pytest.approx(expected, abs=1e-12)
    # over the positions of each case, not of the batch: twice the case, twice the same
    both = gate.coefficients(torch.cat([x, -x]), torch.cat([g, g]))
    assert torch.equal(both[:1], gate.coefficients(x, g))


@pytest.mark.parametrize("gating", ["softplus", "softmax"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_other_modes_script_and_give_every_parameter_a_gradient(
    gating: str, spatial_dims: int
) -> None:
    gate = GridAttentionGate(spatial_dims, 3, 4, gating=gating)
    x, g = (
        torch.randn(2, 3, *(6, 4, 5)[:spatial_dims]),
        torch.randn(2, 4, *(3, 2, 2)[:spatial_dims]),
    )
    torch.testing.assert_close(torch.jit.script(gate.eval())(x, g), gate(x, g))
    gate.train()(x, g)[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in gate.parameters())


def test_linear_interpolation_of_coefficients_by_hand() -> None:
    """Two attention cells along an axis of four voxels.

    The voxels' centres lie -1/4, 1/4, 3/4 and 5/4 cells along.
    """
    for align_corners, parts in ((False, (0, 0.25, 0.75, 1)), (True, (0, 1 / 3, 2 / 3, 1))):
        gate = GridAttentionGate(2, 1, 1, align_corners=align_corners).double().eval()
        set_all(gate, 0.0)
        set_all(gate.theta, 1.0)
        gate.psi.weight.data.fill_(1.0)
        x = torch.zeros(1, 1, 4, 2, dtype=torch.float64)
        x[0, 0, 2:] = 0.5  # theta: 0 in the first cell, 4 * 0.5 = 2 in the second
        low, high = 0.5, 1 / (1 + math.exp(-2))
        expected = torch.tensor([low + part * (high - low) for part in parts], dtype=torch.float64)
        _, coefficients = gate(x, torch.zeros(1, 1, 1, 1, dtype=torch.float64))
        assert torch.allclose(coefficients[0, 0, :, 0], expected, rtol=0, atol=1e-12)


def test_closed_gate_lets_nothing_through() -> None:
    gate = GridAttentionGate(3, 4, 6).eval()
    gate.psi.weight.data.zero_(), gate.psi.bias.data.fill_(-200.0)
    g = torch.randn(2, 6, 2, 2, 2)
    one, a = gate(torch.randn(2, 4, 4, 4, 4), g)
    other, _ = gate(torch.randn(2, 4, 4, 4, 4), g)
    assert a.abs().max() == 0
    assert torch.equal(one, other)  # whatever x is, W sees zeros
    assert torch.equal(one, gate.output(torch.zeros(2, 4, 4, 4, 4)))


def test_open_gate_is_its_output_layer() -> None:
    gate = GridAttentionGate(3, 4, 6).eval()
    gate.psi.weight.data.zero_(), gate.psi.bias.data.fill_(200.0)
    x = torch.randn(2, 4, 4, 4, 4)
    assert torch.equal(gate(x, torch.randn(2, 6, 2, 2, 2))[0], gate.output(x))


def test_shapes_and_where_biases_are() -> None:
    gate = GridAttentionGate(3, 4, 6, subsample=(2, 2, 1))
    assert {key: tuple(value.shape) for key, value in gate.named_parameters()} == {
        "theta.weight": (4, 4, 2, 2, 1),
        "phi.weight": (4, 6, 1, 1, 1),
        "phi.bias": (4,),
        "psi.weight": (1, 4, 1, 1, 1),
        "psi.bias": (1,),
        "output.conv.weight": (4, 4, 1, 1, 1),
        "output.conv.bias": (4,),
        "output.norm.weight": (4,),
        "output.norm.bias": (4,),
    }
    output, a = gate(torch.randn(2, 4, 7, 6, 5), torch.randn(2, 6, 3, 2, 4))
    assert output.shape == (2, 4, 7, 6, 5) and a.shape == (2, 1, 7, 6, 5)
    assert a.min() >= 0 and a.max() <= 1


def test_parallel_gates_concatenate_then_combine() -> None:
    gates = ParallelGates(3, 4, 6, count=2).eval()
    x, g = torch.randn(1, 4, 4, 4, 4), torch.randn(1, 6, 2, 2, 2)
    (one, a1), (two, a2) = gates.gates[0](x, g), gates.gates[1](x, g)
    output, a = gates(x, g)
    mixed = gates.combine.norm(gates.combine.conv(torch.cat([one, two], 1))).relu()
    assert torch.equal(output, mixed)
    assert torch.equal(a, torch.cat([a1, a2], 1)) and not torch.equal(a1, a2)
