"""A network's identity for what is kept of it: weights, modules, settings and code."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .... import networks

_PACKAGES = ("torch", "monai")  # their modules count by the packages' versions


def network_key(network: torch.nn.Module, shape: Sequence[int], *, more: Sequence[str] = ()) -> str:
    """32 hexadecimal digits of everything that a network's scores for a window depend on.

    They are its weights, its modules with their settings, the source of their classes and of
    Gridgate's networks, the versions of PyTorch and MONAI, and the window's shape.

    Args:
        more: texts that count too.

    Example:
        >>> conv = torch.nn.Conv3d(1, 2, 3)
        >>> network_key(conv, (1, 8, 8, 8)) == network_key(conv, (1, 8, 8, 16))
        False
    """
    found = hashlib.sha256(repr((tuple(shape), tuple(more), _own_code())).encode())
    for text in _modules(network):
        found.update(text.encode())
    for part in _weights(network):
        found.update(part)
    return found.hexdigest()[:32]


def weights_key(network: torch.nn.Module) -> str:
    """32 hexadecimal digits of a network's weights alone, in any version of any library.

    >>> conv = torch.nn.Conv3d(1, 2, 3)
    >>> weights_key(conv) == weights_key(torch.nn.Conv3d(1, 2, 3))
    False
    """
    found = hashlib.sha256()
    for part in _weights(network):
        found.update(part)
    return found.hexdigest()[:32]


def _weights(network: torch.nn.Module) -> Iterator[bytes | memoryview]:
    """Each tensor's name, kind and values."""
    for name, tensor in network.state_dict().items():
        yield f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode()
        values = tensor.detach().cpu().contiguous().view(-1)
        yield values.view(torch.uint8).numpy().data


def _modules(network: torch.nn.Module) -> Iterator[str]:
    """Each module's name, class, source and plain settings."""
    for name, module in network.named_modules():
        kind = type(module)
        yield f"{name} {kind.__module__}.{kind.__qualname__} {_source(kind)}"
        yield f"{module.extra_repr()}"
        for key, value in sorted(vars(module).items()):
            if not key.startswith("_"):
                yield f"{key}={_plain(value)!r}"


def _plain(value: Any) -> Any:
    """What of a value is the same in each process; of anything else its type."""
    if isinstance(value, str | int | float | bool | type(None)):
        return value
    if isinstance(value, Mapping):
        return [(str(key), _plain(one)) for key, one in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, torch.dtype | torch.device | torch.Size):
        return str(value)
    name = getattr(value, "__qualname__", None)
    return name if isinstance(name, str) else type(value).__qualname__


def _source(kind: type) -> str:
    """Hash of the file that a class is written in; a package's version where that says it all."""
    package = kind.__module__.partition(".")[0]
    if package in _PACKAGES:
        return _version(package)
    try:
        return _hash(inspect.getfile(kind))
    except (OSError, TypeError):  # of a notebook, or built in
        return ""


@cache
def _hash(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


@cache
def _own_code() -> tuple[str, ...]:
    """All files of Gridgate's networks, whose functions no class names, and versions."""
    files = sorted(Path(networks.__path__[0]).rglob("*.py"))
    own = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return (own, *(_version(name) for name in _PACKAGES))


def _version(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} none"
