"""Which network, and of which size."""

from __future__ import annotations

from typing import Any

from ....data.errors import ConfigError
from ....networks import network_facts
from ..measures.machine import Machine
from .decision import Decision

DEFAULT = "attention_unet"
EVIDENCE = (
    "of the networks here it reached the highest Dice at equal time on both data sets that they "
    "were trained on (benchmarks/results/networks_msd_hippocampus.md, networks_head_neck.md)"
)
_LONG = 12 * 3600.0  # seconds from which on a CPU trains a network of the paper's size


def decide_network(name: str | None, size: str | None, machine: Machine) -> list[Decision]:
    """The network's name and options.

    Args:
        name: as asked for; None for the default.
        size: "small" or "paper"; None leaves it to the machine.

    Raises:
        ConfigError: no such network.
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
    options: dict[str, Any] = dict(getattr(facts, size))
    return [
        Decision("network", chosen, reason),
        Decision("size", size, why),
        Decision(
            "network_options", options, f"{facts.title} of the size {size}: {facts.reference}"
        ),
    ]
