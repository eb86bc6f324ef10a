"""`gridgate networks`: what is counted, measured, printed and written."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gridgate.data.errors import ConfigError, OutputError
from gridgate.networks import NETWORKS, build
from gridgate.pipeline.cli.main import main
from gridgate.pipeline.costs import costs, measuring, process
from gridgate.pipeline.costs.costs import COLUMNS, CostSettings, count

pytestmark = pytest.mark.slow

COUNTED = CostSettings(measured=False)


def read(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def by_hand(widths: tuple[int, ...], side: int, classes: int) -> int:
    """2 x multiplications of the U-Net's convolutions (see UNet), at a cube of this side."""
    total, inside = 0, 1
    for level, width in enumerate(widths):
        total += 27 * (inside * width + width * width) * (side >> level) ** 3
        inside = width
    for level in (3, 2, 1, 0):
        skip, deeper = widths[level], widths[level + 1]
        total += 27 * ((skip + deeper) * skip + skip * skip) * (side >> level) ** 3
        total += skip * classes * (side >> level) ** 3
    return 2 * (total + 4 * classes * classes * side**3)


def test_operations_of_a_unet_by_hand() -> None:
    widths = (2, 3, 4, 5, 6)
    settings = CostSettings(
        window=(32, 32, 32), classes=3, options={"filters": widths}, batch=4, measured=False
    )
    parameters, gflops = count("unet", settings)
    assert round(gflops * 1e9) == by_hand(widths, 32, 3)
    assert parameters == sum(
        p.numel() for p in build("unet", out_channels=3, filters=widths).parameters()
    )


def test_operations_of_attention_are_counted() -> None:
    """UNETR at the paper's settings: 92,802,478 parameters, 146.4 GFLOP."""
    parameters, gflops = count("unetr", COUNTED)
    assert parameters == 92_802_478 and gflops == pytest.approx(146.4, abs=0.05)


def test_all_networks_are_rows_without_measuring(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "--no-measure", "--csv", str(tmp_path / "t.csv")]) == 0
    out = capsys.readouterr().out
    rows = read(tmp_path / "t.csv")
    assert [row["network"] for row in rows] == list(NETWORKS) and list(rows[0]) == list(COLUMNS)
    for row in rows:
        assert row["reason"] == "" and row["forward_s"] == "" and row["training_mib"] == ""
        (line,) = [line for line in out.splitlines() if line.split()[:1] == [row["network"]]]
        assert line.split()[1:] == [
            f"{int(row['parameters']):,d}",
            f"{float(row['gflops']):,.1f}",
            "-",
            "-",
        ]
    assert "window 96 x 96 x 96" in out
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_network_is_measured_and_one_that_fails_is_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "networks",
        "SwinUNETR",
        "unet",
        "--window",
        "16",
        "--classes",
        "3",
        "--csv",
        str(tmp_path / "t.csv"),
    ]
    assert main([*words, "--device", "cpu", "--batch", "2"]) == 0
    swin, unet = read(tmp_path / "t.csv")
    assert swin["network"] == "SwinUNETR" and "divisible" in swin["reason"]  # by 32
    assert swin["gflops"] == swin["forward_s"] == ""
    assert unet["reason"] == "" and unet["window"] == "16x16x16" and unet["device"] == "cpu"
    assert 0 < float(unet["forward_s"]) < 60
    # weights, gradients and AdamW's two moments, and not a hundred times that
    least = 4 * 4 * int(unet["parameters"]) / 2**20
    assert least < float(unet["training_mib"]) < least + 1000
    assert "divisible" in capsys.readouterr().out


def test_what_was_measured_stays_when_the_training_step_fails() -> None:
    """Batch norm cannot train on a single value a channel, but runs."""
    settings = CostSettings(
        window=(16, 16, 16), classes=2, options={"feature_scale": 32}, device="cpu"
    )
    (row,) = costs.network_costs(["unet"], settings)
    assert row["forward_s"] > 0 and row["training_mib"] is None
    assert "window is too small" in row["reason"]


def test_a_network_that_takes_too_long_or_dies_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    (row,) = costs.network_costs(
        ["unet"], CostSettings(window=(16, 16, 16), timeout=0.05, device="cpu")
    )
    assert row["reason"] == "given up after 0 s" and row["parameters"] == 5_891_174
    monkeypatch.setattr(sys, "executable", "false")
    (row,) = costs.network_costs(["unet"], CostSettings(window=(16, 16, 16), device="cpu"))
    assert row["reason"] == "its process ended: code 1" and row["forward_s"] is None
    assert "lack of memory" in process._how_it_ended(-signal.SIGKILL, "")
    assert (
        process._how_it_ended(1, "Traceback\n  line\nValueError: no\n")
        == "its process ended: ValueError: no"
    )


PEAKS = """
import torch
from torch import nn
from gridgate.pipeline.costs.measuring import training_step

size = (1, 1, 128, 128, 64)
layers = [nn.Sequential(nn.Conv3d(1, 1, 1), nn.Tanh()) for _ in range(10)]
labels = torch.zeros(size, dtype=torch.long)
small = nn.Sequential(nn.Conv3d(1, 2, 1))
few, _ = training_step(small, torch.randn(size), labels, classes=2)
large = nn.Sequential(*layers, nn.Conv3d(1, 2, 1))
many, _ = training_step(large, torch.randn(size), labels, classes=2)
print(many - few)
"""


def test_training_peak_grows_with_the_activations() -> None:
    """Ten maps of 4 MiB each that the backward pass needs, beside next to no weights."""
    # in a process of its own: what earlier tests have freed would be taken first
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    assert 30 * 2**20 < int(done.stdout) < 200 * 2**20


def test_two_dimensions_and_options(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["networks", "unet", "unetr", "--spatial-dims", "2", "--no-measure", "--classes", "1"]
    assert main([*words, "--set", "form=zhou"]) == 0
    out = capsys.readouterr().out
    assert "window 224 x 224" in out and "7,759,521" in out
    assert "no option of the network 'unetr' called 'form'" in out  # a row as any failure


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["atention_unet"], "Did you mean 'attention_unet'"),
        (["unet", "--window", "96", "96"], "--window has 2 numbers for 3 spatial axes"),
        (["unet", "--window", "0"], "1 or more"),
        (["unet", "--batch", "0"], "1 or more"),
        (["unet", "--device", "tpu"], "device 'tpu'"),
        (["unet", "--set", "form"], "--form lacks its value"),
    ],
)
def test_what_cannot_be_is_refused(
    words: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "--no-measure", *words]) == 1
    assert text in capsys.readouterr().err


def test_a_table_that_cannot_be_written_is_known_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        costs.network_costs(["unet"], COUNTED, table=tmp_path / "file" / "t.csv")
    with pytest.raises(ConfigError):
        costs.network_costs(["nothing"], COUNTED, table=tmp_path / "t.csv")
    assert not (tmp_path / "t.csv").exists()


def test_a_table_that_is_there_is_replaced_only_when_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "results.csv"
    table.write_text("mine")
    words = ["networks", "unet", "--no-measure", "--csv", str(table)]
    assert main(words) == 1
    assert f"{table} is there already; --overwrite True" in capsys.readouterr().err
    assert table.read_text() == "mine"
    before: list[str] = []
    monkeypatch.setattr(costs, "count", lambda *_: before.append(table.read_text()) or (1, 1.0))
    assert main([*words, "--overwrite", "True"]) == 0
    assert before == ["mine"]  # it stays until there is something in its place
    assert [row["network"] for row in read(table)] == ["unet"]
    assert os.listdir(tmp_path) == ["results.csv"]


def test_a_table_that_somebody_wrote_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "t.csv"
    monkeypatch.setattr(costs, "count", lambda *_: (table.write_text("mine"), 1.0))
    with pytest.raises(OutputError, match="there already"):
        costs.network_costs(["unet"], COUNTED, table=table)
    assert table.read_text() == "mine"


def test_ctrl_c_ends_the_command_and_its_process_and_keeps_the_rows(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    code = "import sys; from gridgate.pipeline.cli.main import main; sys.exit(main())"
    words = [
        "networks",
        "UNet",
        "unet_plus_plus",
        "--window",
        "32",
        "--device",
        "cpu",
        "--csv",
        str(table),
    ]
    words += ["--set", "norm=batch"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (table.exists() and len(read(table)) == 1):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    time.sleep(1.0)  # into the second
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    measuring = children.read_text().split() if children.exists() else []
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors
    assert [row["network"] for row in read(table)] == ["UNet"]
    assert not any(Path(f"/proc/{child}").exists() for child in measuring)


@pytest.mark.parametrize(("seconds", "runs"), [(0.1, 19), (0.5, 3), (1.0, 3), (6.0, 1)])
def test_short_runs_are_timed_more_often(
    seconds: float, runs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For two seconds, the one that warms up among them; at least three, or what 10 s allow."""
    now = [0.0]

    def run() -> None:
        now[0] += seconds

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    found = measuring.timed(run, torch.device("cpu"))
    assert len(found) == runs and found == pytest.approx([seconds] * runs)


def test_a_whole_step_limits_gradients_and_averages_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limited: list[float] = []
    real = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(
        torch.nn.utils,
        "clip_grad_norm_",
        lambda weights, limit: limited.append(limit) or real(weights, limit),
    )
    averages: list[Any] = []
    averaged = measuring.averaged
    monkeypatch.setattr(
        measuring, "averaged", lambda network: averages.append(averaged(network)) or averages[-1]
    )
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    x, labels = torch.randn(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8, dtype=torch.long)
    measuring.training_step(network, x, labels, classes=2, whole=True)
    (average,) = averages
    assert len(limited) == int(average.n_averaged) >= 3
    assert not torch.equal(average.module.weight, network.weight)
    measuring.training_step(network, x, labels, classes=2)
    assert len(averages) == 1
