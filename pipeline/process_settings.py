"""Settings of a process: before PyTorch is imported, and of what libraries warn of."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from pathlib import PurePath
from typing import TextIO

SPINS = "20000"
"""Spins before a waiting thread of GNU OpenMP sleeps; its default starves other processes."""

_NOISE = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def set_up_process(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make PyTorch faster on a CPU, and kinder to its neighbours; before torch is imported.

    Threads do not burn the cores they wait for, and large tensors lie on huge pages: each layer of
    a network takes and gives back its memory, and with small pages a quarter to a third of a
    forward pass went into faulting them in. What the user has set (GOMP_SPINCOUNT or
    OMP_WAIT_POLICY, THP_MEM_ALLOC_ENABLE) stays.
    """
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPINS)
    environment.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def calm_warnings() -> None:
    """Python's warnings as records of the logger "py.warnings", in a line; no deprecations.

    Deprecations are the libraries' own affair. Where Python was told what to do with warnings
    (`python -W`, PYTHONWARNINGS) they are logged too.
    """
    if not sys.warnoptions:
        for noise in _NOISE:
            warnings.simplefilter("ignore", noise)
    warnings.showwarning = _log_warning


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    where = "/".join(PurePath(filename).parts[-2:])
    text = " ".join(str(message).split())
    logging.getLogger("py.warnings").warning(f"{text} ({category.__name__}, {where}:{lineno})")
