"""One page of what cuda.sh has written so far: `python benchmarks/cuda/table.py OUT`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

STEPS = ("facts", "tests", "hippocampus", "planned", "inference", "resume", "head_neck")
STEPS += ("planned_head_neck", "agreement")


def main() -> None:
    """Write OUT/cuda.md."""
    out = Path(sys.argv[1])
    (out / "cuda.md").write_text(page(out))


def page(out: Path) -> str:
    """The page; what has not run, or failed, says so."""
    facts = _read(out, "facts") or []
    lines = ["# On a GPU", "", "| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in facts), ""]
    lines += ["| | result | goal |", "|---|---|---|"]
    lines += [f"| {what} | {result} | {goal} |" for what, result, goal in rows(out)]
    lines += ["", "| step | |", "|---|---|"]
    return "\n".join([*lines, *(f"| {step} | {_state(out, step)} |" for step in STEPS)]) + "\n"


def rows(out: Path) -> list[tuple[str, str, str]]:
    """What was measured, its result, and what CUDA has to show."""
    found = [("tests marked cuda", _tests(out), "all pass")]
    inference = _read(out, "inference") or {"rows": []}
    measured = [row for row in inference["rows"] if "warm_s" in row]
    zoo = next((row["warm_s"] for row in measured if row["name"] == "model zoo chain"), None)
    for row in measured:
        text = f"{row['warm_s']:.2f} s, {100 * row['forward_s'] / row['warm_s']:.0f} % in forward"
        text += f", {row['peak_gb']:.1f} GB of the host"
        if row.get("gpu_peak_gb"):
            text += f", {row['gpu_peak_gb']:.1f} GB of the GPU"
        if zoo and row["kind"] == "ours":
            text += f"; {zoo / row['warm_s']:.1f} times the zoo's chain"
        goal = "10 times the zoo's chain; 90 % in forward" if row["kind"] == "ours" else ""
        found.append((f"inference, {row['name']}", text, goal))
    for row in _read(out, "agreement") or []:
        equal = 100 * (1 - row["differing"] / row["voxels"])
        goal = "99.99 %" if row["mask"] == "gridgate float32" else ""
        found.append((f"voxels as on the CPU, {row['mask']}", f"{equal:.4f} %", goal))
    goals = {"hippocampus": "80 % busy; Dice 0.89 and 0.88", "head_neck": "80 % busy"}
    for name, goal in goals.items():
        result = _read(out, name)
        if result is not None:
            found.append((f"training of {name}", _training(result), goal))
    for name in ("planned", "planned_head_neck"):
        result = _read(out, name)
        if result is not None and "dice" in result:
            found.append((f"plan, train, evaluate: {name}", _planned(result), "80 % busy"))
    resume = _read(out, "resume")
    if resume is not None:
        found.append(("two deterministic trainings differ by", f"{resume['again']:.3g}", "0"))
        found.append(("a resumed one differs by", f"{resume['resumed']:.3g}", "0"))
        found.append(("two trainings by default differ by", f"{resume['usual']:.3g}", ""))
    return found


def _training(result: dict[str, Any]) -> str:
    busy = result["gpu_busy_percent"]
    dice = ", ".join(f"{name} {value:.3f}" for name, value in result["dice"].items())
    iterations, seconds = result["iterations"], result["seconds"]
    text = f"{iterations} iterations in {seconds:.0f} s ({iterations / seconds:.1f} per s), "
    text += "GPU not measured" if busy is None else f"GPU busy {busy:.0f} %"
    peak = result["gpu_peak_gb"]
    text += "" if peak is None else f", {peak:.1f} GB"
    windows = result.get("windows")
    if windows is not None:
        text += f"; {windows['on_device']:.1f} per s with windows cut on the device, "
        text += f"{windows['by_workers']:.1f} by workers"
    return f"{text}; Dice: {dice}"


def _planned(result: dict[str, Any]) -> str:
    plan = result["plan"]
    window = " x ".join(map(str, plan["roi_size"]))
    text = (
        f"for {result['time']}: {plan['network']} ({plan['size']}), {plan['batch_size']} windows "
    )
    text += f"of {window}; plan {result['plan_s']:.0f} s, training {result['train_s']:.0f} s, "
    return f"{text}evaluation {result['evaluate_s']:.0f} s: {_training(result)}"


def _tests(out: Path) -> str:
    try:
        suite = ElementTree.parse(out / "tests.xml").getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        suite = None
    if suite is None:
        return "not run"
    names = ("tests", "failures", "errors", "skipped")
    return ", ".join(f"{suite.get(name)} {name}" for name in names)


def _read(out: Path, name: str) -> Any:
    try:
        return json.loads((out / f"{name}.json").read_text())
    except (OSError, ValueError):
        return None


def _state(out: Path, step: str) -> str:
    for ending, word in ((".done", "done in"), (".failed", "not done:")):
        path = out / f"{step}{ending}"
        if path.is_file():
            return f"{word} {' '.join(path.read_text().split())}".replace("|", "/")
    return "not run"


if __name__ == "__main__":
    main()
