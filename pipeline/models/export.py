"""A bundle's network as one file: TorchScript, .pt2 or ONNX, or its weights in half precision."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ckpt_export

from ...data.errors import ConfigError, OutputError
from ...data.files import refuse_existing_file
from ...networks.network_file import is_float32_only
from ...networks.slices import network_of_slices
from ..config.values import SEP
from ..plans.metadata import metadata
from ..workflow import BundleRun
from .checkpoints import carry_plan, load_weights
from .writing_weights import half_precision, save_checkpoint

CONFIG = "inference.yaml"
WEIGHTS = ".pt"
SUFFIXES = (".ts", ".pt2", ".onnx", WEIGHTS)


def export_bundle(
    bundle: str | Path,
    checkpoint: str | Path,
    output: str | Path,
    *,
    depth: int | None = None,
    words: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a bundle's network with a checkpoint's weights, in eval mode, whole or not at all.

    `.ts` is TorchScript with the bundle's configs inside, as MONAI Deploy wants it; `.pt2` is
    torch.export's and `.onnx` ONNX's, both for windows (1, channels, *roi_size), input "image" and
    output "pred". These three run without Gridgate. `.pt` is a state dict as models/model.pt is,
    with the plan in it, whose floating tensors are float16.

    Args:
        depth: prune UNet++ to this depth: the nodes beyond are not in the file. Not of `.pt`, which
            is for the bundle's whole network.
        words: settings of the bundle's inference.yaml, id -> text, as the training had them; a
            trained bundle needs none.
        overwrite: replace a file that is there, whoever wrote it; never a `.pt`, which may be the
            weights that are read.

    Raises:
        ConfigError: another suffix; a network that the format cannot hold, or that cannot be
            pruned; onnx is missing; an unknown setting.
        CheckpointError: see load_weights; the weights were trained with other settings, or are
            beyond float16.
        OutputError: the file cannot be written, or is there already.
    """
    bundle, output = Path(bundle), Path(output)
    write = _writer_of(output)
    if output.suffix == WEIGHTS:
        _check_weights(output, depth)
    refuse_existing_file(output, overwrite=overwrite)
    run = BundleRun(bundle, CONFIG, "inferring", words or {})
    run.check()
    parser = run.parser
    plan = parser.get_parsed_content("plan")
    network = load_weights(parser.get_parsed_content("network_def"), checkpoint, plan)
    _refuse_file(network, output)
    if depth is not None:
        network = _pruned(network, depth)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as work:
            beside = Path(work) / output.name
            configs = bundle / "configs"
            if words:
                configs = _with_settings(configs / CONFIG, parser, words, Path(work))
            write(network.eval(), parser, configs, beside, depth)
            refuse_existing_file(output, overwrite=overwrite and output.suffix != WEIGHTS)
            os.replace(beside, output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error})") from error
    return output


def _writer_of(output: Path) -> Callable[..., None]:
    writers = {".ts": _torchscript, ".pt2": _program, ".onnx": _onnx, WEIGHTS: _weights}
    write = writers.get(output.suffix)
    if write is None:
        raise ConfigError(
            f"{output}: the name's end chooses the format, one of {', '.join(SUFFIXES)}"
        )
    return write


def _refuse_file(network: torch.nn.Module, output: Path) -> None:
    if is_float32_only(network) and output.suffix != WEIGHTS:
        raise ConfigError(
            f"{output}: the bundle's network is a file of TorchScript or ONNX already, which the "
            "bundle was imported from; use that"
        )


def _check_weights(output: Path, depth: int | None) -> None:
    if depth is not None:
        raise ConfigError(
            f"{output}: --depth leaves nodes out, and the bundle's network has them; write a "
            ".ts, .pt2 or .onnx"
        )
    if os.path.lexists(output):  # it may be the very weights that are read
        raise OutputError(f"{output} is there already, and weights are not replaced; give another")


def _with_settings(
    file: Path, parser: ConfigParser, words: Mapping[str, str], folder: Path
) -> Path:
    """The bundle's config and metadata as the settings make them, for the file to carry."""
    config = ConfigParser(ConfigParser.load_config_file(str(file)))
    for name in words:
        id_ = name.replace("#", SEP)
        config[id_] = parser[id_]
    (folder / CONFIG).write_text(json.dumps(config.get()), encoding="utf-8")
    facts = metadata(parser.get_parsed_content("plan"))
    (folder / "metadata.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def _pruned(network: torch.nn.Module, depth: int) -> torch.nn.Module:
    prune: Callable[[int], torch.nn.Module] | None = getattr(network, "pruned", None)
    if prune is None:
        raise ConfigError(
            f"--depth {depth}: only networks of the UNet++ family are pruned, not {_name(network)}"
        )
    try:
        return prune(depth)
    except ValueError as error:
        raise ConfigError(f"--depth {depth}: {error}") from error


def _torchscript(
    network: torch.nn.Module, parser: ConfigParser, configs: Path, path: Path, depth: int | None
) -> None:
    weights = path.with_suffix(".pt")
    torch.save(network.state_dict(), weights)
    overrides: dict[str, Any] = {} if depth is None else {"architecture::depth": depth}
    if any(getattr(module, "by_trace", False) for module in network.modules()):
        overrides |= {"use_trace": True, "input_shape": list(_window(parser).shape)}
    try:
        ckpt_export(
            net_id="network_def",
            filepath=str(path),
            ckpt_file=str(weights),
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / CONFIG),
            **overrides,
        )
    except (RuntimeError, torch.jit.frontend.NotSupportedError) as error:
        raise ConfigError(
            f"{_name(network)} cannot be made TorchScript ({str(error).strip().splitlines()[0]}): "
            "write a .pt2 or .onnx"
        ) from error


def _program(
    network: torch.nn.Module, parser: ConfigParser, configs: Path, path: Path, depth: int | None
) -> None:
    with _unless_unknown(network, "exported as .pt2"), torch.no_grad():
        program = torch.export.export(network, (_window(parser),))
    torch.export.save(program, path)


def _onnx(
    network: torch.nn.Module, parser: ConfigParser, configs: Path, path: Path, depth: int | None
) -> None:
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "ONNX needs packages that are not installed: pip install 'gridgate[onnx]'"
        ) from error
    with _unless_unknown(network, "exported to ONNX"), torch.no_grad():
        torch.onnx.export(
            network,
            (_window(parser),),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=["image"],
            output_names=["pred"],
            verbose=False,
        )


@contextmanager
def _unless_unknown(network: torch.nn.Module, what: str) -> Iterator[None]:
    """Say which network has an operation that an exporter, which raises what it likes, lacks."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"{_name(network)} cannot be {what} ({said}); write a .ts, or .pt for its weights"
        ) from error


def _weights(
    network: torch.nn.Module, parser: ConfigParser, configs: Path, path: Path, depth: int | None
) -> None:
    state = half_precision(network.state_dict(), of=path.name)
    content = carry_plan(state, parser.get_parsed_content("plan"))
    with open(path, "wb") as stream:
        save_checkpoint(content, stream)


def _window(parser: ConfigParser) -> torch.Tensor:
    return torch.zeros(
        1, parser.get_parsed_content("channels"), *parser.get_parsed_content("roi_size")
    )


def _name(network: torch.nn.Module) -> str:
    return type(network_of_slices(network)).__name__
