"""The sliding window of a bundle of the model zoo."""

from __future__ import annotations

from typing import Any

from .....data.errors import ConfigError
from .preprocessing import target
from .values import ConfigValues

_INFERERS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")
_SIGMA = 0.125


def windows_of(values: ConfigValues) -> dict[str, Any]:
    """Window, overlap, blending and padding of a config's inferer, as a plan has them.

    Raises:
        ConfigError: another inferer, or an option of it that is not run here.
    """
    inferer = values.config.get("inferer")
    name = target(inferer, values)
    if name not in _INFERERS:
        raise ConfigError(
            f"{values.of}: the inferer {name} is no sliding window; run the bundle with MONAI "
            "itself"
        )

    def option(key: str, default: Any) -> Any:
        return values.value(inferer.get(key, default))  # type: ignore[union-attr]

    size = option("roi_size", None)
    size = [size] * 3 if isinstance(size, int) else size
    if not isinstance(size, list) or len(size) != 3 or not all(one and one > 0 for one in size):
        raise ConfigError(f"{values.of}: roi_size {size!r}: three sizes above 0 are wanted")
    mode, padding = option("mode", "constant"), option("padding_mode", "constant")
    sigma = option("sigma_scale", _SIGMA)
    if mode not in ("constant", "gaussian") or padding not in ("constant", "replicate"):
        raise ConfigError(
            f"{values.of}: windows of mode {mode} and padding_mode {padding} are not run here"
        )
    if sigma not in (_SIGMA, [_SIGMA] * 3) and mode == "gaussian":
        raise ConfigError(f"{values.of}: a sigma_scale of {sigma} is not run here, {_SIGMA} is")
    return {
        "roi_size": [int(one) for one in size],
        "overlap": option("overlap", 0.25),
        "blend": mode,
        "padding": "replicate" if padding == "replicate" else float(option("cval", 0.0)),
    }
