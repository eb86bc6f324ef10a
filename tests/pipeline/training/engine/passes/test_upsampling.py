"""The gradient of linear upsampling by matrices, against PyTorch's own in double precision."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from gridgate.pipeline.training.engine.passes import upsampling
from gridgate.pipeline.training.engine.passes.upsampling import UpsamplingByMatrices

INNERMOST = {2: torch.channels_last, 3: torch.channels_last_3d}
MODE = {2: "bilinear", 3: "trilinear"}


def gradients(
    shape: tuple[int, ...],
    size: tuple[int, ...],
    *,
    align_corners: bool | None = False,
    dtype: torch.dtype = torch.float64,
    outermost: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output and gradient, by matrices and by PyTorch."""
    torch.manual_seed(0)
    axes = len(size)
    maps = torch.randn(shape, dtype=dtype).contiguous(memory_format=INNERMOST[axes])
    factor = torch.randn(*shape[:2], *size, dtype=dtype)
    if not outermost:
        factor = factor.contiguous(memory_format=INNERMOST[axes])
    maps.requires_grad_()
    with UpsamplingByMatrices():
        ours = functional.interpolate(
            maps, size=list(size), mode=MODE[axes], align_corners=align_corners
        )
    theirs = functional.interpolate(
        maps, size=list(size), mode=MODE[axes], align_corners=align_corners
    )
    (mine,) = torch.autograd.grad(ours, maps, factor)
    (reference,) = torch.autograd.grad(theirs, maps, factor)
    return ours, theirs, mine, reference


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_values_are_pytorchs_and_gradients_too(data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from([2, 3]))
    lengths = st.lists(st.integers(1, 7), min_size=axes, max_size=axes)
    shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(2, 5)), *data.draw(lengths))
    ours, theirs, mine, reference = gradients(
        shape, tuple(data.draw(lengths)), align_corners=data.draw(st.booleans())
    )
    assert torch.equal(ours, theirs), "to the last bit"
    torch.testing.assert_close(mine, reference)


def test_it_is_by_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[tuple[int, int]] = []
    matrix = upsampling._matrix

    def noted(short: int, long: int, align_corners: bool) -> torch.Tensor:
        used.append((short, long))
        return matrix(short, long, align_corners)

    monkeypatch.setattr(upsampling, "_matrix", noted)
    _, _, mine, reference = gradients((2, 3, 2, 3, 4), (4, 6, 8))
    assert used == [(2, 4), (3, 6), (4, 8)]
    assert mine.is_contiguous(memory_format=torch.channels_last_3d)
    assert mine.stride() == reference.stride()


def test_a_voxel_by_hand() -> None:
    # two voxels to four: 1, 0.75, 0.25, 0 of the first one; 0, 0.25, 0.75, 1 of the second one
    maps = torch.zeros(1, 2, 1, 2).contiguous(memory_format=torch.channels_last).requires_grad_()
    with UpsamplingByMatrices():
        made = functional.interpolate(maps, size=[1, 4], mode="bilinear", align_corners=False)
    weights = torch.tensor([1.0, 10.0, 100.0, 1000.0]).expand(1, 2, 1, 4)
    (made * weights).sum().backward()
    assert maps.grad is not None
    assert maps.grad.tolist() == [[[[33.5, 1077.5]], [[33.5, 1077.5]]]]


def test_bfloat16_is_near() -> None:
    _, _, mine, _ = gradients((2, 24, 16, 24, 16), (32, 48, 32), dtype=torch.bfloat16)
    torch.manual_seed(0)
    maps = torch.randn(2, 24, 16, 24, 16, dtype=torch.bfloat16).double().requires_grad_()
    factor = torch.randn(2, 24, 32, 48, 32, dtype=torch.bfloat16).double()
    made = functional.interpolate(maps, size=[32, 48, 32], mode="trilinear", align_corners=False)
    (exact,) = torch.autograd.grad(made, maps, factor)
    assert (mine.double() - exact).abs().max() <= 3 * 2**-8 * exact.abs().max()


@pytest.mark.parametrize(
    "options",
    [
        {"scale_factor": 2, "mode": "trilinear"},
        {"size": [4, 4, 4], "mode": "nearest"},
        {"size": 4, "mode": "trilinear"},
    ],
)
def test_other_interpolation_is_pytorchs(options: dict[str, Any]) -> None:
    maps = torch.randn(1, 3, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    maps.requires_grad_()
    expected = functional.interpolate(maps, **options)
    with UpsamplingByMatrices():
        made = functional.interpolate(maps, **options)
    assert torch.equal(made, expected)
    assert "Upsampling" not in type(made.grad_fn).__name__


def test_a_gradient_with_channels_outermost_is_pytorchs() -> None:
    _, _, mine, reference = gradients((2, 3, 2, 3, 4), (4, 6, 8), outermost=True)
    assert torch.equal(mine, reference)


def test_nothing_is_kept_where_no_gradient_is_wanted() -> None:
    maps = torch.randn(1, 3, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    with UpsamplingByMatrices():
        made = functional.interpolate(maps, size=[4, 4, 4], mode="trilinear")
    assert made.grad_fn is None
