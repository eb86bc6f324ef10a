"""The benchmark's numbers as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def markdown(
    rows: Sequence[dict[str, Any]],
    facts: Sequence[tuple[str, str]],
    comparisons: Sequence[dict[str, Any]],
    *,
    reference: str,
) -> str:
    """All tables; ratios are against the row called `reference`, of the same run."""
    parts = ["# Inference", "", _table(["", ""], [[name, value] for name, value in facts])]
    parts += ["", "## Seconds and memory", "", _costs(rows, reference), ""]
    parts += [
        f"- {row['name']}: {row.get('skipped') or row['failure']}"
        for row in rows
        if "warm_s" not in row
    ]
    parts += ["", "## Seconds by stage", ""]
    for row in rows:
        if row.get("stages"):
            stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in row["stages"].items())
            parts.append(
                f"- {row['name']}: {stages}; network's forward passes {row['forward_s']:.1f}"
            )
    if comparisons:
        parts += ["", "## Agreement of masks", "", _agreement(comparisons)]
    return "\n".join(parts) + "\n"


def _costs(rows: Sequence[dict[str, Any]], reference: str) -> str:
    done = [row for row in rows if "warm_s" in row]
    base = next((row for row in done if row["name"] == reference), None)
    gpu = any(row.get("gpu_peak_gb") is not None for row in done)
    head = [
        "",
        "seconds, warm",
        "seconds, process",
        "forward",
        "outside forward",
        "peak GB",
        "largest process GB",
    ]
    head += ["windows (not run)"] + ["times faster", "share of memory"] * (base is not None)
    head += ["GPU peak GB", "GPU computes"] * gpu
    lines = []
    for row in done:
        line = [
            row["name"],
            f"{row['warm_s']:.2f}",
            f"{row['cold_s']:.1f}" if "cold_s" in row else "",
            f"{row['forward_s']:.2f}",
        ]
        line += [
            f"{row['warm_s'] - row['forward_s']:.2f}",
            f"{row['peak_gb']:.2f}",
            f"{row['max_rss_gb']:.2f}",
        ]
        skipped = row.get("windows_skipped")
        line.append(f"{row['windows']}" + (f" ({skipped})" if skipped is not None else ""))
        if base is not None:
            line += [
                f"{base['warm_s'] / row['warm_s']:.2f}",
                f"{row['peak_gb'] / base['peak_gb']:.2f}",
            ]
        if gpu:
            share = f"{100 * row['forward_s'] / row['warm_s']:.0f} %" if row["forward_s"] else ""
            line += [f"{row['gpu_peak_gb'] or 0:.2f}", share]
        lines.append(line)
    return _table(head, lines)


def _agreement(comparisons: Sequence[dict[str, Any]]) -> str:
    head = [
        "mask",
        "with",
        "equal voxels",
        "differing",
        "of these at a border",
        "mean Dice",
        "lowest Dice",
        "by label",
    ]
    lines = []
    for one in comparisons:
        dice = {int(label): value for label, value in one["dice"].items() if int(label) > 0}
        at_border = (
            100 * one["differing_at_border"] / one["differing"] if one["differing"] else 100.0
        )
        lowest = min(dice, key=dice.__getitem__, default=0)
        line = [one["mask"], one["with"], f"{100 * (1 - one['differing'] / one['voxels']):.4f} %"]
        line += [f"{one['differing']}", f"{at_border:.1f} %"]
        if dice:
            each = ", ".join(f"{label}: {value:.4f}" for label, value in list(dice.items())[:13])
            line += [
                f"{sum(dice.values()) / len(dice):.4f}",
                f"{dice[lowest]:.4f} ({lowest})",
                each,
            ]
        else:
            line += ["", "", "no label in either"]
        lines.append(line if one["same_affine"] else [*line[:-1], "OTHER AFFINE"])
    return _table(head, lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [list(head), ["---"] * len(head), *map(list, lines)]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows
    )
