"""A network as windows run it: by which engine, and whether without its last layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from ...transforms.restore.slabs import ForwardFacts
from ..models.engines import by_int8
from ..models.engines.choice import AutoEngine
from ..models.engines.engine import (
    AUTO,
    INT8,
    Engine,
    check_engine,
    int8_folder,
    make_engine,
    refuse_unusable,
)
from ..models.engines.window_network import WindowKind
from .last_layer import LastLayer, without_last_layer

Network = Callable[..., Any]
INT8_MARK = "+int8:"
"""Stands between the fingerprints of weights and of their network in INT8."""
Faster = Callable[[float, float], Engine | None]


class WindowEngine:
    """The engine of each volume's windows; what is made of a network is made once.

    It can be pickled, for a worker process, which makes its own.

    Args:
        name: see engines.engine.
        int8: folder of the bundle's network in INT8, which that engine reads.

    Raises:
        ConfigError: there is no such engine.
    """

    def __init__(self, name: str, int8: str | Path | None = None) -> None:
        self.name = check_engine(name)
        self.int8 = None if int8 is None else Path(int8).absolute()
        self.facts = ForwardFacts()
        """Of the last volume, by which "auto" knows how long the network has run."""
        self._auto = AutoEngine()
        self._made: tuple[Network, WindowKind, Engine] | None = None
        self._split: tuple[Network, Network, LastLayer | None] | None = None

    def of(
        self, network: Network, kind: WindowKind, *, may_split: bool
    ) -> tuple[Engine, LastLayer | None, Faster | None]:
        """The network by its engine; with a last layer it gives features, see last_layer.

        Last comes what finds another engine for the rest of a volume, see AutoEngine.within.

        Args:
            may_split: only blended scores are wanted, not those of a window. A network in INT8 is
                whole.

        Raises:
            ConfigError: the engine cannot run it here.
        """
        last_layer = None
        if may_split and self.name != INT8:
            if self._split is None or self._split[0] is not network:
                found = without_last_layer(network, kind.shape) or (network, None)
                self._split = (network, *found)
            _, network, last_layer = self._split
        faster = partial(self._auto.within, network, kind) if self.name == AUTO else None
        return self._engine(network, kind), last_layer, faster

    def check(self, network: Network, kind: WindowKind) -> str:
        """Refuse what the engine cannot compute here, before the first volume.

        Returns:
            What tells masks in INT8 from others of the same weights; "" of other engines.

        Raises:
            ConfigError: the engine is not installed, or cannot compute such windows on such a
                device; see by_int8.check_int8.
        """
        refuse_unusable(self.name, network, kind, int8=self.int8)
        if self.name != INT8:
            return ""
        module, folder = cast(torch.nn.Module, network), int8_folder(self.int8)
        return f"{INT8_MARK}{by_int8.check_int8(module, kind.shape[1:], folder)}"

    def _engine(self, network: Network, kind: WindowKind) -> Engine:
        if self.name == AUTO:
            self._auto.seconds += self.facts.network_seconds or 0.0
            self.facts = ForwardFacts()
            return self._auto(network, kind)
        if self._made is None or self._made[0] is not network or self._made[1] != kind:
            made = make_engine(self.name, network, kind, int8=self.int8)
            self._made = (network, kind, made)
        return self._made[2]

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self.name, "int8": self.int8}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
