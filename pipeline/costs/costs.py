"""What each network costs: parameters, operations, time of a forward pass, memory of training."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ...data.errors import ConfigError
from ...data.files import check_writable, refuse_existing_file, write_atomically
from ...data.progress import Progress
from ...networks import NETWORKS, build, network_options
from ..models.devices import choose_device
from ..models.machine import machine_facts
from .process import measured_in_process, one_line

WINDOWS = {2: (224, 224), 3: (96, 96, 96)}
"""The window of a number of spatial axes, where none is given."""

COLUMNS = (
    "network",
    "window",
    "in_channels",
    "classes",
    "batch",
    "device",
    "options",
    "parameters",
    "gflops",
    "forward_s",
    "training_mib",
    "reason",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class CostSettings:
    """What is counted and measured.

    Args:
        window: voxels per axis, two or three; networks that tie themselves to a window are built
            for it.
        in_channels, classes: of the network; classes count the background, 1 is a network with a
            sigmoid.
        batch: windows at once, for the measurements. Operations are those of one window.
        device: "auto", "cpu", "cuda" or "cuda:N".
        measured: whether anything is run; parameters and operations are counted without.
        training: whether a training step is run too.
        timeout: seconds after which a network is given up.
        options: of the networks, the same for all.

    Raises:
        ConfigError: a number out of range, or an unknown device.
    """

    window: tuple[int, ...] = WINDOWS[3]
    in_channels: int = 1
    classes: int = 14
    batch: int = 1
    device: str = "auto"
    measured: bool = True
    training: bool = True
    timeout: float = 1800.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.window) not in WINDOWS or min(self.window) < 1:
            raise ConfigError(
                f"window {' '.join(map(str, self.window))}: give two or three numbers of 1 or more"
            )
        if min(self.in_channels, self.classes, self.batch) < 1 or self.timeout <= 0:
            raise ConfigError(
                "channels, classes and batch must be 1 or more, and the timeout more than 0 seconds"
            )
        choose_device(self.device)

    def options_of(self, name: str) -> dict[str, Any]:
        """The options to build a network with: the window is one of some."""
        window = {"img_size": list(self.window)} if "img_size" in network_options(name) else {}
        return window | dict(self.options)


def network_costs(
    names: Sequence[str] = (),
    settings: CostSettings | None = None,
    *,
    table: str | Path | None = None,
    overwrite: bool = False,
) -> list[Row]:
    """Count and measure networks, print a table as it goes, and write it as CSV.

    A network that fails is a row with the reason. The CSV is written anew, whole, after each
    network.

    Args:
        names: of networks; none are all.
        table: the CSV file; None writes none.
        overwrite: replace a table that is there, once a network is done.

    Returns:
        A dict a network, with the keys COLUMNS; what was not found is None.

    Raises:
        ConfigError: no network has one of the names.
        OutputError: the table cannot be written, or is there already.
    """
    settings = settings or CostSettings()
    chosen = list(names) or list(NETWORKS)
    for name in chosen:
        try:
            network_options(name)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    rows: list[Row] = []
    if table is not None:
        refuse_existing_file(table, overwrite=overwrite)
        check_writable(table)  # that it cannot be written is better known now
    width = max(len(name) for name in chosen)
    print(_heading(settings))
    print(
        f"\n{'network':{width}s}  {'parameters':>12s}  {'GFLOPs':>9s}  {'forward s':>9s}  "
        f"{'training GiB':>12s}"
    )
    with Progress(len(chosen), "networks", shown=settings.measured) as progress:
        for name in chosen:
            progress.move(progress.done, note=name)
            row = _costs(name, settings)
            rows.append(row)
            progress.print(_line(row, width))
            progress.advance()
            if table is not None:
                refuse_existing_file(table, overwrite=overwrite or len(rows) > 1)
                write_costs(table, rows)
    return rows


def count(name: str, settings: CostSettings) -> tuple[int, float]:
    """Parameters, and operations of a window in 1e9: 2 for each multiplication with addition.

    Those of convolutions, linear layers and matrix products, attention's among them, by PyTorch's
    counter. It runs on the meta device, which computes nothing, and where attention is made of
    matrix products: the counter does not know the fused one of the CPU.
    """
    network = _built(name, settings)
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, settings.in_channels, *settings.window))
    return sum(
        parameter.numel() for parameter in network.parameters()
    ), counter.get_total_flops() / 1e9


def write_costs(path: str | Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(Path(path), lambda stream: stream.write(text.getvalue().encode()))


def _costs(name: str, settings: CostSettings) -> Row:
    row: Row = dict.fromkeys(COLUMNS)
    row |= {
        "network": name,
        "window": "x".join(map(str, settings.window)),
        "device": str(choose_device(settings.device)),
    }
    row |= {
        "in_channels": settings.in_channels,
        "classes": settings.classes,
        "batch": settings.batch,
    }
    row["options"] = json.dumps(dict(settings.options)) if settings.options else None
    try:
        row["parameters"], row["gflops"] = count(name, settings)
    except Exception as error:  # whatever a network, or MONAI's, raises is its row
        row["reason"] = one_line(f"{_multiples(name, settings)}{type(error).__name__}: {error}")
        return row
    if settings.measured:
        for found in _measured(name, settings):
            row |= found
    return row


def _built(name: str, settings: CostSettings) -> torch.nn.Module:
    with torch.device("meta"):
        return build(
            name,
            spatial_dims=len(settings.window),
            in_channels=settings.in_channels,
            out_channels=settings.classes,
            **settings.options_of(name),
        ).eval()


def _multiples(name: str, settings: CostSettings) -> str:
    """Which windows would fit, where that may be why a network failed; else nothing."""
    try:
        divisor: tuple[int, ...] = _built(name, settings).divisor  # type: ignore[assignment]
    except Exception:  # it cannot even be built, which has been said
        return ""
    if all(size % step == 0 for size, step in zip(settings.window, divisor, strict=True)):
        return ""
    return f"the window is no multiple of {' '.join(map(str, divisor))}: "


def _measured(name: str, settings: CostSettings) -> Iterator[Row]:
    """What a process of its own finds out, and why it ended where it did so too early."""
    wanted = {
        "name": name,
        "options": settings.options_of(name),
        "window": list(settings.window),
        "in_channels": settings.in_channels,
        "classes": settings.classes,
        "batch": settings.batch,
        "device": settings.device,
        "training": settings.training,
    }
    for found in measured_in_process(wanted, timeout=settings.timeout):
        if "training_bytes" in found:
            found = {"training_mib": found["training_bytes"] / 2**20}
        yield found


def _heading(settings: CostSettings) -> str:
    device = choose_device(settings.device)
    facts = dict(machine_facts())
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else facts["processor"]
    window = " x ".join(map(str, settings.window))
    text = (
        f"{settings.in_channels} -> {settings.classes} channels, window {window}; GFLOPs a window"
    )
    if not settings.measured:
        return text
    text += (
        f"\nmeasured at batch {settings.batch} in float32, PyTorch {torch.__version__}, {machine}"
    )
    if settings.training:
        text += "\ntraining: what a step with AdamW holds at its peak, weights included"
    return text


def _line(row: Row, width: int) -> str:
    cells: list[tuple[str, int, Callable[[Any], str]]] = [
        ("parameters", 12, lambda value: f"{value:,d}"),
        ("gflops", 9, lambda value: f"{value:,.1f}"),
        ("forward_s", 9, lambda value: f"{value:.3f}"),
        ("training_mib", 12, lambda value: f"{value / 1024:.2f}"),
    ]
    parts = [f"{row['network']:{width}s}"]
    parts += [
        f"{'-' if row[key] is None else form(row[key]):>{size}s}" for key, size, form in cells
    ]
    return "  ".join([*parts, row["reason"] or ""]).rstrip()
