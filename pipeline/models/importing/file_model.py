"""A bundle of a network that is a file, TorchScript or ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....data.errors import CheckpointError, ConfigError
from ....data.new_folder import refuse_existing
from ...plans.plan import Plan, channel_count
from .label_names import whole_labels
from .network_file import NetworkFile, read_network_file
from .settings import read_settings, without_own
from .written import write_imported
from .zoo.folder import ZooBundle
from .zoo.script import script_plan
from .zoo.values import ConfigValues

_KINDS = {"torchscript": "TorchScript", "onnx": "ONNX"}


def import_network_file(
    source: str | Path,
    output: str | Path,
    *,
    settings: str | Path | None = None,
    names: Mapping[str, int] | None = None,
) -> Path:
    """Write the bundle of a file of TorchScript or ONNX; it is there complete, or not at all.

    Args:
        source: the file; logits (B, channels, *window) of windows (B, C, *window).
        output: new folder.
        settings: how scans are prepared, see read_settings; None: as the configs say that MONAI or
            Gridgate wrote into the TorchScript.
        names: label -> value, in the place of those that are said there.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists; nothing says how scans are prepared, or it is not
            understood; a package is missing.
        CheckpointError: the file cannot be read, or gives other scores than the labels have.
        OutputError: it cannot be written.
    """
    refuse_existing(output)
    file = read_network_file(source)
    name = Path(output).resolve().name
    said = None if settings is None else read_settings(settings)
    if said is None and isinstance(file.configs.get("metadata.json", {}).get("plan"), dict):
        said = without_own(file.configs["metadata.json"]["plan"])
    if said is not None and names is not None:
        said["labels"] = whole_labels(names)
    plan = _zoo_plan(file, name, names) if said is None else _plan(file, name, said)
    return write_imported(plan, file.state, output)


def _zoo_plan(file: NetworkFile, name: str, names: Mapping[str, int] | None) -> Plan:
    config = file.configs.get("inference.json")
    if config is None:
        raise ConfigError(
            f"{file.path}: says nothing of how scans are prepared for it; give --plan FILE, a YAML "
            "with labels, spacing, roi_size, intensity (orientation, overlap, ... where they are "
            "not the defaults), or --plan BUNDLE, whose plan it has"
        )
    values = ConfigValues(config, of=f"{file.path}: inference.json")
    bundle = ZooBundle(file.path, file.path, values, file.configs.get("metadata.json", {}))
    return script_plan(bundle, file, name, names)


def _plan(file: NetworkFile, name: str, settings: Mapping[str, Any]) -> Plan:
    kind = _KINDS[file.architecture["format"]]
    if settings.get("parts"):
        raise ConfigError(f"{file.path}: --plan: its plan is of several networks, not of one")
    plan = Plan.from_dict(
        {
            **settings,
            "name": name,
            "network": file.architecture,
            "imported": f"a network in {kind}, {file.path.name}",
            "results": "Not measured here: `gridgate evaluate` measures it on labelled cases.",
        }
    )
    wanted = plan.output_channels or channel_count(plan.labels, plan.region_values)
    tried = file.tried(plan.channels, [int(size) for size in plan.roi_size])
    if tried.outputs != wanted:
        raise CheckpointError(
            f"{file.path}: has {tried.outputs} output channels, and the settings' labels "
            f"({', '.join(plan.labels)}) want {wanted}"
        )
    tried.refuse_probabilities(plan, file.path)
    return plan.replace(network=tried.architecture)
