"""A bundle of Gridgate of a bundle of the model zoo."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch

from .....data.errors import ConfigError
from .....data.new_folder import refuse_existing
from ....plans.plan import Plan
from ...checkpoints import load_checkpoint, state_dict_of
from ..network_file import read_network_file
from ..written import check_weights, write_imported
from .folder import ZooBundle, read_zoo_bundle
from .network import is_known, network_of
from .plan import zoo_plan
from .script import script_plan


def import_zoo(
    source: str | Path, output: str | Path, *, names: Mapping[str, int] | None = None
) -> Path:
    """Write the bundle of a bundle of MONAI's model zoo; it is there complete, or not at all.

    Its config is read, not run. Where its network is none of MONAI's that are known here, its
    TorchScript, models/model.ts, is the network.

    Args:
        source: its folder.
        output: new folder.
        names: label -> value, 1, 2, ...; None: those of its metadata.

    Returns:
        The folder.

    Raises:
        ConfigError: the folder exists; something in the config that is not understood, by its name.
        CheckpointError: weights that cannot be read, or do not fit the network.
        OutputError: it cannot be written.
    """
    refuse_existing(output)
    bundle, name = read_zoo_bundle(source), Path(output).resolve().name
    script = bundle.folder / "models" / "model.ts"
    if script.is_file() and not is_known(bundle):
        file = read_network_file(script)
        return write_imported(script_plan(bundle, file, name, names), file.state, output)
    return write_imported(*_read(bundle, name, names), output)


def _read(
    bundle: ZooBundle, name: str, names: Mapping[str, int] | None
) -> tuple[Plan, OrderedDict[str, torch.Tensor]]:
    """The plan and the weights of a bundle whose network is one of MONAI's."""
    network, channels, outputs = network_of(bundle)
    plan = zoo_plan(bundle, name, network=network, channels=channels, outputs=outputs, names=names)
    weights = bundle.folder / "models" / _weights_name(bundle)
    content = state_dict_of(load_checkpoint(weights))
    state = OrderedDict((str(key), tensor) for key, tensor in content.items())
    check_weights(plan, state, of=weights, hint="the bundle's config may be of other weights")
    return plan, state


def _weights_name(bundle: ZooBundle) -> str:
    """The file in models/ that the config loads.

    Raises:
        ConfigError: it says none that is known.
    """
    loaders = [bundle.values.config.get("checkpointloader")]
    for key in ("handlers", "val_handlers"):
        handlers = bundle.values.config.get(key)
        loaders += handlers if isinstance(handlers, list) else []
    for loader in loaders:
        if not isinstance(loader, Mapping) or "load_path" not in loader:
            continue
        if bundle.values.value(loader.get("_disabled_", False)) is True:
            continue
        path = str(bundle.values.value(loader["load_path"])).replace("\\", "/")
        folder, found, name = path.rpartition("models/")
        if not found or ".." in name or (folder and not folder.endswith("/")):
            raise ConfigError(
                f"{bundle.values.of}: its weights, {path}, are not in the bundle's models/"
            )
        return name
    if (bundle.folder / "models" / "model.pt").is_file():
        return "model.pt"
    raise ConfigError(f"{bundle.values.of}: says nothing of its weights (checkpointloader)")
