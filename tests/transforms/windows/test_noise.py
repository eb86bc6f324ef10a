"""Noise by a hash: its bits are NumPy's, its numbers normal, and seeds have nothing in common."""

import hashlib

import numpy as np
import pytest
import torch
from scipy import stats

from gridgate.transforms.windows.noise import gaussian_noise, hashed

CPU = torch.device("cpu")


def murmur(count: int, seed: int) -> np.ndarray:
    """The hash again, in NumPy's unsigned integers."""
    keys = np.frombuffer(hashlib.blake2b(np.uint64(seed).tobytes(), digest_size=8).digest(), "<u4")
    bits = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B9) + keys[0]
    bits ^= bits >> np.uint32(16)
    bits = bits * np.uint32(0x85EBCA6B) + keys[1]
    bits ^= bits >> np.uint32(13)
    bits *= np.uint32(0xC2B2AE35)
    return bits ^ (bits >> np.uint32(16))


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1, 2**63 + 12345, 2**64 - 1])
def test_the_hash_is_that_of_unsigned_integers(seed: int) -> None:
    for count in (1, 7, 1000):
        found = hashed(count, seed, CPU).numpy().view(np.uint32)
        np.testing.assert_array_equal(found, murmur(count, seed))


def test_the_noise_is_normal() -> None:
    noise = gaussian_noise((2, 40, 50, 51), 7, CPU)
    assert noise.shape == (2, 40, 50, 51) and noise.dtype == torch.float32
    assert torch.isfinite(noise).all() and float(noise.abs().max()) < 5.9
    assert stats.kstest(noise.numpy().ravel(), "norm").pvalue > 0.01
    # neighbours along each axis, the two of a pair, and their squares have nothing in common
    flat = noise.double().ravel()
    for step in (1, 51, 50 * 51, 40 * 50 * 51):
        for values in (flat, flat**2, flat.abs()):
            pair = torch.stack([values[:-step], values[step:]])
            assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.01, step


def test_one_number_and_odd_counts() -> None:
    assert gaussian_noise((1, 1, 1, 1), 3, CPU).shape == (1, 1, 1, 1)
    assert torch.isfinite(gaussian_noise((1, 3, 5, 7), 3, CPU)).all()


@pytest.mark.parametrize("other", [8, 7 + 2**32, 7 + 2**40])
def test_another_seed_is_other_noise(other: int) -> None:
    one, another = (gaussian_noise((30_000,), seed, CPU) for seed in (7, other))
    assert torch.equal(one, gaussian_noise((30_000,), 7, CPU))
    assert abs(float(torch.corrcoef(torch.stack([one, another]))[0, 1])) < 0.02
    assert len(np.intersect1d(one.numpy(), another.numpy())) < 300  # not the same, elsewhere


@pytest.mark.cuda
def test_a_gpu_makes_the_same_noise() -> None:
    gpu = torch.device("cuda")
    for seed in (3, 2**63 + 5):
        assert torch.equal(hashed(100_001, seed, gpu).cpu(), hashed(100_001, seed, CPU))
        there, here = (gaussian_noise((1, 33, 48, 32), seed, device) for device in (gpu, CPU))
        torch.testing.assert_close(there.cpu(), here, rtol=1e-5, atol=1e-5)
