"""What runs: losses, metrics, sliding windows and the three workflows, wired together by the bundles' configs.

The names that configs use are found when they are first asked for, so that the command line starts
at once.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "batch.results": ("CaseTable",),
    "batch.selection": ("check_folder", "folder_inputs"),
    ".data.datasets.check": ("check_dataset",),
    ".data.datasets.label_map": ("label_map",),
    ".data.datasets.parts": ("dataset_cases",),
    "training.saving": ("Checkpoints",),
    "models.checkpoints": ("load_weights",),
    "training.distributed": (
        "begin_distributed",
        "distributed_device",
        "distributed_network",
        "distributed_rank",
        "distributed_world_size",
        "end_distributed",
    ),
    "models.ensemble": ("Ensemble",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.unseen": ("check_unseen_cases",),
    "batch.evaluator": (
        "CaseDataset",
        "CaseEvaluator",
        "CasesFailedError",
        "case_loader",
    ),
    "training.label_dice": ("LabelDice",),
    "training.losses": ("build_loss",),
    "training.run_folder": ("open_run_folder", "run_in_folder"),
    "training.seeding": ("seed_draws",),
    "training.validator": ("SegmentationValidator",),
    "workflow": ("begin", "run_settings"),
    "models.devices": (
        "choose_device",
        "choose_devices",
    ),
    "inference.sliding_window": ("SlidingWindow",),
    "training.trainer": (
        "SegmentationTrainer",
        "averaged",
    ),
    "training.handlers": (
        "EarlyStop",
        "ProgressBar",
        "TrainingRecord",
    ),
    "plans.training_numbers": ("check_training",),
    "models.build": ("build_network", "head_weights", "to_device"),
    "training.windows.cases": ("CachedCases",),
    "training.windows.crops": ("WindowDataset", "WindowSampler"),
    "training.windows.loading": ("WindowLoader",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
