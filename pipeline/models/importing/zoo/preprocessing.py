"""What a chain of MONAI's transforms does to a scan, in the words of a plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .....data.errors import ConfigError
from .....transforms.monai_intensity import INTENSITIES
from .values import ConfigValues

_PLAIN = frozenset(
    {
        "LoadImage",
        "EnsureChannelFirst",
        "AddChannel",
        "EnsureType",
        "ToTensor",
        "CastToType",
        "ToDevice",
        "DeleteItems",
        "SelectItems",
    }
)
"""Transforms that leave the image as it is, as every bundle of Gridgate loads it."""
_OF_KEYS = frozenset({"_target_", "keys", "allow_missing_keys", "_desc_", "_requires_"})
_SPACING: Mapping[str, tuple[Any, ...]] = {
    "diagonal": (False,),
    "align_corners": (False, None),
    "padding_mode": ("border",),
    "scale_extent": (False,),
    "recompute_affine": (False,),
    "min_pixdim": (None,),
    "max_pixdim": (None,),
    "ensure_same_shape": (True, False),
    "dtype": (None, "float32", "float64"),
}
"""Options of Spacingd, and the values of them that are run here."""
_LINEAR = ("bilinear", "trilinear", "linear", "1", 1)


def plan_of_transforms(
    transforms: Iterable[Mapping[str, Any]], values: ConfigValues, *, key: str
) -> dict[str, Any]:
    """Orientation, spacing, intensity and foreground of a list of dictionary transforms.

    Args:
        transforms: in their order, as the config has them.
        values: of the config.
        key: of the image.

    Raises:
        ConfigError: one that is not understood, by its name, or an order that is not run here.
    """
    found = _Found(values, key)
    for transform in transforms:
        name = target(transform, values).removesuffix("d").removesuffix("D")
        if values.value(transform.get("_disabled_", False)) is True:
            continue
        if "keys" not in transform:
            raise found.refused(name, "it does not say of which keys it is")
        if key in _keys(transform, values):
            found.take(name.removesuffix("Dict"), transform)
        elif not found.is_loaded or {"name", "names"} & set(transform):
            raise found.refused(name, f"the image, {key!r}, may be made of what it changes")
    return found.settings()


def target(component: Any, values: ConfigValues) -> str:
    """The class that a component of a config is of: MONAI's without its module, others with it.

    Raises:
        ConfigError: it is not a component.
    """
    if not isinstance(component, Mapping) or "_target_" not in component:
        raise ConfigError(f"{values.of}: {component!r}: a mapping with _target_ is wanted")
    module, _, name = str(component["_target_"]).rpartition(".")
    return name if (module or "monai").partition(".")[0] == "monai" else f"{module}.{name}"


def _keys(transform: Mapping[str, Any], values: ConfigValues) -> list[str]:
    keys = values.value(transform.get("keys", []))
    return [keys] if isinstance(keys, str) else [str(one) for one in keys]


class _Found:
    """The settings as the transforms come one after another."""

    def __init__(self, values: ConfigValues, key: str) -> None:
        self.values, self.key = values, key
        self.is_loaded = False
        self.orientation: str | None = None
        self.spacing: list[float] | None = None
        self.intensities: list[dict[str, Any]] = []
        self.foreground: float | None = None

    def take(self, name: str, transform: Mapping[str, Any]) -> None:
        options = {key: one for key, one in transform.items() if key not in _OF_KEYS}
        self.is_loaded = self.is_loaded or name == "LoadImage"
        if name in _PLAIN:
            return
        if self.foreground is not None:
            raise self.refused(name, "it comes after the crop to the foreground")
        if name in INTENSITIES:
            given = {key: self.values.value(one) for key, one in options.items()}
            self.intensities.append({"name": name, **given})
        elif name == "Orientation":
            self._orientation(options)
        elif name == "Spacing":
            self._spacing(options)
        elif name == "CropForeground":
            self._crop(options)
        else:
            raise self.refused(name, "it is not understood")

    def settings(self) -> dict[str, Any]:
        if not self.is_loaded:
            raise ConfigError(f"{self.values.of}: no LoadImaged of {self.key!r}")
        if self.orientation is None:
            raise ConfigError(
                f"{self.values.of}: no Orientationd: the network's axes would be as each file "
                "stores them, which is not run here"
            )
        return {
            "orientation": self.orientation,
            "spacing": self.spacing,
            "intensity": _intensity(self.intensities),
            "foreground": self.foreground,
        }

    def _orientation(self, options: Mapping[str, Any]) -> None:
        if set(options) - {"axcodes", "as_closest_canonical"}:
            raise self.refused("Orientation", f"its {', '.join(options)}: axcodes alone is")
        given = {key: self.values.value(one) for key, one in options.items()}
        letters = "RAS" if given.get("as_closest_canonical") else given.get("axcodes")
        if self.spacing is not None or self.orientation is not None:
            raise self.refused("Orientation", "it comes after another or after Spacingd")
        if not isinstance(letters, str):
            raise self.refused("Orientation", f"axcodes {letters!r}")
        self.orientation = letters.upper()

    def _spacing(self, options: Mapping[str, Any]) -> None:
        given = {
            key: self.values.value(one) for key, one in options.items() if not _is_type(key, one)
        }
        mode, pixdim = given.pop("mode", "bilinear"), given.pop("pixdim", None)
        mode = mode[0] if isinstance(mode, list) else mode
        if self.orientation is None or self.spacing is not None:
            raise self.refused("Spacing", "it comes before Orientationd, or twice")
        if self.intensities:
            raise self.refused("Spacing", "it comes after the intensities were changed")
        odd = [key for key, one in given.items() if _first(one) not in _SPACING.get(key, ())]
        if mode not in _LINEAR or odd:
            told = ", ".join(f"{key} {given[key]!r}" for key in odd) or f"mode {mode!r}"
            raise self.refused("Spacing", f"with {told}")
        if isinstance(pixdim, int | float):
            pixdim = [pixdim] * 3
        sound = isinstance(pixdim, list) and len(pixdim) == 3
        if not sound or not all(isinstance(one, int | float) and one > 0 for one in pixdim):
            raise self.refused("Spacing", f"pixdim {pixdim!r}")
        self.spacing = [float(mm) for mm in pixdim]

    def _crop(self, options: Mapping[str, Any]) -> None:
        known = {"source_key", "allow_smaller", "margin", "k_divisible", "mode"}  # mode: of padding
        odd = sorted(set(options) - known)
        margin = self.values.value(options.get("margin", 0))
        divisor = self.values.value(options.get("k_divisible", 1))
        if self.values.value(options.get("source_key")) != self.key:
            odd.append("source_key")
        if odd or margin not in (0, [0, 0, 0]) or divisor not in (1, [1, 1, 1]):
            raise self.refused("CropForeground", f"its {', '.join(odd) or 'margin or k_divisible'}")
        self.foreground = 0.0

    def refused(self, name: str, why: str) -> ConfigError:
        """The error of a transform that is not run here."""
        return ConfigError(
            f"{self.values.of}: the transform {name}d is not run here ({why}); run the bundle with "
            "MONAI itself"
        )


def _is_type(key: str, given: Any) -> bool:
    """Whether an option is a type as an expression, such as $torch.float32."""
    return key == "dtype" and isinstance(given, str) and given.startswith("$")


def _first(given: Any) -> Any:
    """Of options that may be one for each key."""
    return given[0] if isinstance(given, list) and given else given


def _intensity(listed: list[dict[str, Any]]) -> dict[str, Any]:
    """MONAI's transforms; a window scaled to [0, 1] as Gridgate's own, which is faster."""
    if len(listed) == 1 and listed[0]["name"] == "ScaleIntensityRange":
        given = listed[0]
        scaled = (given.get("b_min"), given.get("b_max"), given.get("clip"))
        if scaled == (0, 1, True) and {"a_min", "a_max"} <= set(given):
            return {"mode": "window", "low": given["a_min"], "high": given["a_max"]}
    return {"mode": "monai", "transforms": listed}
