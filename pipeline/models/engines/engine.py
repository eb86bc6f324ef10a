"""The engine of a run: which library computes the network's forward pass on windows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch

from ....data.errors import ConfigError, GridgateError
from ....networks.network_file import is_float32_only
from . import by_int8, by_onnxruntime, by_openvino
from .window_network import WindowKind

logger = logging.getLogger("gridgate.engine")

Forward = Callable[..., torch.Tensor]
EngineName = Literal["auto", "torch", "compile", "openvino", "onnxruntime", "int8"]
ENGINES = get_args(EngineName)
TORCH, COMPILE, AUTO, INT8 = "torch", "compile", "auto", by_int8.NAME
_CONVERTING: dict[str, tuple[Callable[[WindowKind], str | None], Callable[..., Any]]] = {
    by_openvino.NAME: (by_openvino.why_not, by_openvino.OpenVINONetwork),
    by_onnxruntime.NAME: (by_onnxruntime.why_not, by_onnxruntime.OnnxRuntimeNetwork),
}


@dataclass(frozen=True, eq=False)
class Engine:
    """A network as an engine runs it.

    Args:
        name: of the engine.
        forward: takes windows (B, C_in, *roi) and gives scores (B, C, *roi).
        dtype: 16-bit format that it computes in, None for float32.
    """

    name: str
    forward: Forward
    dtype: torch.dtype | None

    @property
    def in_words(self) -> str:
        """Library and number format, as cases.csv has them.

        >>> Engine("openvino", print, torch.bfloat16).in_words
        'openvino bfloat16'
        """
        if self.name == INT8:
            return f"{by_openvino.NAME} {INT8}"
        return f"{self.name} {str(self.dtype or torch.float32).removeprefix('torch.')}"


def check_engine(name: str) -> EngineName:
    """The name of an engine.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in ENGINES:
        raise ConfigError(f"--engine {name}: it is one of {', '.join(ENGINES)}")
    return cast(EngineName, name)


def usable(kind: WindowKind) -> list[str]:
    """Engines but PyTorch's own that can run such windows here."""
    return [name for name, (why_not, _) in _CONVERTING.items() if why_not(kind) is None]


def make_engine(
    name: str, network: Forward, kind: WindowKind, *, int8: Path | None = None
) -> Engine:
    """The network as one engine runs it.

    Args:
        name: one of ENGINES, but not "auto".
        int8: the bundle's folder of that engine's network.

    Raises:
        ConfigError: the engine is not installed, or cannot run this network here.
    """
    if name == COMPILE:
        return Engine(name, cast(Forward, torch.compile(network)), kind.dtype)
    if name == TORCH:
        return Engine(name, network, kind.dtype)
    refuse_unusable(name, network, kind, int8=int8)
    _, made = _ways(name, int8)
    try:
        return Engine(name, made(cast(torch.nn.Module, network), kind), kind.dtype)
    except GridgateError:
        raise
    except Exception as error:  # of the library: its import, its files, a disk that is full
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"--engine {name}: it cannot be used here ({said}); use --engine torch"
        ) from error


def refuse_unusable(
    name: str, network: Forward, kind: WindowKind, *, int8: Path | None = None
) -> None:
    """Refuse an engine that cannot compute such windows of this network here.

    Raises:
        ConfigError: it cannot; or of INT8, the bundle has none.
    """
    if name in (TORCH, COMPILE, AUTO):
        return
    why_not, _ = _ways(name, int8)
    why = why_not(kind)
    if why is None and not isinstance(network, torch.nn.Module):
        why = "only a module can be converted"
    if why is None and is_float32_only(network):
        why = "this network is a file, which its own library runs"
    if why is not None:
        raise ConfigError(f"--engine {name}: {why}; or use --engine torch")


def _ways(
    name: str, int8: Path | None
) -> tuple[Callable[[WindowKind], str | None], Callable[..., Any]]:
    """What says whether an engine can run windows, and what makes its network."""
    if name == INT8:
        return by_int8.why_not, partial(by_int8.int8_network, folder=int8_folder(int8))
    return _CONVERTING[name]


def int8_folder(int8: Path | None) -> Path:
    """The folder of a bundle's INT8.

    Raises:
        ConfigError: the bundle knows of none.
    """
    if int8 is None:
        raise ConfigError(
            "--engine int8: this bundle has none; `gridgate quantise BUNDLE DATASET OUTPUT` "
            "makes it, and measures what it costs; or use --engine auto"
        )
    return int8
