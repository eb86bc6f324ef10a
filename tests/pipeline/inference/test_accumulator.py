"""The weighted mean of windows, where its sums have 16 bits."""

import pytest
import torch

from gridgate.pipeline.inference import accumulator
from gridgate.pipeline.inference.accumulator import Accumulator
from gridgate.pipeline.inference.nnunet_windows import gaussian


@pytest.mark.parametrize("sums", [torch.float32, torch.float16])
def test_scores_of_low_weights_are_those_that_came(
    monkeypatch: pytest.MonkeyPatch, sums: torch.dtype
) -> None:
    """In a volume's corners there is one window alone, and nnU-Net's weights are 6e-9 there."""
    if sums is torch.float16:
        monkeypatch.setattr(accumulator, "_EXACT_BYTES", 0)
    size = (32, 32, 32)
    weights = gaussian(size, torch.device("cpu"))
    assert weights.min() < 1e-8
    kept = Accumulator(32, size[1:], 3, dtype=torch.float16, device=torch.device("cpu"))
    assert kept.sums.dtype is sums
    scores = torch.randn(*size, 3, generator=torch.Generator().manual_seed(0)).half()
    kept.add(scores, weights, (0, 0))
    whole = (slice(None),) * 3
    means = torch.cat([slab.scores for slab in kept.finish(32, 0, whole)])
    torch.testing.assert_close(means, scores, atol=2e-3, rtol=2e-3)
