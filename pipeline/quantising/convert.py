"""From a network to OpenVINO's file in INT8, by NNCF."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from ...data.errors import ConfigError, OutputError
from ..models.engines import by_openvino
from ..models.engines.by_int8 import MODEL
from ..models.engines.window_network import WindowKind

PACKAGES = ("openvino", "nncf")
Scheme = Literal["performance", "mixed", "transformer"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
"""From the fastest to the most exact; the first that costs no Dice is taken."""

_NO_TELEMETRY = "NNCF_CI"


def refuse_missing() -> None:
    """Refuse to begin where a package is missing.

    Raises:
        ConfigError: one is.
    """
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        raise ConfigError("INT8 is made by OpenVINO's NNCF: pip install 'gridgate[int8]'")


def convert_to_int8(
    network: torch.nn.Module,
    kind: WindowKind,
    windows: Sequence[torch.Tensor],
    folder: Path,
    scheme: Scheme = SCHEMES[0],
) -> None:
    """Write a network whose convolutions and matrix products compute in INT8.

    Post-training quantisation: weights per channel, activations by the ranges that are seen when
    the windows run, biases corrected; all else stays in floating point.

    Args:
        network: in eval mode.
        windows: (C_in, *roi) each.
        folder: for the file; made where it is not there.
        scheme: "performance": ranges around 0; "mixed": activations' ranges are where they are, as
            after other functions than ReLU; "transformer": that, and attention stays exact.

    Raises:
        ConfigError: see by_openvino.convert; or what NNCF does not know.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gridgate-") as work, _quietly():
        whole = Path(work) / MODEL
        try:
            by_openvino.convert(network, kind, whole)
        except ConfigError as error:
            raise ConfigError(
                f"INT8 is made by way of OpenVINO, which cannot take this network: {error}"
            ) from error
        import nncf
        import openvino

        # not mapped into memory: Windows removes no file that is
        model = by_openvino.core().read_model(whole, config={"ENABLE_MMAP": False})
        data = nncf.Dataset(windows, lambda window: window[None].numpy())
        # weights of 7 bits: sums of 8 overflow on CPUs without VNNI, and Dice would be another
        exact = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
        options: dict[str, Any] = {"subset_size": len(windows), "advanced_parameters": exact}
        if scheme != "performance":
            options["preset"] = nncf.QuantizationPreset.MIXED
        if scheme == "transformer":
            options["model_type"] = nncf.ModelType.TRANSFORMER
        try:
            small = nncf.quantize(model, data, **options)
        except Exception as error:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConfigError(
                f"{type(network).__name__} cannot be quantised by NNCF ({said})"
            ) from error
        try:
            openvino.save_model(small, folder / MODEL, compress_to_fp16=False)
        except Exception as error:  # a RuntimeError of its own, such as of a disk that is full
            raise OutputError(f"{folder / MODEL}: cannot be written ({error})") from error


def made_with() -> dict[str, str]:
    """Package -> version."""
    return {name: version(name) for name in PACKAGES}


@contextmanager
def _quietly() -> Iterator[None]:
    """Without NNCF's bars and advice; and without what it tells its maker of each use."""
    told = os.environ.get(_NO_TELEMETRY)
    os.environ[_NO_TELEMETRY] = "1"  # read when it is imported
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        if told is None:
            del os.environ[_NO_TELEMETRY]
        else:
            os.environ[_NO_TELEMETRY] = told
