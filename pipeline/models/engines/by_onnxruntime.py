"""ONNX Runtime: the engine of many products; here to compare, and for CPUs that OpenVINO lacks."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

import torch

from ....data.errors import ConfigError
from .converted import ConvertedNetwork
from .window_network import ChannelsInnermost, WindowKind, WindowNetwork

NAME = "onnxruntime"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")


def why_not(kind: WindowKind) -> str | None:
    """Why ONNX Runtime cannot compute this here; None where it can."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        return "it is not installed: pip install 'gridgate[onnx]'"
    if kind.device.type != "cpu":
        return f"it computes on CPUs here, not on {kind.device}"
    if kind.dtype is not None:
        return f"it computes in float32 here, not in {kind.number_format}: --amp False"
    return None


class OnnxRuntimeNetwork(ConvertedNetwork):
    """A network's forward pass by ONNX Runtime, on the CPU, in float32; see ConvertedNetwork."""

    engine = NAME
    file = "model.onnx"

    @staticmethod
    def convert(network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
        """See ConvertedNetwork."""
        _convert(network, kind, file)

    @staticmethod
    def opened(network: torch.nn.Module, kind: WindowKind, file: Path) -> WindowNetwork:
        """See ConvertedNetwork."""
        return _Session(network, kind, file)


class _Session(WindowNetwork):
    """An ONNX file, ready to run."""

    def __init__(self, network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
        super().__init__(network, kind)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = kind.threads
        self._session = onnxruntime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )

    def run(self, window: torch.Tensor) -> torch.Tensor:
        (scores,) = self._session.run(None, {"image": window[None].numpy()})
        return torch.from_numpy(scores).movedim(-1, 1)


def _convert(network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
    # it warns of torchvision's operations, which no network here has
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad():
            torch.onnx.export(
                ChannelsInnermost(network).eval(),
                (torch.zeros(1, *kind.shape),),
                str(file),
                dynamo=True,
                external_data=False,
                input_names=["image"],
                output_names=["pred"],
                verbose=False,
            )
    except Exception as error:
        raise ConfigError(
            f"--engine onnxruntime: {type(network).__name__} cannot be exported to ONNX "
            f"({str(error).strip().splitlines()[0]}); use --engine torch"
        ) from error
    finally:
        logger.setLevel(level)
