"""Networks that are files, TorchScript or ONNX, and what such a file says of its preprocessing."""

from __future__ import annotations

import json
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ....data.errors import CheckpointError, ConfigError
from ....networks.network_file import FILE, FileNetwork, digest

_ENDINGS = (".ts", ".pt", ".pth", ".jit", ".onnx")


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """A network's file.

    Args:
        path: where it was.
        architecture: by which a bundle names it.
        state: its weights, which are the file.
        configs: JSON files in it, name -> content, as MONAI's export writes them.
    """

    path: Path
    architecture: dict[str, Any]
    state: OrderedDict[str, torch.Tensor]
    configs: dict[str, Any]

    def outputs(self, channels: int, window: list[int]) -> int:
        """The output channels, of one window of zeros.

        Args:
            channels: of the input.

        Raises:
            CheckpointError: it cannot be opened, or gives something else than one tensor of the
                window's size.
            ConfigError: onnxruntime is missing.
        """
        network = FileNetwork(
            **{key: value for key, value in self.architecture.items() if key != "name"}
        )
        network.load_state_dict(self.state)
        try:
            with torch.inference_mode():
                found = network.eval()(torch.zeros(1, channels, *window))
        except ImportError as error:
            raise ConfigError(str(error)) from error
        except Exception as error:  # of TorchScript's and onnxruntime's own kinds
            first = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise CheckpointError(
                f"{self.path}: a window of {channels} x {' x '.join(map(str, window))} voxels does "
                f"not run: {first[:300]}"
            ) from error
        if not isinstance(found, torch.Tensor) or found.shape[2:] != tuple(window):
            shape = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise CheckpointError(
                f"{self.path}: gives {shape} for a window of {window}; one tensor (B, channels, "
                "*window) of logits is wanted"
            )
        return int(found.shape[1])


def is_network_file(path: str | Path) -> bool:
    """Whether a path is a file that may be a network, by its ending."""
    return Path(path).is_file() and Path(path).suffix.lower() in _ENDINGS


def read_network_file(path: str | Path) -> NetworkFile:
    """Read a file of TorchScript or ONNX; its network is not run.

    Raises:
        CheckpointError: it cannot be read, or holds weights alone.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    configs: dict[str, Any] = {}
    kind = "onnx"
    if path.suffix.lower() != ".onnx":
        kind, configs = "torchscript", _configs(path)
    if not content:
        raise CheckpointError(f"{path}: is empty")
    architecture = {
        "name": FILE,
        "format": kind,
        "size": len(content),
        "sha256": digest(content),
    }
    state = OrderedDict(content=torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return NetworkFile(path, architecture, state, configs)


def _configs(path: Path) -> dict[str, Any]:
    """The JSON files beside the code.

    Raises:
        CheckpointError: it is no TorchScript.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if not any("/code/" in name for name in names):
                raise CheckpointError(
                    f"{path}: holds weights without their network; TorchScript (torch.jit.save) or "
                    "ONNX is wanted"
                )
            extra = [name for name in names if "/extra/" in name and name.endswith(".json")]
            found = {Path(name).name: json.loads(archive.read(name)) for name in extra}
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise CheckpointError(f"{path}: no TorchScript ({error})") from error
    return {name: value for name, value in found.items() if isinstance(value, dict)}
