"""Fixtures of the networks' tests."""

from collections.abc import Iterator

import pytest

from gridgate.pipeline.training.engine.passes.small_maps import SmallMapsInFloat32


@pytest.fixture
def small_maps_in_float32() -> Iterator[None]:
    """As the trainer runs bfloat16 on a CPU.

    On such a CPU oneDNN's gradients of small maps are at times NaN.
    """
    with SmallMapsInFloat32():
        yield
