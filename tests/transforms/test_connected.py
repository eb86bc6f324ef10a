"""Connected components of all labels at once, against SciPy's of one label after the other."""

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gridgate.transforms import connected
from gridgate.transforms.connected import connected_components, erase


def by_scipy(labels: np.ndarray) -> list[tuple[int, int, int]]:
    """(label, voxels, index of the first voxel) of each component."""
    found = []
    for label in np.unique(labels[labels > 0]).tolist():
        parts, count = ndimage.label(labels == label, np.ones((3, 3, 3)))
        flat = np.ravel(parts, order="C")
        for part in range(1, count + 1):
            at = np.flatnonzero(flat == part)
            found.append((label, len(at), int(at[0])))
    return sorted(found)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    density=st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]),
    order=st.permutations(range(3)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]),
    chunk=st.sampled_from([16, 64, 1 << 22]),
)
def test_components_are_those_that_scipy_finds_label_by_label(
    seed: int, shape: tuple[int, ...], density: float, order: list[int], dtype: type, chunk: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 4, shape) * (rng.random(shape) < density)).astype(dtype)
    stored = np.ascontiguousarray(labels.transpose(order)).transpose(np.argsort(order))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connected, "_CHUNK", chunk)
        found = connected_components(stored)
        first = found.first_voxels(np.arange(len(found.label)))
        ours = zip(found.label.tolist(), found.voxels.tolist(), first.tolist(), strict=True)
        assert sorted(ours) == by_scipy(labels)
        remove = rng.random(len(found.label)) < 0.5
        erase(stored, found, remove)
    # what is left are the components that were not removed
    left = np.stack([found.label, found.voxels, first], axis=1)[~remove]
    assert sorted(map(tuple, left.tolist())) == by_scipy(stored)


@pytest.mark.parametrize("step", [(1, 1, 1), (1, -1, 1), (-1, 1, 1), (1, 1, -1), (0, 1, -1)])
def test_corners_and_edges_touch_and_ends_of_lines_do_not(step: tuple[int, int, int]) -> None:
    labels = np.zeros((5, 5, 5), dtype=np.uint8)
    labels[2, 2, 2] = labels[2 + step[0], 2 + step[1], 2 + step[2]] = 1
    assert connected_components(labels).voxels.tolist() == [2]
    ends = np.zeros((3, 3, 3), dtype=np.uint8)
    ends[0, 0, 2] = ends[0, 1, 0] = 1  # neighbours in memory only
    ends[0, 2, 2] = ends[1, 0, 0] = 2
    assert connected_components(ends).voxels.tolist() == [1, 1, 1, 1]


def test_a_view_of_a_larger_map_is_one_map() -> None:
    rng = np.random.default_rng(0)
    whole = (rng.random((20, 18, 16)) > 0.8).astype(np.uint8)
    for part in (whole[3:15, 2:11, 5:14], whole[::2, ::-1, 1:9], whole.T[2:9]):
        found = connected_components(part)
        assert sorted(zip(found.label.tolist(), found.voxels.tolist(), strict=True)) == [
            (label, voxels) for label, voxels, _ in sorted(by_scipy(part))
        ]


def test_the_example_is_true() -> None:
    assert doctest.testmod(connected).failed == 0
