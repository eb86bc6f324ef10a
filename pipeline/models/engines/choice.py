"""`--engine auto`: the fastest engine for a network on this machine, measured once and kept."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ....data.errors import ConfigError, OutputError
from ....data.files import write_atomically
from ....networks.network_file import is_float32_only
from ..devices import autocast, channels_last
from ..machine import processor
from .attempt import Standing, attempt
from .converted import engines_folder
from .engine import TORCH, Engine, Forward, make_engine, usable
from .network_key import network_key
from .window_network import WindowKind

logger = logging.getLogger("gridgate.engine")

FILE = "choices.json"
_ROUNDS = 3  # the first is slower, which counts for little where windows are large
_ROUNDS_SECONDS = 3.0  # after which no further round begins
_WORTH = 0.95  # of PyTorch's time: what brings less is not worth another library
_WORTH_MEASURING = 20.0  # seconds in the network: about what converting and measuring take
_WORTH_WITHIN = 40.0  # seconds that a volume still takes: others save a half at the most


class AutoEngine:
    """The engine of each volume, one after another.

    PyTorch's own where no other is installed, and else, too, until the network has run for so long
    that converting and measuring is worth it, be it within a volume; then, and at once where it was
    measured before on this machine for this network and these windows, the one that is fastest.

    Example:
        >>> kind = WindowKind((1, 8, 8, 8), None, torch.device("cpu"), 1)
        >>> AutoEngine()(torch.nn.Conv3d(1, 2, 1), kind).name
        'torch'
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Spent in the network so far, by whoever asks."""
        self._made: tuple[Forward, WindowKind, Engine] | None = None
        self._keyed: tuple[Forward, WindowKind, str] | None = None

    def __call__(self, network: Forward, kind: WindowKind) -> Engine:
        """The network by the engine to use now."""
        if not self._is_decided(network, kind):
            engine = self._chosen(network, kind, may_measure=self.seconds >= _WORTH_MEASURING)
            if engine is None:
                return make_engine(TORCH, network, kind)
            self._made = (network, kind, engine)
        assert self._made is not None
        return self._made[2]

    def within(
        self, network: Forward, kind: WindowKind, spent: float, left: float
    ) -> Engine | None:
        """Another engine for the rest of a volume; None: the one that it began with.

        Args:
            spent: seconds in the network, of this volume.
            left: seconds that it still takes.
        """
        if self._is_decided(network, kind) or left < _WORTH_WITHIN:
            return None
        if self.seconds + spent < _WORTH_MEASURING:
            return None
        engine = self._chosen(network, kind, may_measure=True)
        if engine is None:
            return None
        self._made = (network, kind, engine)
        return None if engine.name == TORCH else engine

    def _chosen(self, network: Forward, kind: WindowKind, *, may_measure: bool) -> Engine | None:
        """The engine that is to be kept to; None: that is not known yet."""
        others = _others(network, kind)
        if not (others and isinstance(network, torch.nn.Module)):
            return make_engine(TORCH, network, kind)
        if self._keyed is None or self._keyed[0] is not network or self._keyed[1] != kind:
            self._keyed = (network, kind, _key(network, kind, others))
        key = self._keyed[2]
        engine = _kept_engine(key, network, kind, others)
        if engine is not None or not may_measure:
            return engine
        with attempt(engines_folder(), key) as standing:
            if standing is Standing.BUSY:
                return None
            if standing is Standing.ENDED:
                logger.warning(
                    "engine: torch, as processes that tried others on this network ended; "
                    f"{engines_folder()} can be removed, and they are tried again"
                )
                return make_engine(TORCH, network, kind)
            # another process may have found it since
            found = _kept_engine(key, network, kind, others)
            return found or _measured_engine(key, network, kind, others)

    def _is_decided(self, network: Forward, kind: WindowKind) -> bool:
        made = self._made
        return made is not None and made[0] is network and made[1] == kind

    def __getstate__(self) -> dict[str, Any]:
        return {"seconds": 0.0, "_made": None, "_keyed": None}  # another process begins anew


def _others(network: Forward, kind: WindowKind) -> list[str]:
    # a file has its own library
    return [] if is_float32_only(network) else usable(kind)


def _kept_engine(
    key: str, network: torch.nn.Module, kind: WindowKind, others: Sequence[str]
) -> Engine | None:
    chosen = _kept().get(key)
    if chosen not in (TORCH, *others):
        return None
    try:
        return make_engine(chosen, network, kind)
    except ConfigError as error:
        logger.warning(f"engine: torch, as it is not {error}")
        return make_engine(TORCH, network, kind)


def _measured_engine(
    key: str, network: torch.nn.Module, kind: WindowKind, others: Sequence[str]
) -> Engine:
    """Run some windows by each; the choice is kept for the next run."""
    logger.info(f"engine: {', '.join(others)} are tried on this network, once on this machine")
    made = {TORCH: make_engine(TORCH, network, kind)}
    seconds: dict[str, float] = {}
    for name in (TORCH, *others):
        try:
            made[name] = make_engine(name, network, kind)
            seconds[name] = seconds_per_window(made[name], kind)
        except Exception as error:  # whatever a library does, PyTorch can go on
            logger.warning(f"engine: {error}")
    if TORCH not in seconds:  # not even that: memory is short now, which says nothing of later
        return made[TORCH]
    best = min(seconds, key=lambda name: seconds[name])
    if seconds[best] > _WORTH * seconds[TORCH]:
        best = TORCH
    told = ", ".join(f"{name} {spent:.3g} s" for name, spent in seconds.items())
    logger.info(f"engine: {best} from now on; a window took {told} ({kind.number_format})")
    _keep(key, best)
    return made[best]


def seconds_per_window(engine: Engine, kind: WindowKind) -> float:
    """What a window takes: the best of some rounds."""
    count = kind.batch_size if engine.name == TORCH else 1
    least = kind.least_batch if engine.name == TORCH else 1
    windows = channels_last(torch.randn(max(count, least), *kind.shape))
    spent: list[float] = []
    while len(spent) < _ROUNDS and sum(spent) < _ROUNDS_SECONDS:
        began = time.perf_counter()
        with torch.inference_mode(), autocast(kind.device, engine.dtype):
            engine.forward(windows)
        spent.append(time.perf_counter() - began)
    return min(spent) / count


def _key(network: torch.nn.Module, kind: WindowKind, others: Sequence[str]) -> str:
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    machine = (processor(), kind.threads, kind.number_format, isa, kind.batch, *others)
    text = repr((machine, network_key(network, kind.shape)))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _file() -> Path | None:
    folder = engines_folder()
    return None if folder is None else folder / FILE


def _kept() -> Mapping[str, Any]:
    file = _file()
    try:
        found = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _keep(key: str, name: str) -> None:
    """Keep a choice; two processes at once may lose one of theirs, which is measured again."""
    file = _file()
    if file is None:
        return
    text = json.dumps({**_kept(), key: name}, indent=1)
    try:
        write_atomically(file, lambda stream: stream.write(text.encode()))
    except OutputError as error:
        logger.debug(f"the choice of an engine is not kept: {error}")
