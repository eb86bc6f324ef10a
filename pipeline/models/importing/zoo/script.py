"""The plan of a zoo bundle whose network is its TorchScript."""

from __future__ import annotations

from collections.abc import Mapping

from ....plans.plan import Plan
from ..network_file import NetworkFile
from .folder import ZooBundle
from .plan import zoo_plan
from .windows import windows_of


def script_plan(
    bundle: ZooBundle, file: NetworkFile, name: str, names: Mapping[str, int] | None
) -> Plan:
    """The plan of a network's file behind a config of the model zoo's kind.

    Raises:
        ConfigError: the config is not understood.
        CheckpointError: see NetworkFile.tried; it gives probabilities where logits are wanted.
    """
    channels = bundle.said("network_data_format", "inputs", "image", "num_channels")
    channels = channels if isinstance(channels, int) else 1
    tried = file.tried(channels, windows_of(bundle.values)["roi_size"])
    plan = zoo_plan(
        bundle,
        name,
        network=tried.architecture,
        channels=channels,
        outputs=tried.outputs,
        names=names,
    )
    tried.refuse_probabilities(plan, file.path)
    return plan
