"""The benchmark runs through on a scan of one window, and its helpers measure what they say."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/, which is no package."""
    path = BENCHMARKS / f"{name}.py"
    for folder in (BENCHMARKS, path.parent):
        monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name.replace('/', '_')}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_a_small_run_ends_with_a_table_and_masks_that_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--random-weights", "--classes", "3", "--shape", "40", "36", "24"]
    words += ["--spacing", "2", "2", "2", "--variants", "float32", "--name", "small", "--warm-only"]
    words += ["--nnunet-python", sys.executable, "--work", str(tmp_path / "work")]
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
    assert load("inference", monkeypatch).main([*words, "--results", str(tmp_path)]) == 0
    page, numbers = (
        (tmp_path / "small.md").read_text(),
        json.loads((tmp_path / "small.json").read_text()),
    )
    assert page in capsys.readouterr().out
    rows = {row["name"]: row for row in numbers["rows"]}
    for name in ("model zoo chain", "gridgate float32"):
        row = rows[name]
        assert row["failure"] == "" and row["windows"] >= 1
        assert 0 < row["forward_s"] < row["warm_s"]
        assert 0.1 < row["peak_gb"] < 4 and 0.1 < row["max_rss_gb"] < 4
        assert nib.load(row["mask"]).shape == (40, 36, 24)
    if importlib.util.find_spec("nnunetv2") is None:
        assert "nnU-Net predictor: not installed" in page
    same = next(
        one for one in numbers["agreement"] if (one["mask"], one["with"])[1] == "model zoo chain"
    )
    # random weights: one voxel in some hundred lies where two labels' scores cross
    assert same["same_affine"] and same["differing"] < 0.05 * same["voxels"]


def test_agreement_is_what_a_hand_count_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    compare = load("agreement", monkeypatch).compare
    first = np.zeros((6, 6, 6), np.uint16)
    first[1:4, 1:4, 1:4] = 2  # 27 voxels
    second = first.copy()
    second[1, 1, 1] = 0  # at the border
    second[2, 2, 2] = 5  # the middle, a border in the second map
    answer = compare(first, second)
    assert (answer["voxels"], answer["differing"], answer["differing_at_border"]) == (216, 2, 2)
    assert answer["dice"] == {0: 2 * 189 / (189 + 190), 2: 2 * 25 / (27 + 25), 5: 0.0}
    alone = compare(np.zeros((5, 5, 5), np.uint16), np.ones((5, 5, 5), np.uint16))
    assert (alone["differing"], alone["differing_at_border"]) == (125, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(first, first[:3])


def test_memory_of_a_process_and_of_its_child_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_measured = load("measured_process", monkeypatch).run_measured
    hold = "import time; held = bytearray(150_000_000); time.sleep(1)"
    code = "import subprocess, sys; "
    code += f"child = subprocess.Popen([sys.executable, '-c', '{hold}']); {hold}; child.wait()"
    options = {"log": tmp_path / "log", "environment": dict(os.environ), "time_limit_s": 60.0}
    both = run_measured([sys.executable, "-c", code], memory_limit_gb=10.0, **options)
    assert both.failure == "" and 0.3 < both.peak_gb < 0.4 and both.max_rss_gb > 0.15
    stopped = run_measured([sys.executable, "-c", code], memory_limit_gb=0.2, **options)
    assert "more than 0.2 GB" in stopped.failure
    wrong = run_measured(
        [sys.executable, "-c", "raise ValueError('no such thing')"], memory_limit_gb=1.0, **options
    )
    assert wrong.failure == "ended with 1: ValueError: no such thing"


def test_more_outputs_win_nowhere_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = load("train_weights", monkeypatch)
    torch.manual_seed(0)
    few = weights.UNet(**{**weights.NETWORK, "out_channels": 7})
    for module in few.modules():  # as after a training, not all zeros and ones
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    many = weights.UNet(**{**weights.NETWORK, "out_channels": 20})
    many.load_state_dict(weights.widened(few.state_dict(), 20))
    image = torch.rand(2, 1, 32, 32, 32)
    with torch.no_grad():
        before, after = few.eval()(image), many.eval()(image)
    torch.testing.assert_close(after[:, :7], before)
    torch.testing.assert_close(after[:, 7:], torch.full_like(after[:, 7:], weights.NEVER))


def cuda_sh(out: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHON": sys.executable, "DRY_RUN": "1", **settings}
    command = ["bash", str(BENCHMARKS / "cuda.sh"), str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


STAND_IN = """#!/usr/bin/env bash
echo "$@" >>"{log}"
case "$*" in
  *cuda/table*) exec "{python}" "$@" ;;
  *cuda/resume*) [ -e "{log}.mended" ] || {{ echo "it broke | here"; exit 3; }} ;;
esac
"""


def test_cuda_sh_goes_on_after_a_failure_and_skips_what_is_done(tmp_path: Path) -> None:
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(STAND_IN.format(log=log, python=sys.executable))
    python.chmod(0o755)
    out = tmp_path / "a folder"
    first = cuda_sh(out, PYTHON=str(python))
    assert first.returncode == 1, first.stderr
    ran = [line for line in log.read_text().splitlines() if "cuda/table" not in line]
    assert len(ran) == 9 and "cuda/masks" in ran[-1]
    assert all(f"{out}" in line for line in ran)
    page = (out / "cuda.md").read_text()
    assert "| resume | not done: exit code 3 after " in page and "it broke / here |" in page
    assert page.count("done in ") == 8

    log.unlink()
    (tmp_path / "log.mended").touch()
    assert cuda_sh(out, PYTHON=str(python)).returncode == 0
    ran = [line for line in log.read_text().splitlines() if "cuda/table" not in line]
    assert len(ran) == 1 and "cuda/resume" in ran[0]
    assert (out / "cuda.md").read_text().count("done in ") == 9

    late = cuda_sh(tmp_path / "late", PYTHON=str(python), BUDGET_S="0")
    assert late.returncode == 9
    assert (tmp_path / "late" / "cuda.md").read_text().count("no time was left") == 9


@pytest.mark.slow
def test_a_resume_is_measured_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("cuda/facts", monkeypatch).main(str(tmp_path / "facts.json"))
    load("cuda/resume", monkeypatch).main([str(tmp_path / "resume.json"), "--device", "cpu"])
    resume = json.loads((tmp_path / "resume.json").read_text())
    # on a CPU nothing is random
    assert (resume["again"], resume["resumed"]) == (0, 0)
    page = load("cuda/table", monkeypatch).page(tmp_path)
    assert "| a resumed one differs by | 0 | 0 |" in page
    assert "none: a dry run on the CPU" in page and "| tests | not run |" in page


@pytest.mark.slow
def test_the_clocked_training_counts_what_it_runs(
    tmp_path: Path, phantom_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, result = load("cuda/training", monkeypatch), tmp_path / "phantom.json"
    words = ["phantom_attention_unet", str(phantom_dataset), str(result), "--device", "cpu"]
    training.main([*words, "--tiny"])
    found = json.loads(result.read_text())
    assert (found["epochs"], found["iterations"]) == (1, 2)
    assert found["iterations_per_s"] == pytest.approx(2 / found["seconds"])
    assert set(found["dice"]) > {"mean", "liver"} and found["gpu_busy_percent"] is None
    assert (
        set(found["windows"]) == {"on_device", "by_workers"} and min(found["windows"].values()) > 0
    )
    page = load("cuda/table", monkeypatch)._training(found)
    assert f"{found['windows']['on_device']:.1f} per s with windows cut on the device" in page


def test_the_three_commands_on_a_device_are_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = load("cuda/planned", monkeypatch)
    reasons = {"roi_size": [32, 48, 32], "epochs": 30, "network": "unet", "size": "small"}
    decisions = [
        {"name": name, "value": value, "reason": f"why {name}"}
        for name, value in {**reasons, "batch_size": 8}.items()
    ]

    def gridgate(words: list[str]) -> tuple[float, object]:
        """A stand-in that writes what each command's readers take."""
        if words[0] == "plan":
            assert words[-2:] == ["--size", "small"]
            folder, name = words[words.index("--to") + 1], "plan.json"
            text = json.dumps({"decisions": decisions})
        elif words[0] == "train":
            folder, name, text = (
                words[3],
                "metrics_train.csv",
                "iteration,seconds,loss\n90,30,0.5\n",
            )
        else:
            folder, name = words[3], "metrics.csv"
            text = "case,label,dice\na,liver,0.75\nb,liver,0.25\nb,spleen,\n"
        Path(folder).mkdir()
        (Path(folder) / name).write_text(text)
        return 7.0, clock

    clock = load("cuda/gpu_clock", monkeypatch).GpuClock()
    monkeypatch.setattr(planned, "gridgate", gridgate)
    out = tmp_path / "planned.json"
    planned.main(["D", str(out), "--device", "cpu", "--time", "40s", "--plan", "--size", "small"])
    found = json.loads(out.read_text())
    assert found["reasons"] == ["why roi_size", "why epochs"] and found["dice"] == {"liver": 0.5}
    page = load("cuda/table", monkeypatch).page(tmp_path)
    assert (
        "for 40s: unet (small), 8 windows of 32 x 48 x 32; plan 7 s, training 7 s, evaluation 7 s: "
        "90 iterations in 30 s (3.0 per s), GPU not measured; Dice: liver 0.500"
    ) in page


def test_the_gpu_clock_averages_the_samples_of_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = load("cuda/gpu_clock", monkeypatch).GpuClock()
    clock._samples = [(0.0, 10.0, 1.0), (1.0, 80.0, 3.0), (2.0, 90.0, 2.0), (3.0, 0.0, 1.0)]
    assert clock.busy_percent(0.5, 2.5) == 85 and clock.busy_percent(5, 6) is None
    assert clock.peak_gb() == pytest.approx(3 * 2**20 / 1e9)


def test_formats_of_stored_cases_are_measured_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = load("datasets/cache", monkeypatch)
    formats = load("datasets/cache_formats", monkeypatch)
    monkeypatch.setattr(formats, "FORMATS", {"blosc2": [("LZ4", 5, "SHUFFLE", 64, 16)]})
    image = np.random.default_rng(0).standard_normal((1, 70, 20, 20)).astype(np.float32)
    np.savez(tmp_path / "case.npz", image=image, label=(image > 0).astype(np.uint8))
    rows = list(formats.measured_formats(tmp_path / "case.npz"))
    assert [row["case"] for row in rows] == ["case image 70x20x20", "case label 70x20x20"]
    assert float(rows[0]["MB"]) > 0.05 and rows[0]["way"] == (
        "lz4 5, shuffle, 64^3 chunks, 16^3 blocks"
    )
    cache.write_page(tmp_path, "Formats", rows)
    cache.write_page(tmp_path, "Windows", [{"a": 1}, {"b": 2}])
    cache.write_page(tmp_path, "Formats", rows[:1])
    page = (tmp_path / "cache.md").read_text()
    assert page.count("case image") == 1 and "case label" not in page
    assert page.index("## Formats") < page.index("## Windows") and "| 1 |  |" in page

    class Wrong:
        def __getitem__(self, box: object) -> np.ndarray:
            return image[box] + 1

    way = formats.FORMATS["blosc2"][0]
    with pytest.raises(AssertionError):  # what comes back is looked at
        formats.one_format(image, tmp_path / "a", way, formats.write_blosc2, lambda path: Wrong())


def test_what_a_cluster_costs_is_computed_from_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = load("cluster_costs", monkeypatch)
    # by hand: 9 s on 2 cores are 18 core seconds, 0.005 core hours; at $0.04 that is 0.02 cents
    one = costs.Measured("a CT", 9.0, 2, "core", "page.md")
    assert one.hours(126_000) == pytest.approx(630)
    assert one.cents(0.04) == pytest.approx(0.02)
    assert one.price_of(0.8) == pytest.approx(1.6)
    words = ["--core-hour", "0.01", "0.05", "--gpu-hour", "1", "5"]
    assert costs.main([*words, "--results", str(tmp_path)]) == 0
    page = (tmp_path / "cluster_costs.md").read_text()
    assert page == (BENCHMARKS / "results/cluster_costs.md").read_text(), "write it anew"
    for row in costs.measured():
        assert f" {row.seconds:g}" in (BENCHMARKS / "results" / row.source).read_text()
    (tmp_path / "cases.csv").write_text("case,status,total_s\na,ok,10\nb,ok,20\nc,failed,1\n")
    capsys.readouterr()
    assert costs.main(["--run", str(tmp_path), "--cores", "4", "--scans", "60"]) == 0
    assert "| mean of 2 cases | 15 | 4 | 1 |" in capsys.readouterr().out, "15 s * 4 * 60 / 3600"
