"""Which values a CT can have, on real CTs and on the ways in which they are spoilt."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gridgate.data.images.reading import read_image
from gridgate.data.images.values import why_not_hu


@pytest.fixture(scope="module")
def ct(shared_data: Path) -> NDArray[np.int16]:
    path = shared_data / "ct" / "totalsegmentator_3mm" / "ct.nii.gz"
    return np.asarray(read_image(path, keep_integers=True).array, dtype=np.int16)


def test_real_cts_are_in_hu(shared_data: Path) -> None:
    paths = [
        *shared_data.glob("ct/*/ct.nii.gz"),
        *shared_data.glob("ct/*/CT_image.nii.gz"),
        *shared_data.glob("ct/*/CTChest4.nrrd"),
        *sorted(shared_data.glob("openkbp_head_neck/imagesTr/*"))[:6],
    ]
    assert len(paths) > 10
    for path in paths:
        assert why_not_hu(read_image(path, keep_integers=True).array) is None, path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unit", "0..1, so they are not HU but scaled"),
        ("byte", "as of a picture"),
        ("symmetric", "too narrow a range"),
        ("zscore", "too narrow a range"),
        ("mask", "0..1"),
        ("constant", "all voxels have the value 0"),
        ("offset", "an offset of 1024 was probably not subtracted"),
        ("offset of 1000", "an offset of 1024 was probably not subtracted"),
        ("offset, padded", "an offset of 1024 was probably not subtracted"),
        ("offset, noisy", "an offset of 1024 was probably not subtracted"),
        ("subtracted twice", "no tissue in HU"),
        ("sixteen bits", "no value is below 0"),
    ],
)
def test_values_that_are_no_hu_have_their_words(
    name: str, words: str, ct: NDArray[np.int16]
) -> None:
    clipped = np.clip(ct.astype(np.float32), -1024, 1500)
    unit = (clipped + 1024) / 2524
    padded = ct + np.int16(1024)
    padded[:10] = -2000
    spoilt = {
        "unit": unit,
        "byte": np.rint(unit * 255).astype(np.uint8),
        "symmetric": unit * 2 - 1,
        "zscore": (clipped - clipped.mean()) / clipped.std(),
        "mask": (ct > 0).astype(np.int16),
        "constant": np.zeros_like(ct),
        "offset": np.maximum(ct, -1024) + 1024,
        "offset of 1000": np.maximum(ct, -1000) + 1000,
        "offset, padded": padded,
        "offset, noisy": ct + 1024 + np.random.default_rng(0).integers(-12, 13, ct.shape),
        "subtracted twice": np.clip(ct, -1024, 600) - 1024,
        "sixteen bits": (unit * 65535).astype(np.uint16),
    }
    found = why_not_hu(spoilt[name])
    assert found is not None and words in found


def test_what_a_ct_may_look_like_is_not_doubted(ct: NDArray[np.int16]) -> None:
    padded = ct.copy()
    padded[:20] = -3024
    tissue = np.random.default_rng(0).integers(-47, 700, 1000)
    for fine in (
        ct,
        padded,
        tissue,
        ct.astype(np.float32),
        np.asfortranarray(ct),
        np.clip(ct, -160, 240),
    ):
        assert why_not_hu(fine) is None
