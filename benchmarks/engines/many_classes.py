r"""What many classes cost with a network like nnU-Net's, the way back to the scan's grid included.

    python benchmarks/engines/many_classes.py    # 14 and 118 classes, 32 and 16 features
    python benchmarks/engines/many_classes.py --shape 512 512 1000 --classes 118 \
        --features 16 --blended features --name many_classes_1000

MONAI's DynUNet with random weights, whose last layer is fitted to a phantom's six organs by least
squares, so that labels have clear borders; the other classes are never the best. Each row is a
process of its own: `gridgate`'s steps for one case, but for writing. "logits" are blended where
something comes after the last layer. Writes results/many_classes.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from materials import INTENSITY, OVERLAP, ROI_SIZE, SPACING, label_names  # noqa: E402
from measured_process import run_measured  # noqa: E402

BLENDED = ("logits", "features")
COLUMNS = ("features", "classes", "blended", "windows", "seconds", "network s", "besides s")
COLUMNS += ("peak GB", "time / first row's", "memory / first row's")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", type=int, nargs=3, default=[320, 264, 180])
    parser.add_argument("--spacing", type=float, nargs=3, default=[0.75, 0.75, 1.25])
    parser.add_argument("--classes", type=int, nargs="+", default=[14, 118])
    parser.add_argument("--features", type=int, nargs="+", default=[32, 16])
    parser.add_argument("--blended", nargs="+", choices=BLENDED, default=BLENDED)
    parser.add_argument("--amp", choices=["true", "false"], default="true")
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--name", default="many_classes", help="of the page")
    parser.add_argument("--work", type=Path, default=Path("many_classes"))
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    parser.add_argument("--job", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        job = json.loads(options.job)
        (prepare if job.get("prepare") else measure)(job)
        return 0
    options.work.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for features in options.features:
        for classes in options.classes:
            for plain in [name == "logits" for name in options.blended]:
                rows.append(row_of(options, features, classes, plain))
                write_page(options, rows)
    return 0


def row_of(options: argparse.Namespace, features: int, classes: int, plain: bool) -> dict[str, Any]:
    """One process, after another that has made its weights."""
    work = options.work.resolve()
    result = work / f"{features}_{classes}_{plain}.json"
    job = {"features": features, "classes": classes, "plain": plain, "result": str(result)}
    job |= {key: getattr(options, key) for key in ("amp", "engine")}
    job |= {"scan": str(work / "phantom.nii.gz"), "weights": str(work / f"{features}_{classes}.pt")}
    if not Path(job["scan"]).exists():
        words = ["--shape", *map(str, options.shape), "--spacing", *map(str, options.spacing)]
        command = [sys.executable, str(HERE.parent / "materials.py"), "scan", job["scan"], *words]
        subprocess.run(command, check=True)
    if not Path(job["weights"]).exists():
        prepare = [sys.executable, __file__, "--job", json.dumps({**job, "prepare": True})]
        subprocess.run(prepare, check=True)
    result.unlink(missing_ok=True)
    environment = {**os.environ}
    environment.setdefault("GOMP_SPINCOUNT", "20000")
    ran = run_measured(
        [sys.executable, __file__, "--job", json.dumps(job)],
        log=options.work / f"{result.stem}.log",
        environment=environment,
        memory_limit_gb=64.0,
        time_limit_s=7200.0,
    )
    row = {**job, "peak_gb": ran.peak_gb, "failure": ran.failure}
    row |= json.loads(result.read_text()) if result.exists() else {}
    print(row, flush=True)
    return row


def measure(job: dict[str, Any]) -> None:
    """The child: one case from its file to its label map."""
    from gridgate.pipeline.process_settings import set_up_process

    set_up_process()  # as the command does, which must come before PyTorch
    import time

    import torch

    from gridgate.pipeline.batch.case import Case, CaseInProgress
    from gridgate.pipeline.batch.processor import CaseProcessor, read_item
    from gridgate.pipeline.inference.sliding_window import SlidingWindow
    from gridgate.pipeline.models.machine import machine_facts
    from gridgate.transforms import postprocessing, preprocessing

    network = network_of(job)
    network.load_state_dict(torch.load(job["weights"], weights_only=True))
    names = label_names(job["classes"])
    processor = CaseProcessor(
        transform=preprocessing(spacing=SPACING, intensity=INTENSITY),
        network=with_more(network) if job["plain"] else network,
        inferer=SlidingWindow(
            ROI_SIZE, overlap=OVERLAP, amp=job["amp"] == "true", engine=job["engine"]
        ),
        postprocessing=postprocessing(labels=names),
        labels=names,
        output_dir=Path(job["result"]).parent,
    )
    processor.prepare()
    began = time.perf_counter()
    work = CaseInProgress(Case("phantom", (), {"image": job["scan"], "id": "phantom"}))
    work.data = read_item(work.case, processor.transform, work.seconds)
    processor.segment(work)
    result = processor.finish(work)
    seconds = time.perf_counter() - began
    facts = work.forward
    if work.error is not None or facts is None:
        raise SystemExit(work.error)
    found = {
        "seconds": seconds,
        "network_s": facts.network_seconds,
        "windows": facts.windows,
        "ml": {volume.name: volume.ml for volume in result.volumes if volume.ml},
        "machine": machine_facts(),
    }
    Path(job["result"]).write_text(json.dumps(found))


def network_of(job: dict[str, Any]) -> Any:
    """DynUNet with nnU-Net's five levels."""
    import torch
    from monai.networks.nets import DynUNet

    torch.manual_seed(0)
    filters = [min(320, job["features"] * 2**level) for level in range(5)]
    return DynUNet(
        3, 1, job["classes"], [3] * 5, [1, 2, 2, 2, 2], [2] * 4, filters=filters
    ).eval()  # fmt: skip


def with_more(network: Any) -> Any:
    """The network with something after its last layer, which changes nothing."""
    import torch

    class More(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, windows: Any) -> Any:
            return self.network(windows)[:]

    return More().eval()


def prepare(job: dict[str, Any]) -> None:
    """Write weights: random, but for a last layer that finds the phantom's organs by them."""
    import torch
    from materials import truth_of

    from gridgate.transforms import preprocessing

    network = network_of(job)
    layer = network.output_block.conv.conv
    read = preprocessing(keys=("image", "label"), spacing=SPACING, intensity=INTENSITY)
    case = read({"image": job["scan"], "label": str(truth_of(Path(job["scan"])))})
    image, labels = case["image"].as_tensor(), case["label"].as_tensor()[0].long()
    middle = tuple(
        slice((size - roi) // 2, (size - roi) // 2 + roi)
        for size, roi in zip(labels.shape, ROI_SIZE, strict=True)
    )
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    with torch.no_grad():
        network(image[(slice(None), *middle)][None])
    hook.remove()
    features = seen[0][0].flatten(1).T.double()
    features = torch.cat([features, torch.ones(len(features), 1).double()], 1)
    wanted = torch.nn.functional.one_hot(labels[middle].flatten(), 7).double() * 20 - 10
    regular = 1e-3 * torch.eye(features.shape[1]).double()
    solved = torch.linalg.solve(features.T @ features + regular, features.T @ wanted)
    with torch.no_grad():
        layer.weight.normal_(0, 0.01)
        layer.bias.fill_(-30.0)  # the classes that are never the best
        layer.weight[:7, :, 0, 0, 0] = solved[:-1].T.float()
        layer.bias[:7] = solved[-1].float()
    torch.save(network.state_dict(), job["weights"])


def write_page(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    """The table, and how it was made."""
    words = ["python", "benchmarks/engines/many_classes.py", *sys.argv[1:]]
    for name in ("--work", "--results"):  # paths of one machine
        if name in words:
            words[words.index(name) + 1] = name[2:].upper()
    lines = [
        f"# Many classes: a network as nnU-Net's, {' x '.join(map(str, options.shape))} at "
        f"{' x '.join(map(str, options.spacing))} mm",
        "",
        f"`{shlex.join(words)}`",
        "",
        *(f"- {name}: {value}" for name, value in rows[0].get("machine", [])),
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    for row in rows:
        if "seconds" not in row:
            lines.append(f"| {row['features']} | {row['classes']} | {row['failure']} |")
            continue
        first = next(one for one in rows if one["features"] == row["features"])
        time_, memory = (
            f"{row[key] / first[key]:.2f}" if key in first else "-"
            for key in ("seconds", "peak_gb")
        )
        blended = "logits" if row["plain"] else "features where they are fewer"
        lines.append(
            f"| {row['features']} | {row['classes']} | {blended} | {row['windows']} | "
            f"{row['seconds']:.1f} | {row['network_s']:.1f} | "
            f"{row['seconds'] - row['network_s']:.1f} | {row['peak_gb']:.2f} | {time_} | {memory} |"
        )
    lines += [
        "",
        "Seconds from the scan's file to the label map in its grid, in memory. Peak memory is that "
        "of the whole process.",
        "",
    ]
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"{options.name}.md").write_text("\n".join(lines))


if __name__ == "__main__":
    raise SystemExit(main())
