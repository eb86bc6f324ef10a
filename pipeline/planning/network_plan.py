"""A network with its window, its batch and its training, and whether a wider one is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...data.datasets.fingerprint.numbers import Fingerprint
from ...data.errors import ConfigError
from ...networks import network_facts
from ..plans.plan import channel_count
from .decisions.decision import Decision
from .decisions.duration import decide_duration
from .decisions.network import decide_wider, is_wide_enough, may_be_wider
from .decisions.window import decide_window
from .measures.machine import Machine
from .measures.pace import Pace, measure_pace
from .measures.trial import Candidate


@dataclass(frozen=True)
class NetworkPlan:
    """A network with its window, its batch and its training.

    Args:
        network: its decisions.
        training: window, batch and length.
        candidate: the network.
        pace: of the training, where it was measured.
        covers: the window covers the median case, and nothing made it smaller.
    """

    network: list[Decision]
    training: list[Decision]
    candidate: Candidate
    pace: Pace | None
    covers: bool

    @classmethod
    def of(
        cls,
        network: list[Decision],
        fingerprint: Fingerprint,
        machine: Machine,
        spacing: Sequence[float],
        given: Mapping[str, Any],
    ) -> NetworkPlan:
        """Decide window, batch and length for a network."""
        found = {one.name: one.value for one in network}
        candidate = Candidate(
            found["network"],
            {**found["network_options"], **settings_of("network", given)},
            len(fingerprint.channels),
            channel_count(fingerprint.labels, fingerprint.region_values),
        )
        window = decide_window(
            fingerprint,
            spacing,
            candidate,
            machine,
            window=given.get("roi_size"),
            batch=given.get("training::batch_size"),
        )
        pace = None
        if window.step is not None:
            sizes, batch = window.window.value, window.batch.value
            pace = measure_pace(fingerprint, spacing, sizes, batch, window.step, machine)
        asked = asked_by(candidate.name, found["size"])
        duration = decide_duration(
            pace, machine.seconds, asked, found["size"], iterations=machine.iterations
        )
        training = [window.window, window.batch, *duration]
        return cls(network, training, candidate, pace, window.covers)

    def value(self, name: str) -> Any:
        """What was decided of that name."""
        return next(one.value for one in (*self.network, *self.training) if one.name == name)

    @property
    def iterations(self) -> int:
        """Of the training."""
        return int(self.value("epochs") * self.value("iterations_per_epoch"))

    def wider(
        self,
        fingerprint: Fingerprint,
        machine: Machine,
        spacing: Sequence[float],
        given: Mapping[str, Any],
    ) -> NetworkPlan:
        """The network of the next size where the time has enough iterations with it; or this."""
        if self.pace is None or not self.covers or not may_be_wider(self.iterations):
            return self
        network = decide_wider(self.network)
        if network is None:
            return self
        try:
            found = NetworkPlan.of(network, fingerprint, machine, spacing, given)
        except ConfigError:  # it does not fit
            return self
        enough = found.covers and is_wide_enough(found.iterations)
        return found if enough else self


def asked_by(network: str, size: str) -> dict[str, Any]:
    """Settings of a training that a network asks for."""
    facts = network_facts(network)
    return {**facts.training, **(getattr(facts, f"{size}_training", None) or {})}


def settings_of(first: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings below one id: of "network" and {"network::width": 8} it is {"width": 8}."""
    return {
        key.partition("::")[2]: value
        for key, value in given.items()
        if key.startswith(f"{first}::")
    }
