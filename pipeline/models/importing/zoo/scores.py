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
_OF_NO_MATTER = frozenset(
    {
        *("keys", "allow_missing_keys", "transform", "orig_keys", "meta_keys", "meta_key_postfix"),
        *("orig_meta_keys", "to_tensor", "device", "is_onehot", "applied_labels", "threshold"),
    }
)
_OPTIONS: Mapping[str, Mapping[str, list[Any]]] = {
    "Activations": {"softmax": [True, False, None], "sigmoid": [True, False, None]},
    "AsDiscrete": {"argmax": [True, False, None]},
    "Invert": {"nearest_interp": [True, False]},
    "KeepLargestConnectedComponent": {
        "independent": [True],
        "connectivity": [None, 3],
        "num_components": [1],
    },
}
"""Transforms and the values of their options that are run here."""


def scores_of(values: ConfigValues, *, outputs: int) -> dict[str, Any]:
    """How labels are made of the network's output channels, as a plan has it.

    Args:
        outputs: of the network.

    Raises:
        ConfigError: a transform or an option of it that is not run here, by its name; channels that
            overlap.
    """
    found = _Found(values)
    for transform in _transforms(values):
        found.take(transform)
    return found.settings(outputs)


class _Found:
    """What is done with the scores, as the transforms come one after another."""

    def __init__(self, values: ConfigValues) -> None:
        self.values = values
        self.softmax = self.sigmoid = self.argmax = False
        self.threshold: float | None = None
        self.brought_back: str | None = None
        """What comes to the scan's grid: logits, probabilities or labels."""
        self.keep_largest: bool | list[int] = False

    def take(self, transform: Mapping[str, Any]) -> None:
        name = target(transform, self.values).removesuffix("d").removesuffix("Dict")
        if name in _WITHOUT_EFFECT:
            return
        if name not in _OPTIONS:
            raise self._refused(name, "it is not understood")
        given = {
            key: self.values.value(one)
            for key, one in transform.items()
            if key not in _OF_NO_MATTER and not str(key).startswith("_")
        }
        odd = sorted(
            key for key, one in given.items() if one not in _OPTIONS[name].get(key, [None])
        )
        if odd:
            raise self._refused(name, f"with {', '.join(f'{key} {given[key]!r}' for key in odd)}")
        if name == "Activations":
            self.softmax = self.softmax or bool(given.get("softmax"))
            self.sigmoid = self.sigmoid or bool(given.get("sigmoid"))
        elif name == "Invert":
            self.brought_back = self._what()
        elif name == "AsDiscrete":
            self.argmax = self.argmax or bool(given.get("argmax"))
            threshold = self.values.value(transform.get("threshold"))
            if isinstance(threshold, list | tuple) and len(threshold) == 1:
                threshold = threshold[0]
            if not isinstance(threshold, int | float | None):
                raise self._refused(name, f"with threshold {threshold!r}")
            self.threshold = self.threshold if threshold is None else float(threshold)
        else:
            self.keep_largest = _labels(self.values.value(transform.get("applied_labels")))

    def settings(self, outputs: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "keep_largest": self.keep_largest,
            "interpolate_probabilities": self.brought_back == "probabilities",
        }
        if outputs == 1:
            if not self.sigmoid or self.threshold is None:
                raise ConfigError(
                    f"{self.values.of}: its network has one channel, which is run here with a "
                    "sigmoid and a threshold; its postprocessing lacks one of them"
                )
            return found | {"output_channels": 1, "thresholds": [float(self.threshold)]}
        if self.sigmoid or (self.threshold is not None and not self.argmax):
            raise ConfigError(
                f"{self.values.of}: each of its {outputs} channels has a sigmoid or a threshold, "
                "so that labels overlap, and it does not say what each is written as; run the "
                "bundle with MONAI itself"
            )
        return found

    def _what(self) -> str:
        if self.argmax or self.threshold is not None:
            return "labels"
        return "probabilities" if self.softmax or self.sigmoid else "logits"

    def _refused(self, name: str, why: str) -> ConfigError:
        return ConfigError(
            f"{self.values.of}: {name}d behind the network is not run here ({why}); run the bundle "
            "with MONAI itself"
        )


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
