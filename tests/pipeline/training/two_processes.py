"""Small trainings as one process or one of several runs them; a module, as each is a command.

python -m tests.pipeline.training.two_processes RANK WORLD_SIZE STORE OUTPUT
"""

import sys
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from torch import distributed as dist
from torch.utils.data import Dataset

from gridgate.pipeline.training.distributed import distributed_network
from gridgate.pipeline.training.engine.average import averaged, unwrapped
from gridgate.pipeline.training.losses import build_loss
from gridgate.pipeline.training.windows.crops import WindowSampler
from gridgate.pipeline.training.windows.loading import WindowLoader

from .small_trainer import trainer

EPOCHS, ITERATIONS = 2, 3
WEIGHTS = [0.2, 1.0, 3.0]
LOSSES: dict[str, dict[str, Any]] = {
    "dice of each window": {"name": "dice_ce"},
    "dice of the batch": {"name": "dice_ce_nnunet"},
    "squared dice of the batch": {"name": "sorensen_dice", "batch": True, "class_weights": WEIGHTS},
    "weights": {"name": "dice_ce", "class_weights": WEIGHTS},
    "smoothed": {"name": "dice_ce_nnunet", "class_weights": WEIGHTS, "label_smoothing": 0.1},
    "structure": {"name": "structure", "kernel": 3},
    "a formula": {"name": "focal_tversky", "class_weights": WEIGHTS},
    "regions": {"name": "dice_ce_nnunet", "regions": True},
    "heads": {"name": "dice_ce_nnunet", "deep_supervision_weights": [1.0, 0.5]},
    "one channel": {"name": "dice_ce_nnunet", "sigmoid": True},
}
PARTIAL = ("dice of each window", "dice of the batch", "weights", "regions", "heads")
CASES = [
    *((name, {}) for name in LOSSES),
    *((name, {"partial": True}) for name in PARTIAL),
    ("dice of the batch", {"steps": 2}),
    ("dice of the batch", {"together": False}),
]
"""A loss and options of `trained`."""


class Windows(Dataset[dict[str, torch.Tensor]]):
    """Windows by their running number, whose labels are more or less frequent in each."""

    def __init__(self, labels: int, *, partial: bool = False) -> None:
        self.labels, self.partial = labels, partial

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, key: int) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(key)
        image = torch.rand(1, 8, 8, 8, generator=draw)
        label = (image ** (1 + 3 * (key % 2)) * self.labels).floor()
        if not self.partial:
            return {"image": image, "label": label}
        # the processes' windows are annotated otherwise, some not at all, and some have voxels
        # that do not count
        annotated = [(True, True), (True, False), (False, True), (False, False)][(key // 2) % 4]
        ignores = key % 3 == 1
        if ignores:
            label[:, :3] = -1
        return {
            "image": image,
            "label": label,
            "annotated": torch.tensor([True, *annotated]),
            "ignores": torch.tensor(ignores),
        }


class Network(torch.nn.Module):
    """Two convolutions and an instance norm, and a second head, at half resolution, on demand."""

    def __init__(self, channels: int, *, heads: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.body = torch.nn.Sequential(
            torch.nn.Conv3d(1, 4, 3, padding=1, bias=False),
            torch.nn.InstanceNorm3d(4, affine=True),
            torch.nn.ReLU(),
        )
        self.heads = torch.nn.ModuleList(torch.nn.Conv3d(4, channels, 1) for _ in range(1 + heads))

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        maps = self.body(image)
        if len(self.heads) == 1:
            return self.heads[0](maps)
        return [self.heads[0](maps), self.heads[1](maps[:, :, ::2, ::2, ::2])]


def trained(
    name: str,
    *,
    rank: int,
    world_size: int,
    batch_size: int,
    partial: bool = False,
    steps: int = 1,
    together: bool = True,
) -> dict[str, Any]:
    """Weights, their average and the losses of a training by one of LOSSES.

    Args:
        together: False: each process has the loss of its own windows.
    """
    options = LOSSES[name]
    overlap, single = bool(options.get("regions")), bool(options.get("sigmoid"))
    net: Any = Network(1 if single else 2 if overlap else 3, heads=name == "heads")
    if world_size > 1:
        net = distributed_network(net)
    loss, losses = build_loss(**options), []
    windows = Windows(2 if single else 4 if overlap else 3, partial=partial)
    sampler = WindowSampler(ITERATIONS * batch_size * world_size, rank=rank, world_size=world_size)
    engine = trainer(
        net,
        max_epochs=EPOCHS,
        train_data_loader=WindowLoader(windows, sampler=sampler, batch_size=batch_size),
        optimizer=torch.optim.SGD(net.parameters(), lr=0.3, momentum=0.9),
        loss_function=loss,
        average=averaged(net, decay=0.5),
        max_gradient_norm=0.5,  # about the gradients', so that it counts
        accumulation_steps=steps,
    )
    if not together:
        loss.of_processes = False
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(float(engine.state.output["loss"]))
    )
    engine.run()
    return {
        "weights": unwrapped(net).state_dict(),
        "average": engine.average.module.state_dict(),
        "losses": torch.tensor(losses),
    }


def main(rank: str, world_size: str, store: str, output: str) -> None:
    torch.set_num_threads(1)
    place = {"rank": int(rank), "world_size": int(world_size)}
    dist.init_process_group("gloo", init_method=f"file://{store}", **place)
    found = [trained(name, **options, **place, batch_size=2) for name, options in CASES]
    torch.save(found, Path(output) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
