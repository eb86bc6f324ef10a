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
from ...plans.plan import Plan

_BATCHES = (1, 2, 4, 8)  # that a file may be made for
_ENDINGS = (".ts", ".pt", ".pth", ".jit", ".onnx")


@dataclass(frozen=True, eq=False)
class TriedNetwork:
    """What a network's file turned out to be.

    Args:
        architecture: by which a bundle names it, with the number of windows that it takes.
        outputs: its output channels.
        range: its lowest and highest score of noise.
    """

    architecture: dict[str, Any]
    outputs: int
    range: tuple[float, float]

    def refuse_probabilities(self, plan: Plan, path: Path) -> None:
        """Refuse scores that have had their sigmoid, where it is what decides.

        Compared with the threshold of logits, 0, each voxel would be a label's. Of several labels
        without regions the highest is the same one before a softmax and after it.

        Raises:
            CheckpointError: all scores of noise are in 0..1.
        """
        low, high = self.range
        if plan.has_thresholds and 0 <= low < high <= 1:
            raise CheckpointError(
                f"{path}: gives {low:.3g} to {high:.3g} for noise, which are probabilities, and "
                "logits are wanted; export it without its last sigmoid"
            )


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

    def tried(self, channels: int, window: list[int]) -> TriedNetwork:
        """Run it on a window, and on two at once.

        Args:
            channels: of the input.

        Raises:
            CheckpointError: it cannot be opened, or gives something else than one tensor of the
                window's size.
            ConfigError: onnxruntime is missing.
        """
        windows = torch.randn(2, channels, *window, generator=torch.Generator().manual_seed(0))
        size, one = self._smallest_batch(windows[:1])
        try:
            both = self._scores(self.architecture, windows)
            any_number = size == 1 and bool(
                torch.allclose(both[:1], one, rtol=1e-3, atol=1e-4 * float(one.abs().max()))
            )
        except CheckpointError:  # it was traced with one
            any_number = False
        batch = {} if any_number else {"batch": size}
        span = float(one.min()), float(one.max())
        return TriedNetwork({**self.architecture, **batch}, int(one.shape[1]), span)

    def _smallest_batch(self, window: torch.Tensor) -> tuple[int, torch.Tensor]:
        """How many windows it takes at the least, and its scores of one."""
        errors = []
        for size in _BATCHES:
            try:
                return size, self._scores({**self.architecture, "batch": size}, window)
            except CheckpointError as error:
                errors.append(error)
        raise errors[0]

    def _scores(self, architecture: dict[str, Any], windows: torch.Tensor) -> torch.Tensor:
        network = FileNetwork(
            **{key: value for key, value in architecture.items() if key != "name"}
        )
        network.load_state_dict(self.state)
        shape = " x ".join(map(str, windows.shape[1:]))
        try:
            with torch.inference_mode():
                found = network.eval()(windows)
        except ConfigError:
            raise
        except Exception as error:  # of TorchScript's and onnxruntime's own kinds
            first = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            raise CheckpointError(
                f"{self.path}: a window of {shape} (channels, voxels) does not run: {first[:300]}"
            ) from error
        if not isinstance(found, torch.Tensor) or found.shape[2:] != windows.shape[2:]:
            told = tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
            raise CheckpointError(
                f"{self.path}: gives {told} for a window of {shape}; one tensor (B, channels, "
                "*window) of logits is wanted"
            )
        return found


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
