"""What is labelled, counted the plain way."""

import numpy as np
import pytest

from gridgate.data.geometry import foreground
from gridgate.data.geometry.foreground import cross_sections


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64])
@pytest.mark.parametrize("turn", ["C", "F", "flipped", "permuted", "cut"])
def test_cross_sections(dtype: type, turn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreground, "_VOXELS_AT_A_TIME", 100)
    most = min(int(np.iinfo(dtype).max), 4_000_000_000)
    values = np.array([0, 0, 0, 1, 7, most], dtype)
    array = np.random.default_rng(0).choice(values, (9, 11, 13))
    if np.iinfo(dtype).min < 0:
        array[0] = -1
    array = {
        "C": array,
        "F": np.asfortranarray(array),
        "flipped": array[::-1, :, ::-1],
        "permuted": array.transpose(2, 0, 1),
        "cut": array[1:-1, 2:-2, ::2],
    }[turn]
    found = cross_sections(array)
    for axis, counts in enumerate(found):
        others = tuple(other for other in range(3) if other != axis)
        expected = [(array == value).sum(axis=others) for value in (1, 7, most)]
        np.testing.assert_array_equal(counts, expected)


def test_nothing_is_labelled() -> None:
    assert [counts.shape for counts in cross_sections(np.zeros((2, 3, 4), np.uint8))] == [
        (0, 2),
        (0, 3),
        (0, 4),
    ]
