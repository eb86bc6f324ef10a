"""How the labels of a plan are measured: tolerances of their surfaces, and which are lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError

_KEYS = ("tolerance_mm", "lesions", "least_iou")


@dataclass(frozen=True)
class Measured:
    """What a bundle says of measuring its labels.

    Args:
        tolerances_mm: label -> tolerance of its normalised surface Dice, mm; others have that of
            the literature.
        lesions: label that is lesions, one by one -> the IoU from which two are the same, 0..1.
    """

    tolerances_mm: Mapping[str, float] = field(default_factory=dict)
    lesions: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None, labels: Sequence[str]) -> Measured:
        """What a bundle's `measured` says.

        Args:
            settings: label -> {"tolerance_mm", "lesions", "least_iou"}, each perhaps left out.
            labels: those there are, the background first.

        Raises:
            ConfigError: another label or key, or a value that cannot be.

        Example:
            >>> Measured.of({"tumour": {"lesions": True}}, ["background", "tumour"]).lesions
            {'tumour': 0.5}
        """
        tolerances, lesions = {}, {}
        for label, how in (settings or {}).items():
            if label not in labels[1:]:
                raise ConfigError(
                    f"measured: {label!r} is none of the labels {', '.join(labels[1:])}"
                )
            if not isinstance(how, Mapping) or set(how) - set(_KEYS):
                raise ConfigError(
                    f"measured: {label} has {how!r}; a mapping of {', '.join(_KEYS)} is wanted, as "
                    "'{tolerance_mm: 2, lesions: true}'"
                )
            if "tolerance_mm" in how:
                tolerances[label] = _number(label, "tolerance_mm", how["tolerance_mm"], None)
            if how.get("lesions", False):
                lesions[label] = _number(label, "least_iou", how.get("least_iou", 0.5), 1.0)
        return cls(tolerances, lesions)


def _number(label: str, name: str, value: Any, most: float | None) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= 0 or value > (float("inf") if most is None else most):
        limits = "0 or more" if most is None else f"in 0..{most:g}"
        raise ConfigError(f"measured: {name} of {label} must be {limits}, not {value!r}")
    return float(value)
