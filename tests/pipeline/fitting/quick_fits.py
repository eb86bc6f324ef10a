"""What makes a fit a matter of seconds."""

from functools import partial
from typing import Any

import pytest

from gridgate.pipeline.fitting import fit as fitting
from gridgate.pipeline.planning.measures.trial import Candidate, Step

SMALL = [
    *("--spacing", "[12, 12, 12]", "--roi_size", "[32, 16, 16]"),
    *("--training::num_workers", "0", "--training::batch_size", "2"),
]
WORDS = ["--folds", "2", "--iterations", "3", "--network::feature_scale", "32", *SMALL]


def known_steps(patch: pytest.MonkeyPatch) -> None:
    """Steps of 1e-6 s a voxel: a trial starts a process of its own, which takes its time.

    Evaluations run in this process for the same reason.
    """

    def try_step(self: Candidate, window: list[int], batch: int, machine: object) -> Step:
        seconds = 1e-6 * batch * window[0] * window[1] * window[2]
        return Step(seconds, seconds / 3, 10**8)

    real = fitting.evaluate

    def evaluate_here(*words: Any) -> dict[str, str]:  # worker processes take seconds to start
        *paths, settings = words
        return real(*paths, {**settings, "isolate": False})

    patch.setattr(Candidate, "try_step", try_step)
    patch.setattr(fitting, "evaluate", evaluate_here)
    for name in ("check_soundness", "measure_fingerprint"):
        patch.setattr(fitting, name, partial(getattr(fitting, name), workers=1))
