"""A case's values as JSON: what it holds besides large arrays, typed so that all comes back."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError

INLINE = 4096
"""Arrays of up to so many bytes stay in the JSON; larger ones go to files of their own."""


@dataclass(frozen=True)
class Held:
    """A value that is an array and what belongs to it, such as a tensor and its meta.

    Args:
        kind: a word by which whoever stored it makes it what it was.
        array: an array, or a StoredArray where the case was opened and not read.
        parts: plain values, Held among them.
    """

    kind: str
    array: Any
    parts: Mapping[str, Any] = field(default_factory=dict)


def encoded(value: Any, put: Callable[[NDArray[Any]], Any], *, name: str = "") -> Any:
    """The value as JSON can hold it.

    Args:
        value: None, numbers, text, bytes, arrays, Held, and lists, tuples and dicts of these.
        put: keeps a large array, and gives what to find it by, for JSON too.
        name: of the value, for the error's text.

    Raises:
        ConfigError: it holds something else.

    Example:
        >>> decoded(encoded((1, b"ab", {"k": [None]}), put=None), get=None)
        (1, b'ab', {'k': [None]})
    """
    if isinstance(value, np.generic):  # before floats and text, which some of them are
        return {"number": encoded(np.asarray(value), put)}
    if value is None or isinstance(value, bool | int | float | str):
        return _plain(value)
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufcSU":
        return {"array": _array(value, put)}
    if isinstance(value, Held):
        parts = {key: encoded(part, put, name=f"{name}.{key}") for key, part in value.parts.items()}
        return {"held": value.kind, "array": _array(value.array, put), "parts": parts}
    if isinstance(value, list | tuple):
        items = [encoded(one, put, name=f"{name}[{n}]") for n, one in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [[encoded(k, put), encoded(v, put, name=f"{name}.{k}")] for k, v in value.items()]
        return {"dict": pairs}
    raise ConfigError(
        f"the preprocessing leaves {name or 'a value'} of the type {type(value).__name__} in a "
        "case, which cannot be stored on disk; have it leave tensors, numbers or text"
    )


def decoded(value: Any, get: Callable[[Any], Any]) -> Any:
    """The value that was `encoded`; `get` finds what `put` kept."""
    if isinstance(value, list):
        return [decoded(one, get) for one in value]
    if not isinstance(value, dict):
        return value
    if "held" in value:
        parts = {key: decoded(part, get) for key, part in value["parts"].items()}
        return Held(value["held"], _found(value["array"], get), parts)
    ((kind, content),) = value.items()
    if kind == "number":
        return decoded(content, get)[()]
    if kind == "bytes":
        return base64.b64decode(content)
    if kind == "array":
        return _found(content, get)
    if kind == "tuple":
        return tuple(decoded(one, get) for one in content)
    return {decoded(key, get): decoded(one, get) for key, one in content}


def _plain(value: Any) -> Any:
    """Without the subclasses that enums of numbers and text are."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
    return None


def _array(array: NDArray[Any], put: Callable[[NDArray[Any]], Any]) -> dict[str, Any]:
    if array.nbytes > INLINE:
        return {"at": put(array)}
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": text}


def _found(content: dict[str, Any], get: Callable[[Any], Any]) -> Any:
    if "at" in content:
        return get(content["at"])
    flat = np.frombuffer(base64.b64decode(content["data"]), dtype=np.dtype(content["dtype"]))
    return flat.reshape(content["shape"]).copy()
