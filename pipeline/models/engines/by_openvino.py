"""OpenVINO: on CPUs faster than PyTorch's own convolutions, in float32 and bfloat16."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ....data.errors import ConfigError
from .converted import ConvertedNetwork
from .window_network import ChannelsInnermost, WindowKind, WindowNetwork

NAME = "openvino"


def why_not(kind: WindowKind) -> str | None:
    """Why OpenVINO cannot compute this here; None where it can."""
    if importlib.util.find_spec("openvino") is None:
        return "it is not installed: pip install 'gridgate[openvino]'"
    if kind.device.type != "cpu":
        return f"it computes on CPUs here, not on {kind.device}"
    if kind.dtype not in (None, torch.bfloat16):
        return f"it computes in float32 or bfloat16, not in {kind.number_format}"
    return None


class OpenVINONetwork(ConvertedNetwork):
    """A network's forward pass by OpenVINO, on the CPU; see ConvertedNetwork."""

    engine = NAME
    file = "model.xml"

    @staticmethod
    def convert(network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
        """See ConvertedNetwork."""
        convert(network, kind, file)

    @staticmethod
    def opened(network: torch.nn.Module, kind: WindowKind, file: Path) -> WindowNetwork:
        """See ConvertedNetwork."""
        return Compiled(network, kind, file)


class Compiled(WindowNetwork):
    """A converted network's file, ready to run."""

    def __init__(self, network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
        super().__init__(network, kind)
        import openvino

        self._tensor: Any = openvino.Tensor
        model = core().read_model(file)
        self._size = tuple(model.output(0).get_partial_shape().to_shape())
        self._request = core().compile_model(model, "CPU", _options(kind)).create_infer_request()

    def run(self, window: torch.Tensor) -> torch.Tensor:
        """See WindowNetwork.run."""
        scores = torch.empty(self._size)  # a new one: the caller keeps it
        self._request.set_input_tensor(0, self._tensor(window[None].numpy(), shared_memory=True))
        self._request.set_output_tensor(0, self._tensor(scores.numpy(), shared_memory=True))
        self._request.infer()
        return scores.movedim(-1, 1)


@cache
def core() -> Any:
    """OpenVINO's core: one for the process, which is never let go of.

    Each brings the thread that makes it a stack for signals, and unmaps it when it goes. Of several
    that go in another order than they came, or in another thread, a stack that is gone is left
    behind, and the next signal that Python handles ends the process (OpenVINO 2026.4, Linux).
    """
    import openvino

    return openvino.Core()


def _options(kind: WindowKind) -> dict[str, Any]:
    return {
        # its own default is bfloat16 wherever the CPU has it
        "INFERENCE_PRECISION_HINT": "f32" if kind.dtype is None else "bf16",
        "INFERENCE_NUM_THREADS": kind.threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        # PyTorch's threads bring the scores back in between
        "ENABLE_CPU_PINNING": False,
    }


def convert(network: torch.nn.Module, kind: WindowKind, file: Path) -> None:
    """Export by PyTorch, read by OpenVINO's frontend, write.

    Not by `openvino.convert_model`, which asks a telemetry package whether it may tell of it.

    Raises:
        ConfigError: an operation that torch.export or OpenVINO does not know.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    example = torch.zeros(1, *kind.shape)
    try:
        with torch.no_grad(), _without_warnings():
            program = torch.export.export(ChannelsInnermost(network).eval(), (example,))
            decoder = TorchFXPythonDecoder.from_exported_program(program, dynamic_shapes=False)
            frontend = FrontEndManager().load_by_framework("pytorch")
            model = frontend.convert(frontend.load(decoder))
        model.reshape(list(example.shape))
    except Exception as error:
        raise ConfigError(
            f"--engine openvino: {type(network).__name__} has what OpenVINO does not know "
            f"({str(error).strip().splitlines()[0]}); use --engine torch"
        ) from error
    openvino.save_model(model, file, compress_to_fp16=False)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Without what OpenVINO's reader of programs logs, with tracebacks, of operations it expects.

    Those that PyTorch does not take apart need no keeping whole; and what is converted is compared
    with PyTorch anyway.
    """
    root = logging.getLogger()
    root.addFilter(_not_of_the_reader)
    try:
        yield
    finally:
        root.removeFilter(_not_of_the_reader)


def _not_of_the_reader(record: logging.LogRecord) -> bool:
    return record.module != "fx_decoder" or record.levelno > logging.WARNING
