"""The model zoo's chain: MONAI's transforms around SlidingWindowInferer.

Run by inference.py with a job file; writes <job's output>/mask.nii.gz.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from monai.data import decollate_batch, list_data_collate
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    EnsureTyped,
    Invertd,
    LoadImaged,
    Orientationd,
    SaveImaged,
    ScaleIntensityRanged,
    Spacingd,
)
from stopwatch import ForwardClock, Stages, gpu_peak_gb, now, write_result


def main() -> None:
    """One scan, from its path to the mask on disk, each transform on the clock."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    device = torch.device(job["device"])
    clock, stages = ForwardClock(), Stages()
    UNet.forward = clock.wrap(UNet.forward)  # type: ignore[method-assign]
    network = UNet(**job["network"]).to(device).eval()
    network.load_state_dict(torch.load(job["weights"], weights_only=True))
    before, after = chain(job)
    inferer = SlidingWindowInferer(
        roi_size=job["roi_size"],
        sw_batch_size=job["batch"],
        overlap=job["overlap"],
        mode="gaussian",
    )

    def forward(image: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, enabled=bool(job["amp"])), torch.no_grad():
            return inferer(image, network)

    warm_up = now()  # one batch of windows: threads, kernels and caches are there
    forward(torch.zeros(1, 1, *job["roi_size"], device=device))
    warm_up = now() - warm_up
    clock.reset()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()

    started = now()
    case: Any = {"image": job["scan"]}
    for transform in before.transforms:
        with stages.stage(type(transform).__name__):
            case = transform(case)
    with stages.stage("SlidingWindowInferer"):
        batch = list_data_collate([case])
        batch["pred"] = forward(batch["image"].to(device))
    case = decollate_batch(batch)[0]
    del batch
    for transform in after:
        with stages.stage(type(transform).__name__):
            case = transform(case)
    seconds = now() - started
    written = next(Path(job["output"]).glob("*_pred.nii.gz"))
    written.rename(Path(job["output"]) / "mask.nii.gz")
    result = {"warm_s": seconds, "warm_up_s": warm_up, "stages": stages.seconds}
    result |= {"forward_s": clock.seconds, "windows": clock.windows}
    write_result(job["result"], result | {"gpu_peak_gb": gpu_peak_gb()})


def chain(job: dict[str, Any]) -> tuple[Compose, list[Any]]:
    """The transforms before and behind the sliding window, as the zoo's CT bundles have them."""
    low, high = job["window"]
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
            Spacingd("image", pixdim=job["spacing"], mode="bilinear"),
            ScaleIntensityRanged("image", a_min=low, a_max=high, b_min=0.0, b_max=1.0, clip=True),
            EnsureTyped("image"),
        ]
    )
    after: list[Any] = [
        Invertd("pred", transform=before, orig_keys="image", nearest_interp=False, to_tensor=True),
        AsDiscreted("pred", argmax=True),
        SaveImaged(
            "pred",
            output_dir=job["output"],
            output_postfix="pred",
            separate_folder=False,
            print_log=False,
        ),
    ]
    if job["softmax"]:
        after.insert(0, Activationsd("pred", softmax=True))
    return before, after


if __name__ == "__main__":
    main()
