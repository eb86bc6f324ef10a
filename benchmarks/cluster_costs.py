"""What masks for very many CTs would cost, computed from measured seconds per CT.

    python benchmarks/cluster_costs.py --core-hour 0.01 0.05 --gpu-hour 2
    python benchmarks/cluster_costs.py --run MASKS --cores 4 --core-hour 0.04     # of your own run

The seconds are those of pages in results/ that name the machine: from a scan's path to the mask on
disk, the weights loaded, as each worker of a cluster has them. Prices are yours: nobody's are
built in. Beside them stands what the Imaging Data Commons published for 126,000 CTs, 0.8 cents per
CT, and the price of an hour at which ours would cost the same. It is another network on other CTs,
so that number tells the order of magnitude that others pay, not who is cheaper. Writes
results/cluster_costs.md.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
SCANS = 126_000
PUBLISHED_CENTS = 0.8


@dataclass(frozen=True)
class Measured:
    """Seconds per CT on some hardware.

    Args:
        what: the scan and the network, in words.
        seconds: per CT.
        units: cores or GPUs that it had.
        unit: "core" or "GPU".
        source: page of results/.
    """

    what: str
    seconds: float
    units: int
    unit: str
    source: str

    def hours(self, scans: int) -> float:
        """Core hours or GPU hours of so many CTs."""
        return self.seconds * self.units * scans / 3600

    def cents(self, price: float) -> float:
        """Of one CT, at a price in dollars of an hour of one unit."""
        return 100 * price * self.hours(1)

    def price_of(self, cents: float) -> float:
        """Dollars of an hour of one unit at which a CT costs so many cents."""
        return cents / 100 / self.hours(1)


def measured(results: Path = RESULTS) -> list[Measured]:
    """What the committed pages hold."""
    cpu = "cpu.md"
    big = "cpu_512x512x1000_118_classes.md"
    gpu = "cuda_h100.md"
    seconds = re.search(
        r"inference, reference CT, float32 \| ([\d.]+) s", (results / gpu).read_text()
    )
    assert seconds is not None, f"{gpu} has lost its row"
    return [
        _of_page(results / cpu, "gridgate float32", "488x404x269, 14 classes, float32"),
        _of_page(results / cpu, "gridgate bf16, air skipped", "488x404x269, 14 classes, bf16"),
        _of_page(results / big, "gridgate bf16", "512x512x1000, 118 classes, bf16"),
        Measured("488x404x269, 14 classes, float32", float(seconds[1]), 1, "GPU", gpu),
    ]


def of_run(folder: Path, cores: int) -> Measured:
    """The mean of a run's cases.csv."""
    with open(folder / "cases.csv", newline="", encoding="utf-8") as file:
        took = [float(row["total_s"]) for row in csv.DictReader(file) if row["status"] == "ok"]
    what = f"mean of {len(took)} cases"
    return Measured(what, sum(took) / len(took), cores, "core", str(folder / "cases.csv"))


def page(
    rows: Sequence[Measured],
    *,
    scans: int,
    published_cents: float,
    core_hour: Sequence[float],
    gpu_hour: Sequence[float],
    command: str,
) -> str:
    """The table as Markdown."""
    parts = [
        f"# {scans:,} CTs, computed",
        "",
        f"Computed by `{command}` from measured seconds per CT (last column).",
        "Nothing of this size was run. Reading from a slow store, retries, and machines that wait",
        "are not in it. Prices are arguments of the command and nobody's offer.",
        "",
        f"The Imaging Data Commons published {published_cents:g} cents per CT for 126,000 CTs.",
        "That is another network on other CTs: it tells what others pay, not who is cheaper.",
        "`same at` is the price of an hour of one core, or of one GPU, at which a CT would cost",
        "that here.",
        "",
    ]
    for unit, prices in (("core", core_hour), ("GPU", gpu_hour)):
        of_unit = [row for row in rows if row.unit == unit]
        if not of_unit:
            continue
        head = ["CT and network", "seconds", f"{unit}s", f"{unit} hours"]
        head += [f"at ${price:g} an hour: total, cents per CT" for price in prices]
        head += [f"{published_cents:g} cents: same at, $ an hour", "measured in"]
        lines = []
        for row in of_unit:
            line = [row.what, f"{row.seconds:g}", str(row.units), f"{row.hours(scans):,.0f}"]
            line += [
                f"${price * row.hours(scans):,.0f}, {row.cents(price):.3f}" for price in prices
            ]
            lines.append([*line, f"{row.price_of(published_cents):.3f}", f"`{row.source}`"])
        parts += [_row(head), _row(["---"] * len(head)), *map(_row, lines), ""]
    return "\n".join(parts)


def main(words: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--scans", type=int, default=SCANS)
    option("--core-hour", type=float, nargs="+", default=[], metavar="USD", help="of one core")
    option("--gpu-hour", type=float, nargs="+", default=[], metavar="USD", help="of one GPU")
    option("--run", type=Path, metavar="FOLDER", help="a run of yours, in place of the pages'")
    option("--cores", type=int, default=2, metavar="N", help="that this run had")
    option("--results", type=Path, default=RESULTS)
    options = parser.parse_args(words)
    rows = measured() if options.run is None else [of_run(options.run, options.cores)]
    prices = {"--core-hour": options.core_hour, "--gpu-hour": options.gpu_hour}
    given = [f"{name} {' '.join(f'{one:g}' for one in of)}" for name, of in prices.items() if of]
    text = page(
        rows,
        scans=options.scans,
        published_cents=PUBLISHED_CENTS,
        core_hour=options.core_hour,
        gpu_hour=options.gpu_hour,
        command=" ".join(["python benchmarks/cluster_costs.py", *given]),
    )
    if options.run is None:
        (options.results / "cluster_costs.md").write_text(text)
    print(text)
    return 0


def _of_page(path: Path, name: str, what: str) -> Measured:
    """A row of a page of benchmarks/inference.py: its seconds, warm."""
    text = path.read_text()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.splitlines()]
    head = next(row for row in rows if "seconds, warm" in row)
    line = next(row for row in rows if row[0] == name)
    cores = re.search(r"(\d+) cores", text)
    assert cores is not None, f"{path}: names no cores"
    # the head's first cell is empty and was stripped away
    seconds = float(line[head.index("seconds, warm") + 1 - (len(head) == len(line))])
    return Measured(what, seconds, int(cores[1]), "core", path.name)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
