"""How PyTorch's threads wait for each other."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# Spins before a waiting thread sleeps. With GNU OpenMP's default a second busy process on the same two cores made a
# training iteration take 15 s instead of 0.4 s; with no spinning at all it was 1.4 s there, but 0.6 s on idle cores.
# This many is as fast as the default on idle cores; beside a busy process it was not timed on its own.
SPINS = "20000"


def wait_politely(environment: MutableMapping[str, str] = os.environ) -> None:
    """Keep threads from burning the cores they wait for; must be called before torch is imported.

    What the user has set (GOMP_SPINCOUNT or OMP_WAIT_POLICY) stays.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPINS)
