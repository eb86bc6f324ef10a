"""What a bundle of the model zoo makes of its network's scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .....data.errors import ConfigError
from .preprocessing import target
from .values import ConfigValues

_WITHOUT_EFFECT = frozenset(
    {"SaveImage", "EnsureType", "ToTensor", "CastToType", "ToDevice", "DeleteItems", "CopyItems"}
)


def scores_of(values: ConfigValues, *, outputs: int) -> dict[str, Any]:
    """How labels are made of the network's output channels, as a plan has it.

    Args:
        outputs: of the network.

    Raises:
        ConfigError: a transform that is not run here, by its name; channels that overlap.
    """
    found: dict[str, Any] = {"output_channels": None, "thresholds": None}
    sigmoid, inverted, argmax, threshold = False, False, False, 0.5
    for transform in _transforms(values):
        name = target(transform, values).removesuffix("d").removesuffix("Dict")
        given = {key: one for key, one in transform.items() if not str(key).startswith("_")}
        if name == "Activations":
            sigmoid = sigmoid or bool(values.value(given.get("sigmoid", False)))
        elif name == "Invert":
            inverted = True
            found["interpolate_probabilities"] = not argmax
        elif name == "AsDiscrete":
            argmax = argmax or bool(values.value(given.get("argmax", False)))
            threshold = values.value(given.get("threshold", threshold)) or threshold
        elif name == "KeepLargestConnectedComponent":
            found["keep_largest"] = _labels(values.value(given.get("applied_labels")))
        elif name not in _WITHOUT_EFFECT:
            raise ConfigError(
                f"{values.of}: {name}d behind the network is not run here; run the bundle with "
                "MONAI itself"
            )
    if sigmoid and outputs > 1:
        raise ConfigError(
            f"{values.of}: each of its {outputs} channels has a sigmoid, so that labels overlap, "
            "and it does not say what each is written as; run the bundle with MONAI itself"
        )
    if outputs == 1:
        found |= {"output_channels": 1, "thresholds": [float(threshold)]}
    if not inverted:  # its masks are on the network's grid; ours are on the scan's
        found["interpolate_probabilities"] = False
    return found


def _transforms(values: ConfigValues) -> list[Mapping[str, Any]]:
    found = values.config.get("postprocessing")
    if isinstance(found, Mapping):
        found = found.get("transforms")
    if not isinstance(found, list):
        raise ConfigError(f"{values.of}: postprocessing with its transforms is wanted")
    return [
        one
        for one in found
        if not (isinstance(one, Mapping) and values.value(one.get("_disabled_", False)) is True)
    ]


def _labels(given: Any) -> bool | list[int]:
    if given is None:
        return True
    return [int(one) for one in (given if isinstance(given, list) else [given])]
