"""What is stored comes back bit for bit, whole and in boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridgate.data.datasets.cache.arrays import StoredArray, array_bytes
from gridgate.data.datasets.cache.stored_case import StoredCase, is_ours, write_case
from gridgate.data.datasets.cache.values import INLINE, Held, decoded, encoded
from gridgate.data.errors import ConfigError, DatasetError

DRAW = np.random.default_rng(0)


def odd_floats() -> np.ndarray:
    """All that a float32 can be, among them two NaN of different bits and both zeros."""
    array = DRAW.standard_normal((2, 37, 70, 9)).astype(np.float32)
    array[0, 0, 0, :6] = (np.nan, -np.nan, np.inf, -np.inf, -0.0, 1e-42)
    return array


ARRAYS = {
    "floats": odd_floats(),
    "labels as floats": DRAW.integers(0, 5, (1, 40, 65, 33)).astype(np.float32),
    "ignore value": DRAW.integers(-1, 4, (1, 40, 20, 33)).astype(np.float32),
    "a negative zero": np.array([[[[0.0, -0.0, 1.0]]]], np.float32),
    "whole but large": np.full((1, 8, 8, 8), 2.0**40, np.float32),
    "indices": np.sort(DRAW.integers(0, 2**33, 100_000)),
    "bool": DRAW.random((1, 30, 30, 30)) < 0.5,
    "float64": DRAW.standard_normal((5, 6)),
    "uint16": DRAW.integers(0, 2**16, (3, 90, 40)).astype(np.uint16),
    "five axes": DRAW.standard_normal((2, 2, 17, 18, 19)).astype(np.float32),
}


def stored(array: np.ndarray, path: Path) -> StoredArray:
    path.write_bytes(array_bytes(array))
    return StoredArray(path, array.shape, array.dtype)


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@pytest.mark.parametrize("name", ARRAYS)
def test_each_bit_comes_back(name: str, tmp_path: Path) -> None:
    array = ARRAYS[name]
    kept = stored(array, tmp_path / "a")
    assert same_bits(kept[...], array)
    for _ in range(20):
        ends = [sorted(DRAW.integers(0, n + 1, 2)) for n in array.shape]
        box = tuple(slice(a, b) for a, b in ends)
        assert same_bits(kept[box], np.ascontiguousarray(array[box])), box


def test_labels_take_little_room(tmp_path: Path) -> None:
    labels = np.zeros((1, 100, 100, 100), np.float32)
    labels[0, 20:50, 30:60, 10:40] = 3
    assert stored(labels, tmp_path / "a").path.stat().st_size < labels.nbytes / 200


@pytest.mark.parametrize("harm", ["gone", "cut", "empty"])
def test_a_file_that_is_harmed_while_it_is_used_is_an_error_of_ours(
    harm: str, tmp_path: Path
) -> None:
    kept = stored(ARRAYS["floats"], tmp_path / "a")
    content = kept.path.read_bytes()
    kept.path.unlink()
    if harm != "gone":
        kept.path.write_bytes(content[: len(content) // 2 if harm == "cut" else 0])
    with pytest.raises(DatasetError, match=r"a: this stored case cannot be read.*--resume True"):
        kept[...]


VALUES: dict[str, Any] = {
    "none": None,
    "truth": (True, False),
    "numbers": [1, -2.5, float("inf"), 1e-300],
    "numpy": (np.float64(0.1), np.int16(-3), np.bool_(True)),
    "text": {"ä\n": "\udcff\u2028", "": ""},
    "bytes": b"\x00\xff",
    "keys": {1: "a", (2, 3): "b", None: "c"},
    "arrays": [np.eye(4), np.arange(3, dtype=np.uint8), np.zeros((0, 3)), np.array(5.0)],
    "large": np.arange(INLINE),
    "held": Held("volume", np.arange(INLINE, dtype=np.float32), {"meta": {"affine": np.eye(4)}}),
}


def same(one: Any, other: Any) -> bool:
    if isinstance(other, Held):
        return one.kind == other.kind and same([one.array, one.parts], [other.array, other.parts])
    if isinstance(other, np.ndarray):
        return same_bits(np.asarray(one), other)
    if isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other)) and type(one) is type(other)
    if isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in other)
    return bool(one == other) and type(one) is type(other)


def test_a_case_of_any_values_comes_back(tmp_path: Path) -> None:
    write_case(tmp_path, VALUES, about={"id": "x"})
    case = StoredCase(tmp_path)
    assert same(case.read(), VALUES)
    assert case.why_damaged() is None and case.about() == {"id": "x"}
    assert case.bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == set(case.names())
    assert all(map(is_ours, case.names()))
    opened = case.open()
    assert isinstance(opened["large"], StoredArray) and isinstance(
        opened["held"].array, StoredArray
    )
    assert same(opened["arrays"], VALUES["arrays"])


def test_what_cannot_be_stored_is_named() -> None:
    with pytest.raises(ConfigError, match=r"leaves case\.a\[1\] of the type object"):
        encoded({"a": [1, object()]}, lambda array: None, name="case")


def test_small_values_need_no_file() -> None:
    value = [np.arange(10), {"a": (1, 2)}]
    kept = encoded(value, lambda array: pytest.fail("a file"))
    assert same(decoded(kept, lambda at: None), value)
