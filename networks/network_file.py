"""Networks that a file holds, code and weights: TorchScript, or ONNX."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..data.errors import CheckpointError, ConfigError

logger = logging.getLogger(__name__)

FILE = "file"
"""The name of these networks in an architecture."""
FORMATS = ("torchscript", "onnx")
_HINT = "networks in ONNX need onnxruntime, which is not installed: pip install 'gridgate[onnx]'"

Run = Callable[[torch.Tensor], Any]


class FileNetwork(nn.Module):
    """A network that is a file; input (B, C_in, *roi), output logits (B, C, *roi), float32.

    The file is the module's one tensor, so that it is saved, compared and handed on as weights are.
    It is opened at the first forward pass. TorchScript is run by PyTorch, on any device; ONNX by
    onnxruntime, on a GPU where that has CUDA, else on the CPU, which is logged.

    Args:
        format: one of FORMATS.
        size: of the file in bytes.
        sha256: of the file, the first 16 digits: another file of the same size is refused.
        batch: windows that it takes at once, no other number; None: any.

    Raises:
        ValueError: another format, or no size.
    """

    head_weights = (1.0,)

    def __init__(
        self,
        *,
        format: str,
        size: int,
        sha256: str,
        batch: int | None = None,
    ) -> None:
        super().__init__()
        if format not in FORMATS or not isinstance(size, int) or size < 1:
            raise ValueError(f"a network's file is one of {', '.join(FORMATS)}, and not empty")
        self.format, self.sha256, self.batch = format, sha256, batch
        self.content: torch.Tensor
        self.register_buffer("content", torch.zeros(size, dtype=torch.uint8))
        self._opened: tuple[torch.device, Run] | None = None
        self.register_load_state_dict_post_hook(_forget)

    def forward(self, x: torch.Tensor) -> Any:
        """What the file's network makes of windows.

        Raises:
            CheckpointError: the file is another one, or cannot be opened.
            ConfigError: onnxruntime is missing.
        """
        if self._opened is None or self._opened[0] != x.device:
            self._opened = (x.device, self._open(x.device))
        run = self._opened[1]
        with torch.autocast(x.device.type, enabled=False):
            if self.batch is None:
                return run(x.float())
            parts = [self._padded(run, part) for part in x.float().split(self.batch)]
            return torch.cat(parts) if isinstance(parts[0], torch.Tensor) else parts[0]

    def _padded(self, run: Run, windows: torch.Tensor) -> Any:
        """A batch of the size that the file takes, and what of it was asked for."""
        lacking = (self.batch or 0) - len(windows)
        if lacking <= 0:
            return run(windows)
        more = windows[-1:].expand(lacking, *windows.shape[1:])
        return run(torch.cat([windows, more]))[: len(windows)]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_opened": None}

    def _open(self, device: torch.device) -> Run:
        content = self.content.cpu().numpy().tobytes()
        if digest(content) != self.sha256:
            raise CheckpointError(
                "the weights do not hold the network's file that the config names: use the "
                "bundle's own models/model.pt"
            )
        if self.format == "onnx":
            return _onnx(content, device)
        try:
            script: Run = torch.jit.load(io.BytesIO(content), map_location=device).eval()
        except RuntimeError as error:
            raise CheckpointError(
                f"the network's file is no TorchScript that opens here ({_first_line(error)})"
            ) from error
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
        raise ConfigError(_HINT) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    provider = "CPUExecutionProvider"
    if device.type == "cuda":
        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            provider = "CUDAExecutionProvider"
        else:
            logger.warning("the network in ONNX runs on the CPU: this onnxruntime has no CUDA")
    try:
        session = onnxruntime.InferenceSession(content, options, providers=[provider])
    except Exception as error:  # onnxruntime's own types
        raise CheckpointError(
            f"the network's file is no ONNX that opens here ({_first_line(error)})"
        ) from error
    if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
        names = [one.name for one in (*session.get_inputs(), *session.get_outputs())]
        raise CheckpointError(
            f"the network in ONNX has several inputs or outputs ({', '.join(names)}); export it "
            "with one of each"
        )
    name = session.get_inputs()[0].name

    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {name: x.cpu().numpy()})[0]).to(x.device)

    return run


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
