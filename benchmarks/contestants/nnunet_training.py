"""nnU-Net's own trainer for so many minutes, in an interpreter that has nnunetv2.

Run by training/beside_nnunet.py with a job file. Everything is nnU-Net's default (plans, network,
loss, augmentation, optimizer, validation with mirroring), but for the number of iterations: its
learning rate falls along that of its whole training, so steps are timed first, and the training has
as many as fit. It writes the masks of the fold's validation cases into the trainer's folder.
"""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

_EPOCHS = 20  # the poly schedule changes the learning rate after each
_VALIDATION = 0.5  # steps that its validation of one batch an epoch takes, about
_TIMED, _FEW = 24, 6  # steps, of which the second half counts: processes start in the first
_LONG = 120.0  # seconds after which no more steps are timed


def main() -> None:
    """Train, validate, and write {"iterations", "seconds", "validation_s", "masks", ...}."""
    job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    step = step_seconds(job)
    each = max(1, int(60 * job["minutes"] / step / _EPOCHS - _VALIDATION))
    trainer = new_trainer(job)
    trainer.num_epochs, trainer.num_iterations_per_epoch = _EPOCHS, each
    trainer.num_val_iterations_per_epoch = 1  # its running validation says nothing here
    began = time.perf_counter()
    trainer.run_training()
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    if job.get("cases"):
        limit_validation(trainer, job["cases"])
    trainer.perform_actual_validation(False)
    found = {
        "iterations": _EPOCHS * each,
        "seconds": seconds,
        "validation_s": time.perf_counter() - began,
        "masks": str(Path(trainer.output_folder) / "validation"),
        "patch": list(trainer.configuration_manager.patch_size),
        "batch": trainer.configuration_manager.batch_size,
        "parameters_m": sum(one.numel() for one in trainer.network.parameters()) / 1e6,
        "version": version("nnunetv2"),
        "threads": torch.get_num_threads(),
    }
    Path(job["result"]).write_text(json.dumps(found))


def limit_validation(trainer: Any, cases: int) -> None:
    """Have it segment the first ones of the fold's validation cases alone."""
    split = trainer.do_split

    def fewer() -> tuple[Any, Any]:
        train, validation = split()
        return train, sorted(validation)[:cases]

    trainer.do_split = fewer


def step_seconds(job: dict[str, Any]) -> float:
    """Of one training step with its windows: the median of some."""
    trainer = new_trainer(job)
    trainer.on_train_start()
    seconds: list[float] = []
    while len(seconds) < _TIMED and (len(seconds) < _FEW or sum(seconds) < _LONG):
        began = time.perf_counter()
        trainer.train_step(next(trainer.dataloader_train))
        seconds.append(time.perf_counter() - began)
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        if hasattr(loader, "_finish"):
            loader._finish()
    return median(seconds[len(seconds) // 2 :])


def new_trainer(job: dict[str, Any]) -> Any:
    """Its default trainer of a fold, on the CPU."""
    from nnunetv2.run.run_training import get_trainer_from_args

    return get_trainer_from_args(
        job["dataset"], "3d_fullres", job["fold"], job["trainer"], device=torch.device("cpu")
    )


if __name__ == "__main__":
    main()
