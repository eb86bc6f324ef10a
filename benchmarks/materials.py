"""What all contestants are given: the plan, the scan, and a bundle for ours.

As a program it writes a phantom CT or a bundle, so that the memory this takes is not inherited by
what is measured.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import Any

SPACING = (1.5, 1.5, 2.0)  # mm, of RAS axes
ROI_SIZE = (96, 96, 96)
OVERLAP = 0.5
WINDOW = (-160.0, 240.0)  # HU -> [0, 1]
INTENSITY = {"mode": "window", "low": WINDOW[0], "high": WINDOW[1]}
# 4.8 M parameters; on two cores of an AMD EPYC 9R14 (Zen 4) a window took 0.34 s in float32
NETWORK: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "channels": [16, 32, 64, 128, 256],
    "strides": [2, 2, 2, 2],
    "num_res_units": 2,
    "norm": "batch",
}
SCAN_SEED = 7


def label_names(classes: int) -> list[str]:
    """A name per channel, the background first: the phantom's organs, then absent labels."""
    from gridgate.data.phantom.phantom import PHANTOM_LABELS

    names = list(PHANTOM_LABELS)[:classes]
    return names + [f"never_{number}" for number in range(len(names), classes)]


def write_bundle(folder: Path, *, classes: int, weights: Path) -> Path:
    """The folder of a bundle as gridgate.pipeline.plans makes them, but with MONAI's UNet."""
    from gridgate.pipeline.plans.planning import FOLDER, read_plan
    from gridgate.pipeline.plans.writing import bundle_files

    phantoms, labels = (
        read_plan(FOLDER / "plans" / "phantom_attention_unet.yaml"),
        label_names(classes),
    )
    plan = phantoms.replace(
        name=folder.name,
        title="Benchmark",
        labels=labels,
        expected={name: what for name, what in phantoms.expected.items() if name in labels},
        network={"name": "unet"},  # a stand-in, see below
        orientation="RAS",
        spacing=list(SPACING),
        roi_size=list(ROI_SIZE),
        intensity=INTENSITY,
        overlap=OVERLAP,
        keep_largest=False,
    )
    options = "".join(
        f"\n  {name}: {value}" for name, value in {**NETWORK, "out_channels": classes}.items()
    )
    network = f"network_def:\n  _target_: monai.networks.nets.UNet{options}"
    for name, text in bundle_files(plan).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "configs/inference.yaml":
            block = r"^network_def:\n(?:  .*\n)+"
            text, count = re.subn(block, f"{network}\n", text, flags=re.MULTILINE)
            assert count == 1, "the template's network_def is no longer a component"
        path.write_text(text)
    models = folder / "models"
    models.mkdir(exist_ok=True)
    link = models / "model.pt"
    link.unlink(missing_ok=True)
    link.symlink_to(weights.resolve())
    return folder


def write_phantom_scan(
    path: Path,
    *,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    seed: int = SCAN_SEED,
) -> None:
    """Write a phantom CT and its truth beside it, <name>.labels.nii.gz.

    LPS, int16, gzip level 6, as converters write.
    """
    import nibabel as nib
    import numpy as np

    from gridgate.data.phantom.phantom import make_phantom

    phantom = make_phantom(seed, shape=shape, spacing=spacing, orientation="LPS", oblique_degrees=0)
    nib.openers.Opener.default_compresslevel = 6
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, array in (
        (truth_of(path), phantom.labels),
        (path, np.rint(phantom.image).astype(np.int16)),
    ):
        image = nib.Nifti1Image(array, phantom.grid.affine)
        image.set_qform(phantom.grid.affine, code=1)
        image.set_sform(phantom.grid.affine, code=1)
        beside = target.with_name("part_" + target.name)
        nib.save(image, beside)
        os.replace(beside, target)


def truth_of(scan: Path) -> Path:
    """Where a phantom scan's labels are."""
    return scan.with_name(scan.name.replace(".nii.gz", ".labels.nii.gz"))


def main() -> None:
    """Write one phantom CT, or one bundle."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    scan = kinds.add_parser("scan")
    scan.add_argument("path", type=Path)
    scan.add_argument("--shape", type=int, nargs=3, required=True)
    scan.add_argument("--spacing", type=float, nargs=3, required=True)
    bundle = kinds.add_parser("bundle")
    bundle.add_argument("path", type=Path)
    bundle.add_argument("--classes", type=int, required=True)
    bundle.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    if options.kind == "scan":
        write_phantom_scan(options.path, shape=tuple(options.shape), spacing=tuple(options.spacing))
    else:
        write_bundle(options.path, classes=options.classes, weights=options.weights)


if __name__ == "__main__":
    main()
