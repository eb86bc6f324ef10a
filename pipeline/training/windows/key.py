"""Under which key a preprocessed case is stored: the content of its files and all settings."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from os import PathLike
from pathlib import Path
from types import CodeType
from typing import Any

import monai
import numpy as np
import torch

_CODE = ("data", "transforms")  # rooms whose code may change what a preprocessed case is
_RANDOM = (np.random.RandomState, np.random.Generator)  # not a setting


def settings_of(transforms: Sequence[Any]) -> Any:
    """All settings of transforms and the versions of their code, as JSON can hold them."""
    return {
        "code": code_hash(),
        "gridgate": _version("gridgate"),
        "monai": monai.__version__,
        "transforms": described(list(transforms)),
    }


@functools.cache
def code_hash() -> str:
    """64 hexadecimal digits of the source of all code that reads and preprocesses cases."""
    root = Path(__file__).resolve().parents[3]
    digest = hashlib.sha256()
    for room in _CODE:
        for path in sorted((root / room).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def case_key(item: Mapping[str, Any], content: Callable[[str], str], settings: Any) -> str:
    """The key of a case: 64 hexadecimal digits.

    Args:
        item: of a dataset. Its "image" and "label" count by the content of their files, all else
            by what it is.
        content: path -> hash of the files of an image.
        settings: of the preprocessing.
    """
    told: dict[str, Any] = {}
    for name, value in sorted(item.items()):
        paths = paths_of(value) if name in ("image", "label") else None
        told[name] = described(value) if paths is None else [content(path) for path in paths]
    return hashed({"item": told, "settings": settings})


def hashed(value: Any) -> str:
    """64 hexadecimal digits for a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def paths_of(value: Any) -> list[str] | None:
    """The paths that an item's image or label is; None where it is in memory, or something else."""
    if isinstance(value, str | PathLike):
        return [str(value)]
    several = isinstance(value, list | tuple) and len(value) > 0
    if several and all(isinstance(one, str | PathLike) for one in value):
        return [str(one) for one in value]
    return None


def described(value: Any, _inside: tuple[int, ...] = ()) -> Any:
    """A value as JSON can hold it, the same in each process; objects by their type and state.

    Example:
        >>> described((1, 2.5, {"b": None}))
        [1, 2.5, {'b': None}]
    """
    if isinstance(value, enum.Enum):
        return f"{_name(type(value))}.{value.name}"
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in _inside:
        return "itself"
    again = functools.partial(described, _inside=(*_inside, id(value)))
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return _described_array(value)
    if isinstance(value, torch.dtype | torch.device | np.dtype | PathLike):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): again(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(again, value), key=repr)
    if isinstance(value, list | tuple):
        return [again(one) for one in value]
    if isinstance(value, functools.partial):
        return {"partial": again(value.func), "of": again([value.args, value.keywords])}
    if isinstance(value, type):
        return _name(value)
    if hasattr(value, "__code__"):  # a function of Python, by its code: two lambdas have one name
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        bound = getattr(value, "__self__", None)
        return [
            _name(value),
            _described_code(value.__code__),
            again([value.__defaults__, cells, bound]),
        ]
    if isinstance(value, _RANDOM):
        return _name(type(value))
    state = again(_state(value))
    code = getattr(getattr(type(value), "__call__", None), "__code__", None)  # noqa: B004
    if _is_versioned(value) or code is None:
        return {"type": _name(type(value)), "state": state}
    return {"type": _name(type(value)), "state": state, "call": _described_code(code)}


def _state(value: Any) -> Any:
    """What an object holds; its text where that cannot be told."""
    slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    held |= getattr(value, "__dict__", {})
    if held or hasattr(value, "__dict__") or slots:
        return held
    text = repr(value)
    return None if " at 0x" in text else text


def _described_code(code: CodeType) -> Any:
    constants = [
        _described_code(one) if isinstance(one, CodeType) else one for one in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), described(constants)]


def _is_versioned(value: Any) -> bool:
    """Whether the code is of a package whose version counts."""
    return type(value).__module__.split(".")[0] in ("gridgate", "monai", "torch", "numpy")


def _described_array(value: Any) -> Any:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "content": content}


def _name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
