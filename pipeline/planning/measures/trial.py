"""What a training step of a network takes: counted without memory, and tried on the device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from ....data.errors import ConfigError
from ....networks import build_for_volumes, network_options
from ...costs.process import measured_in_process
from .machine import Machine
from .step_memory import needed_bytes, step_bytes

_TIMEOUT = 600.0  # seconds of one trial


@dataclass(frozen=True)
class Step:
    """A training step that ran.

    Args:
        seconds: of a step.
        forward_seconds: of the network's forward pass alone, in eval mode.
        bytes: at its peak; None where the system does not tell.
    """

    seconds: float
    forward_seconds: float
    bytes: int | None


@dataclass(frozen=True)
class Candidate:
    """A network, tied to no window yet.

    Args:
        name: in networks.registry.
        options: of the network, but for its window.
        channels, outputs: of the network.
    """

    name: str
    options: Mapping[str, Any]
    channels: int
    outputs: int

    def architecture(self, window: list[int]) -> dict[str, Any]:
        """The plan's network for a window."""
        axes = self.options.get("spatial_dims", 3)
        sized = {"img_size": window[:axes]} if "img_size" in network_options(self.name) else {}
        return {"name": self.name, **self.options, **sized}

    def divisor(self) -> tuple[int, ...]:
        """A window's sizes are multiples of these, one per axis.

        Raises:
            ConfigError: the network refuses an option, or its value.
        """
        options = {key: value for key, value in self.options.items() if key != "img_size"}
        network = self._built({"name": self.name, **options})
        found: tuple[int, ...] = network.divisor  # type: ignore[assignment]  # a tensor, to mypy
        return found

    def heads(self) -> int:
        """How many outputs the loss has: more than one is deep supervision.

        Raises:
            ConfigError: see divisor.
        """
        network = self._built(self.architecture([32 * step for step in self.divisor()]))
        return max(1, len(list(getattr(network, "head_weights", ()))))

    def _built(self, architecture: Mapping[str, Any]) -> torch.nn.Module:
        """The network without memory."""
        try:
            with torch.device("meta"):
                return build_for_volumes(
                    **architecture, in_channels=self.channels, out_channels=self.outputs
                )
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f"network {dict(architecture)}: {error}") from error

    def needed(self, window: list[int], batch: int, *, half: bool) -> int:
        """Bytes that a device must have for a training step."""
        return _needed(self, tuple(window), batch, half)

    def try_step(self, window: list[int], batch: int, machine: Machine) -> Step | str:
        """Run some training steps on the machine's device; or why they did not run."""
        wanted = {
            "name": self.name,
            "options": {
                key: value for key, value in self.architecture(window).items() if key != "name"
            },
            "window": window,
            "in_channels": self.channels,
            "classes": self.outputs,
            "batch": batch,
            "device": str(machine.device),
            "training": True,
            "amp": "auto",
        }
        found: dict[str, Any] = {}
        for one in measured_in_process(wanted, timeout=_TIMEOUT):
            found |= one
        if "step_s" not in found:
            return str(found.get("reason", "the trial ended without a word"))
        return Step(found["step_s"], found["forward_s"], found.get("training_bytes"))

    def __hash__(self) -> int:
        return hash((self.name, str(sorted(self.options.items())), self.channels, self.outputs))


@cache
def _needed(candidate: Candidate, window: tuple[int, ...], batch: int, half: bool) -> int:
    step = step_bytes(
        candidate.architecture(list(window)),
        window=window,
        batch=batch,
        channels=candidate.channels,
        outputs=candidate.outputs,
        half=half,
    )
    return needed_bytes(step)
