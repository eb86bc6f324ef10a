"""From a bundle of the model zoo to a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....data.errors import ConfigError
from ....plans.plan import Plan
from .folder import ZooBundle
from .labels import labels_of
from .preprocessing import plan_of_transforms, target
from .scores import scores_of
from .windows import windows_of

ZOO = "a bundle of MONAI's model zoo"


def zoo_plan(
    bundle: ZooBundle,
    name: str,
    *,
    network: Mapping[str, Any],
    channels: int,
    outputs: int,
    names: Mapping[str, int] | None = None,
) -> Plan:
    """The plan of a bundle's network, preprocessing, windows and labels.

    Args:
        name: of the new bundle.
        network: its architecture here; channels, outputs: of it.
        names: see labels_of.

    Raises:
        ConfigError: something that is not understood; the text names it.
    """
    values = bundle.values
    chain = values.config.get("preprocessing")
    if target(chain, values) != "Compose":
        raise ConfigError(f"{values.of}: preprocessing, a Compose of transforms, is wanted")
    assert isinstance(chain, Mapping)
    key = values.value(values.config.get("image_key", "image"))
    modality = bundle.said("network_data_format", "inputs", "image", "modality")
    return Plan(
        name=name,
        labels=labels_of(bundle, count=max(outputs, 2), names=names),
        network=dict(network),
        channels=channels,
        modality="CT" if str(modality).upper() == "CT" else None,
        imported=ZOO,
        **plan_of_transforms(chain.get("transforms", []), values, key=key),
        **windows_of(values),
        **scores_of(values, outputs=outputs),
        **_told(bundle),
    )


def _told(bundle: ZooBundle) -> dict[str, Any]:
    """What the page says of it."""
    said = bundle.metadata
    references = said.get("references")
    version = f", version {said['version']}" if said.get("version") else ""
    whose = f" Of the model: {said['copyright']}." if said.get("copyright") else ""
    return {
        "title": str(said.get("name") or bundle.folder.resolve().name),
        "description": str(said.get("description") or "A model of MONAI's model zoo").strip(". ")
        + f".{whose}",
        "task": str(said.get("task") or "Segmentation"),
        "data_source": str(said.get("data_source") or "see the bundle it was imported from")
        + version,
        "references": [str(one) for one in references] if isinstance(references, list) else [],
        "results": "Not measured here: `gridgate evaluate` measures it on labelled cases.",
    }
