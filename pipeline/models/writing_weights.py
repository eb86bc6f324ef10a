"""Writing weights: whole or with the system's own reason, and in half precision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch

from ...data.errors import CheckpointError


def half_precision(
    state: Mapping[str, torch.Tensor], *, of: object
) -> OrderedDict[str, torch.Tensor]:
    """A state dict whose floating tensors are float16: half the size, to about three digits.

    Loaded into a network of float32, its parameters stay float32. Integers, such as the counts of
    batch norm, stay as they are. What torch keeps in `_metadata` comes along.

    Args:
        state: tensors by name.
        of: what the weights are of, for the error's text.

    Raises:
        CheckpointError: a finite value is beyond float16 (65,504); the text names the tensor.

    Example:
        >>> half_precision({"weight": torch.ones(2), "steps": torch.tensor(3)}, of="example")
        OrderedDict({'weight': tensor([1., 1.], dtype=torch.float16), 'steps': tensor(3)})
    """
    made = OrderedDict((name, _half(name, tensor, of)) for name, tensor in state.items())
    made._metadata = getattr(state, "_metadata", OrderedDict())  # type: ignore[attr-defined]
    return made


def _half(name: str, tensor: torch.Tensor, of: object) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor
    half = tensor.to(torch.float16)
    lost = torch.isinf(half) & torch.isfinite(tensor)
    if bool(lost.any()):
        raise CheckpointError(
            f"{of}: {name} holds {float(tensor[lost].flatten()[0]):g}, which is beyond float16's "
            f"{torch.finfo(torch.float16).max:,.0f}; use these weights as they are, in float32"
        )
    return half


def save_checkpoint(content: Any, stream: BinaryIO) -> None:
    """torch.save to an open file.

    Raises:
        OSError: the file cannot be written; PyTorch's writer tells of it as a RuntimeError.
    """
    watched = _Watched(stream)
    try:
        torch.save(content, watched)  # type: ignore[arg-type]  # it only writes
    except RuntimeError:
        if watched.error is not None:
            raise watched.error from None
        raise


class _Watched:
    """A binary stream that remembers why a write failed."""

    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()
