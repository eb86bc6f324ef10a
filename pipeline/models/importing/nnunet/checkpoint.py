"""Checkpoints of nnU-Net: tensors and numbers, and nothing else that a pickle could hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .....data.errors import CheckpointError

_NUMBER_KINDS = "biufc"  # of NumPy's dtypes
_DTYPES = ("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
_FLOATS = ("Float16", "Float32", "Float64")
_SCALAR = "multiarray.scalar"


@dataclass(frozen=True, eq=False)
class NnunetCheckpoint:
    """What a checkpoint of nnU-Net says.

    Args:
        weights: of the network, by name.
        trainer: the trainer's name.
        configuration: of the plans, such as 3d_fullres.
        mirror_axes: along which windows are mirrored at inference.
    """

    weights: Mapping[str, torch.Tensor]
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]


def read_nnunet_checkpoint(path: str | Path) -> NnunetCheckpoint:
    """Read a checkpoint_final.pth or checkpoint_best.pth without running any code of it.

    Besides tensors it holds NumPy's numbers (the best metric, curves): those are read, by an
    explicit list of what may be made; anything else ends in an error.

    Raises:
        CheckpointError: missing, damaged, of something else, or holding more than that.
    """
    path = Path(path)
    content = _load(path)
    weights, given = content.get("network_weights"), content.get("init_args")
    if not isinstance(weights, dict) or not isinstance(given, dict):
        raise CheckpointError(
            f"{path}: no checkpoint of nnU-Net v2: network_weights and init_args are wanted; "
            "checkpoints of v1 (model_final_checkpoint.model) are not read"
        )
    axes = content.get("inference_allowed_mirroring_axes") or ()
    return NnunetCheckpoint(
        weights={str(name): tensor for name, tensor in weights.items()},
        trainer=str(content.get("trainer_name", "")),
        configuration=str(given.get("configuration", "")),
        mirror_axes=tuple(int(axis) for axis in axes),
    )


def _load(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such checkpoint")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_allowed()):
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path}: {_why(path, error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not nnU-Net's dictionary")
    return content


def _why(path: Path, error: Exception) -> str:
    try:
        found = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        return f"not a checkpoint that loads safely ({type(error).__name__})"
    strange = sorted(name for name in found if name not in _names())
    if not strange:
        return f"not a checkpoint that loads safely ({type(error).__name__})"
    return (
        f"holds more than tensors and numbers ({', '.join(strange)}), and objects of a file are "
        "not made here; in the environment that trained it, save one whose values are tensors, "
        "numbers and text"
    )


def _allowed() -> list[Any]:
    classes = [getattr(np.dtypes, f"{name}DType") for name in (*_DTYPES, *_FLOATS)]
    places = [(_number, f"{module}.{_SCALAR}") for module in ("numpy._core", "numpy.core")]
    return [np.dtype, *classes, *places]


def _names() -> set[str]:
    return {"numpy.dtype", *(f"{module}.{_SCALAR}" for module in ("numpy._core", "numpy.core"))}


def _number(dtype: Any, data: Any = b"") -> Any:
    """What NumPy makes of a pickled scalar, of numbers alone: an object's would be a pickle."""
    if not isinstance(dtype, np.dtype) or dtype.kind not in _NUMBER_KINDS:
        raise ValueError(f"a scalar of {dtype} is no number")
    raw = data.encode("latin1") if isinstance(data, str) else bytes(data)
    return np.frombuffer(raw, dtype=dtype, count=1)[0]
