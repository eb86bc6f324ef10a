"""Windows mirrored from left to right, with the labels of sides exchanged."""

from typing import Any

import numpy as np
import pytest
import torch

from gridgate.transforms import augmentation

PAIRS = [[1, 2], [4, 3]]
OTHER = np.array([0, 2, 1, 4, 3, 5])  # of each label, its mirror image


def case(seed: int) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    label = random.integers(0, 6, (1, 7, 6, 5)).astype(np.float32)
    label[0, 0, 0, :2] = -1  # does not count
    image = random.standard_normal(label.shape).astype(np.float32)
    return {
        "image": torch.from_numpy(image),
        "label": torch.from_numpy(label),
        "annotated": np.array([True, True, False, False, True, True]),
    }


def drawn(seed: int, **options: Any) -> dict[str, Any]:
    """The whole case as its window, neither turned nor scaled."""
    draw = augmentation(
        roi_size=(7, 6, 5), label_count=6, intensity=False, rotation_probability=0.0,
        scale_probability=0.0, mirror_axes=(0, 1), **options,
    )  # fmt: skip
    draw.set_random_state(seed=seed)
    return dict(draw(case(7)))


def test_a_mirrored_window_has_the_sides_exchanged() -> None:
    whole, seen = case(7), set()
    label = whole["label"].numpy()
    there = np.where(label < 0, label, OTHER[label.astype(int)])
    for seed in range(40):
        found = drawn(seed, mirror_pairs=PAIRS)
        kept = drawn(seed)  # as it was without pairs: the same draws
        assert torch.equal(found["image"], kept["image"])
        for x in (False, True):
            for y in (False, True):
                axes = tuple(axis for axis, on in ((1, x), (2, y)) if on)
                if np.array_equal(np.flip(whole["image"].numpy(), axes), found["image"].numpy()):
                    seen.add((x, y))
                    wanted = np.flip(there if x else label, axes)
                    assert np.array_equal(found["label"].numpy(), wanted)
                    annotated = whole["annotated"][OTHER] if x else whole["annotated"]
                    assert np.array_equal(found["annotated"], annotated)
                    assert np.array_equal(kept["annotated"], whole["annotated"])
    assert len(seen) == 4
    assert np.array_equal(whole["label"].numpy(), label), "the case itself is left as it was"


@pytest.mark.parametrize("pairs", [[[1]], [[1, 2], [2, 3]], [[0, 1]], [[5, 6]], [[3, 3]]])
def test_pairs_that_are_none(pairs: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="mirror_pairs"):
        drawn(0, mirror_pairs=pairs)
