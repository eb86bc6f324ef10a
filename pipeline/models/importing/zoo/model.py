"""A bundle of Gridgate of a bundle of the model zoo."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch

from .....data.errors import ConfigError
from ....plans.plan import Plan
from ...checkpoints import load_checkpoint, state_dict_of
from ..written import check_weights
from .folder import ZooBundle
from .network import network_of
from .plan import zoo_plan


def read_zoo_model(
    bundle: ZooBundle, name: str, names: Mapping[str, int] | None
) -> tuple[Plan, OrderedDict[str, torch.Tensor]]:
    """The plan and the weights of a bundle whose network is one of MONAI's.

    Args:
        name: of the new bundle.
        names: label -> value; None: those of its metadata.

    Raises:
        ConfigError: something in the config that is not understood, by its name.
        CheckpointError: weights that cannot be read, or do not fit the network.
    """
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
