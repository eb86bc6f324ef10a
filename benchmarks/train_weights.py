"""Weights for the benchmark: MONAI's UNet, trained for some minutes on phantoms.

Trained once with the phantom's seven labels; more outputs are added that never win, so that masks
are organs and the same ones whatever the number of classes. Run as a program, as inference.py does,
so that its memory goes back.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from gridgate.pipeline.process_settings import set_up_process

set_up_process()

import torch  # noqa: E402
from materials import INTENSITY, NETWORK, ROI_SIZE, SCAN_SEED, SPACING  # noqa: E402
from monai.data import MetaTensor  # noqa: E402
from monai.networks.nets import UNet  # noqa: E402
from monai.transforms import Transform  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402

from gridgate.data.phantom.phantom import PHANTOM_LABELS, make_phantom  # noqa: E402
from gridgate.pipeline.models.devices import autocast, autocast_dtype, channels_last  # noqa: E402
from gridgate.pipeline.training.windows.crops import WindowDataset, WindowSampler  # noqa: E402
from gridgate.transforms import ClassIndicesd, augmentation  # noqa: E402
from gridgate.transforms.intensity import intensity_transforms  # noqa: E402

# The scan's own patient is among them: what is wanted in some minutes is a network that is sure of
# its organs there, as one trained for days is of a patient's. How well it does elsewhere is not
# measured.
SEEDS = (SCAN_SEED, *range(200, 205))
TRAINING_WINDOW = (96, 96, 80)
SHAPE = (244, 202, 168)  # of SPACING: the field of view of an abdominal CT
NEVER = -20.0  # bias of an output that is to win nowhere: the others' logits stay far above it


class Phantoms(Transform):
    """Preprocessing of an item {"seed"}: a phantom on the network's grid."""

    def __init__(self) -> None:
        self.intensity = intensity_transforms(INTENSITY, keys="image")
        self.indices = ClassIndicesd("label", label_count=len(PHANTOM_LABELS))

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        """{"image": (1, x, y, z) float32, "label": (1, x, y, z)} and where each class is."""
        phantom = make_phantom(
            item["seed"], shape=SHAPE, spacing=SPACING, orientation="RAS", oblique_degrees=0
        )
        case: dict[str, Any] = {
            "image": MetaTensor(
                torch.from_numpy(phantom.image)[None], affine=torch.from_numpy(phantom.grid.affine)
            ),
            "label": torch.from_numpy(phantom.labels)[None],
        }
        for transform in (*self.intensity, self.indices):
            case = transform(case)
        return case


def train(iterations: int, *, batch_size: int = 2, rate: float = 5e-3) -> dict[str, torch.Tensor]:
    """State of a UNet with an output per label, trained on the CPU or the first GPU."""
    torch.manual_seed(0)
    _keep_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = UNet(**{**NETWORK, "out_channels": len(PHANTOM_LABELS)}).to(
        device, memory_format=torch.channels_last_3d
    )
    windows = WindowDataset(
        [{"seed": seed} for seed in SEEDS],
        transform=Phantoms(),
        # nothing but windows: what is learned in some minutes is these phantoms, and that is enough
        # here
        augmentation=augmentation(
            roi_size=TRAINING_WINDOW,
            label_count=len(PHANTOM_LABELS),
            foreground=0.8,
            mirror_axes=(),
            rotation_probability=0,
            scale_probability=0,
            intensity=False,
        ),
    )
    windows.load()
    loader = DataLoader(
        windows,
        batch_size=batch_size,
        sampler=WindowSampler(iterations * batch_size),
        num_workers=1,
        prefetch_factor=3,
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=iterations, pct_start=0.1
    )
    dtype, started = autocast_dtype(device), time.perf_counter()
    for number, batch in enumerate(loader, start=1):
        with autocast(device, dtype):
            logits = network(channels_last(batch["image"].to(device)))
        loss = _loss(logits.float(), batch["label"][:, 0].long().to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if number % 20 == 0:
            seconds = time.perf_counter() - started
            print(
                f"training: {number}/{iterations}, loss {loss.item():.3f}, {seconds:.0f} s",
                file=sys.stderr,
            )
    return {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }


def _keep_memory() -> None:
    """Have glibc keep what is freed: giving pages back and fetching new ones takes long."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(-4, 0)  # M_MMAP_MAX: no mapping of its own for a large block
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD


def _loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, and soft Dice over the batch of the organs that are in it.

    Absent organs would drown the rest.
    """
    entropy = functional.cross_entropy(logits, labels)
    truth = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1)[:, 1:]
    found = logits.softmax(1)[:, 1:]
    axes = (0, 2, 3, 4)
    size = truth.sum(axes)
    dice = 2 * (found * truth).sum(axes) / (found.sum(axes) + size).clamp(min=1)
    return entropy + (1 - dice)[size > 0].mean().nan_to_num()


def widened(state: dict[str, torch.Tensor], classes: int) -> dict[str, torch.Tensor]:
    """The same network with `classes` outputs: the new ones' logits are NEVER, everywhere."""
    wide = UNet(**{**NETWORK, "out_channels": classes}).state_dict()
    last = list(wide)[-1]  # the bias of the convolution that ends the network
    for name, tensor in wide.items():
        if tensor.ndim:
            before = state[name]
            tensor.fill_(NEVER if name == last else 0)
            tensor[tuple(slice(size) for size in before.shape)] = before
        else:
            tensor.copy_(state[name])
    return wide


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write a file of plain tensors, complete or not at all."""
    beside = path.with_name(path.name + ".part")
    torch.save(state, beside)
    os.replace(beside, path)


def main() -> None:
    """Write weights, and TorchScript of the network, into a folder; what is there is kept.

    The TorchScript is for nnU-Net's interpreter.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, required=True)
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--random-weights", action="store_true")
    parser.add_argument("--script", action="store_true", help="TorchScript too")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    kind = "random" if options.random_weights else f"trained_{options.iterations}"
    target = options.folder / f"{kind}_{options.classes}.pt"
    if not target.exists():
        torch.manual_seed(0)
        if options.random_weights:
            state = UNet(**{**NETWORK, "out_channels": options.classes}).state_dict()
        else:
            trained = options.folder / f"{kind}.pt"
            if not trained.exists():
                save(train(options.iterations), trained)
            state = widened(torch.load(trained, weights_only=True), options.classes)
        save(state, target)
    script = target.with_suffix(".ts")
    if options.script and not script.exists():
        network = UNet(**{**NETWORK, "out_channels": options.classes}).eval()
        network.load_state_dict(torch.load(target, weights_only=True))
        beside = script.with_name(script.name + ".part")
        with torch.no_grad():
            torch.jit.trace(network, torch.zeros(1, 1, *ROI_SIZE)).save(str(beside))
        os.replace(beside, script)
    print(target)


if __name__ == "__main__":
    main()
