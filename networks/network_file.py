"""Networks that a file holds, code and weights: TorchScript, or ONNX."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

FILE = "file"
"""The name of these networks in an architecture."""
FORMATS = ("torchscript", "onnx")
_HINT = "networks in ONNX need onnxruntime, which is not installed: pip install 'gridgate[onnx]'"

Run = Callable[[torch.Tensor], Any]


class FileNetwork(nn.Module):
    """A network that is a file; input (B, C_in, *roi), output logits (B, C, *roi), float32.

    The file is the module's one tensor, so that it is saved, compared and handed on as weights are.
    It is opened at the first forward pass. TorchScript is run by PyTorch, on any device; ONNX by
    onnxruntime, on a GPU where that has CUDA.

    Args:
        format: one of FORMATS.
        size: of the file in bytes.
        sha256: of the file, the first 16 digits: another file of the same size is refused.

    Raises:
        ValueError: another format, or no size.
    """

    head_weights = (1.0,)

    def __init__(self, *, format: str, size: int, sha256: str) -> None:
        super().__init__()
        if format not in FORMATS or not isinstance(size, int) or size < 1:
            raise ValueError(f"a network's file is one of {', '.join(FORMATS)}, and not empty")
        self.format, self.sha256 = format, sha256
        self.content: torch.Tensor
        self.register_buffer("content", torch.zeros(size, dtype=torch.uint8))
        self._opened: tuple[torch.device, Run] | None = None
        self.register_load_state_dict_post_hook(_forget)

    def forward(self, x: torch.Tensor) -> Any:
        """What the file's network makes of windows.

        Raises:
            ValueError: the file is another one, or cannot be opened.
            ImportError: onnxruntime is missing.
        """
        if self._opened is None or self._opened[0] != x.device:
            self._opened = (x.device, self._open(x.device))
        with torch.autocast(x.device.type, enabled=False):
            return self._opened[1](x.float())

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}

    def _open(self, device: torch.device) -> Run:
        content = self.content.cpu().numpy().tobytes()
        if digest(content) != self.sha256:
            raise ValueError("the weights do not hold the network's file that the config names")
        if self.format == "onnx":
            return _onnx(content, device)
        try:
            script: Run = torch.jit.load(io.BytesIO(content), map_location=device).eval()
        except RuntimeError as error:
            raise ValueError(f"no TorchScript that opens here ({_first_line(error)})") from error
        return script


def digest(content: bytes) -> str:
    """The digits by which a file is known.

    >>> digest(b"")
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(content).hexdigest()[:16]


def is_float32_only(network: object) -> bool:
    """Whether a network is such a file, or has one in it, so that 16 bits bring nothing."""
    return isinstance(network, nn.Module) and any(
        isinstance(module, FileNetwork) for module in network.modules()
    )


def _forget(network: nn.Module, *_: Any) -> None:
    network._opened = None  # type: ignore[assignment]


def _onnx(content: bytes, device: torch.device) -> Run:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(_HINT) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    if wanted not in onnxruntime.get_available_providers():
        raise ValueError(f"this onnxruntime has no {wanted}: use --device cpu")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[wanted])
    except Exception as error:  # onnxruntime's own types
        raise ValueError(f"no ONNX that opens here ({_first_line(error)})") from error
    taken = session.get_inputs()[0]
    at_once = taken.shape[0] if isinstance(taken.shape[0], int) else None

    def scores(windows: torch.Tensor) -> torch.Tensor:
        lacking = (at_once or 0) - len(windows)
        if lacking > 0:
            windows = torch.cat([windows, windows[-1:].expand(lacking, *windows.shape[1:])])
        found = session.run(None, {taken.name: windows.cpu().numpy()})[0]
        return torch.from_numpy(found)[: len(found) - max(lacking, 0)]

    def run(x: torch.Tensor) -> torch.Tensor:
        parts = x.split(at_once) if at_once else (x,)
        return torch.cat([scores(part) for part in parts]).to(x.device)

    return run


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
