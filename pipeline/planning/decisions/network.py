"""Which network, and of which size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....data.errors import ConfigError
from ....networks import network_facts
from ....networks.facts import NetworkFacts
from ..measures.machine import Machine
from .decision import Decision

DEFAULT = "attention_unet"
EVIDENCE = (
    "of the networks here it reached the highest Dice at equal time on both data sets that they "
    "were trained on (benchmarks/results/networks_msd_hippocampus.md, networks_head_neck.md)"
)
WIDER = "benchmarks/results/ablation_msd_hippocampus.md"
_WIDE = 4000  # iterations that the medium size has at least
_TIMES = 1.3  # and the small one more, before the medium one is tried
_LONG = 12 * 3600.0  # seconds from which on a CPU trains a network of the paper's size


def decide_network(name: str | None, size: str | None, machine: Machine) -> list[Decision]:
    """The network's name and options.

    Args:
        name: as asked for; None for the default.
        size: "small", "medium" or "paper"; None leaves it to the machine.

    Raises:
        ConfigError: no such network, or it has no such size.
    """
    reason = "given on the command line" if name else EVIDENCE
    chosen = name or DEFAULT
    try:
        facts = network_facts(chosen)
    except ValueError as error:  # with the nearest name
        raise ConfigError(str(error)) from error
    large = machine.kind == "cuda" or machine.seconds >= _LONG
    if size is None:
        size = "paper" if large else "small"
        why = (
            f"a {'GPU' if machine.kind == 'cuda' else 'CPU'} and {machine.seconds / 3600:.2g} hours"
        )
    else:
        why = "given on the command line"
    return [Decision("network", chosen, reason), *decide_options(facts, size, why)]


def decide_options(facts: NetworkFacts, size: str, why: str) -> list[Decision]:
    """The size of a network, and its options.

    Raises:
        ConfigError: it has no such size.
    """
    options: Mapping[str, Any] | None = getattr(facts, size)
    if options is None:
        raise ConfigError(f"--size {size}: {facts.title} has none; take small or paper")
    told = f"{facts.title} of the size {size}: {facts.reference}"
    return [Decision("size", size, why), Decision("network_options", dict(options), told)]


def may_be_wider(iterations: int) -> bool:
    """Whether a training of the small size has so many iterations that the medium one is tried."""
    return iterations >= _TIMES * _WIDE


def is_wide_enough(iterations: int) -> bool:
    """Whether a training of the medium size has enough iterations to be better than the small."""
    return iterations >= _WIDE


def decide_wider(decisions: list[Decision]) -> list[Decision] | None:
    """The same network in the medium size; None where it is not small, or has none."""
    found = {one.name: one.value for one in decisions}
    facts = network_facts(found["network"])
    if found["size"] != "small" or facts.medium is None:
        return None
    why = (
        f"the window covers the median case, and the time has {_WIDE:,} iterations or more with "
        f"it: better then than more iterations of the small one ({WIDER})"
    )
    return [decisions[0], *decide_options(facts, "medium", why)]
