"""Agreement of a GPU's masks with the CPU's, after benchmarks/inference.py has run on the GPU.

    python benchmarks/cuda/masks.py OUT -- OPTIONS OF inference.py

Runs inference.py on the CPU with the same scan and weights, and compares its float32 mask with each
of OUT/inference.json.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

from agreement import compare  # noqa: E402


def main() -> None:
    """Write OUT/agreement.json: a row per mask of the GPU."""
    out = Path(sys.argv[1])
    kept = out / "masks"
    kept.mkdir(exist_ok=True)
    names = {}
    for row in json.loads((out / "inference.json").read_text())["rows"]:
        if row.get("mask"):  # the run on the CPU writes to the same places
            names[row["name"]] = kept / f"{len(names)}.nii.gz"
            if not names[row["name"]].exists():
                shutil.copyfile(row["mask"], names[row["name"]])
    command = [sys.executable, str(HERE / "inference.py"), "--work", str(out / "work")]
    subprocess.run([*command, "--results", str(out), *sys.argv[3:]], check=True)
    (cpu,) = json.loads((out / "inference_cpu.json").read_text())["rows"]
    truth = _labels(cpu["mask"])
    rows = [{"mask": name, **compare(_labels(path), truth)} for name, path in names.items()]
    (out / "agreement.json").write_text(json.dumps(rows, indent=1) + "\n")


def _labels(path: str | Path) -> np.ndarray:
    return np.asarray(nib.load(path).dataobj).astype(np.int64)


if __name__ == "__main__":
    main()
