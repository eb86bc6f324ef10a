"""INT8 by OpenVINO: of a bundle that `gridgate quantise` has made it for, and measured."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch

from ....data.errors import ConfigError
from . import by_openvino
from .network_key import weights_key
from .window_network import WindowKind, WindowNetwork

NAME = "int8"
FOLDER = Path("models") / "int8"
"""In a bundle."""
MODEL, FACTS = "model.xml", "int8.json"


@dataclass(frozen=True)
class Int8Facts:
    """What an INT8 network was made for, and what it costs.

    Args:
        window: (C_in, *roi) in voxels; it takes no other.
        weights: see weights_key; it is of no others.
        scheme: how ranges are laid, see quantising.convert.
        cases: that Dice was measured on.
        settings: that Dice was measured with, where they are not the bundle's own.
        unmeasured: labels that none of them has.
        dice: label -> {"float32": mean Dice, "int8": mean Dice}.
        seconds: of a window, by engine and format, on the machine that made it.
        made_with: package -> version.
    """

    window: tuple[int, ...]
    weights: str
    scheme: str = ""
    cases: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    unmeasured: Sequence[str] = ()
    dice: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write them beside the network."""
        (folder / FACTS).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Int8Facts:
        """Those of a folder.

        Raises:
            ConfigError: it has none, or no sound ones.
        """
        file = folder / FACTS
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            return cls(**{**found, "window": tuple(found["window"])})
        except FileNotFoundError:
            raise ConfigError(
                f"--engine int8: there is no {file}; `gridgate quantise BUNDLE DATASET OUTPUT` "
                "makes it, and measures what it costs; or use --engine auto"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"--engine int8: {file} cannot be read ({error}); make it again with "
                "`gridgate quantise`, or use --engine auto"
            ) from error


def why_not(kind: WindowKind) -> str | None:
    """Why INT8 cannot be computed here; None where it can."""
    if kind.device.type != "cpu":
        return f"it computes on CPUs, not on {kind.device}: --device cpu"
    return by_openvino.why_not(replace(kind, dtype=None))


def check_int8(network: torch.nn.Module, roi_size: Sequence[int], folder: Path) -> str:
    """Refuse an INT8 network that is not of these weights and windows.

    Returns:
        12 hexadecimal digits of its file: masks of another one are other masks.

    Raises:
        ConfigError: there is none, or one of other weights or windows.
    """
    facts = Int8Facts.read(folder)
    if facts.weights != weights_key(network):
        raise ConfigError(
            f"--engine int8: {folder} was made of other weights than these; make it again with "
            "`gridgate quantise`, or use --engine auto"
        )
    if facts.window[1:] != tuple(roi_size):
        raise ConfigError(
            f"--engine int8: {folder} was made for windows of {list(facts.window[1:])} voxels, not "
            f"{list(roi_size)}; use --engine auto with others"
        )
    found = hashlib.sha256()
    try:
        for file in (folder / MODEL, (folder / MODEL).with_suffix(".bin")):
            found.update(file.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"--engine int8: {folder} is not whole ({error}); make it again with `gridgate "
            "quantise`, or use --engine auto"
        ) from error
    return found.hexdigest()[:12]


def int8_network(network: torch.nn.Module, kind: WindowKind, folder: Path) -> WindowNetwork:
    """A network's forward pass in INT8, from its bundle's `models/int8`.

    What is not quantised is in float32: bfloat16 was slower (nnU-Net's network, a CPU with AMX).

    Raises:
        ConfigError: see check_int8.
    """
    check_int8(network, kind.shape[1:], folder)
    return by_openvino.Compiled(network, replace(kind, dtype=None), folder / MODEL)
