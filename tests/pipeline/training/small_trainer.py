"""A trainer and validator on windows of a few voxels, without a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.handlers import LrScheduleHandler, ValidationHandler

from gridgate.pipeline.inference.sliding_window import SlidingWindow
from gridgate.pipeline.training.engine.average import averaged
from gridgate.pipeline.training.engine.label_dice import MEAN_DICE, LabelDice
from gridgate.pipeline.training.engine.trainer import SegmentationTrainer
from gridgate.pipeline.training.engine.validator import SegmentationValidator
from gridgate.pipeline.training.folder.saving import Checkpoints
from gridgate.pipeline.training.handlers import TrainingRecord
from gridgate.pipeline.training.losses import build_loss

LABELS = ["background", "a", "b"]


def network(channels: int = 3) -> torch.nn.Module:
    """Two convolutions with dropout between, so that each step draws."""
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1),
        torch.nn.Dropout(0.3),
        torch.nn.Conv3d(4, channels, 1),
    )


def windows(count: int, *, labels: int = 3, seed: int = 5) -> list[dict[str, torch.Tensor]]:
    """Batches of one window, whose label depends on the image."""
    draw = torch.Generator().manual_seed(seed)
    images = [torch.rand(1, 1, 8, 8, 8, generator=draw) for _ in range(count)]
    return [{"image": image, "label": (image * labels).floor()} for image in images]


def trainer(net: torch.nn.Module, **options: Any) -> SegmentationTrainer:
    """A trainer on the CPU in float32."""
    settings: dict[str, Any] = {
        "device": torch.device("cpu"),
        "max_epochs": 1,
        "train_data_loader": windows(4),
        "network": net,
        "optimizer": torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
        "loss_function": build_loss("dice_ce"),
        "amp": False,
    }
    return SegmentationTrainer(**{**settings, **options})


def validator(net: torch.nn.Module, **options: Any) -> SegmentationValidator:
    """A validator of two cases by windows of 8 voxels."""
    settings: dict[str, Any] = {
        "device": torch.device("cpu"),
        "val_data_loader": windows(2, seed=9),
        "network": net,
        "inferer": SlidingWindow((8, 8, 8), overlap=0.25, amp=False),
        "key_val_metric": {MEAN_DICE: LabelDice(LABELS)},
    }
    return SegmentationValidator(**{**settings, **options})


def training(
    folder: Path,
    *,
    epochs: int,
    schedule: Callable[[torch.optim.Optimizer], Any],
    resume: bool = False,
    interval: int = 1,
    plan: Any = None,
    keep: str = "best",
    keep_every: int = 0,
    **options: Any,
) -> SegmentationTrainer:
    """A whole training with all that a bundle attaches, on four windows per epoch."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scheduler = schedule(optimizer)
    average = averaged(net, decay=0.5)
    check = validator(average.module)
    handlers = [
        LrScheduleHandler(scheduler, print_lr=False, epoch_level=False),
        ValidationHandler(interval=interval, validator=check),
        TrainingRecord(
            folder, validator=check, optimizer=optimizer, labels=LABELS[1:], interval=interval
        ),
        Checkpoints(
            folder,
            validator=check,
            lr_scheduler=scheduler,
            resume=resume,
            plan=plan,
            keep=keep,
            keep_every=keep_every,
        ),
    ]
    return trainer(
        net,
        max_epochs=epochs,
        optimizer=optimizer,
        average=average,
        train_handlers=handlers,
        seed=7,
        **options,
    )
