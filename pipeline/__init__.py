"""What runs: losses, metrics, sliding windows and the three workflows, wired together by the bundles' configs.

The names that configs use are found when they are first asked for, so that the command line starts at once.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "case_table": ("CaseTable",),
    "cases": (
        "check_dataset",
        "check_folder",
        "dataset_cases",
        "folder_inputs",
        "label_map",
    ),
    "checkpoints": (
        "Checkpoints",
        "load_weights",
    ),
    "distributed": (
        "begin_distributed",
        "distributed_device",
        "distributed_network",
        "distributed_rank",
        "distributed_world_size",
        "end_distributed",
    ),
    "ensemble": ("Ensemble",),
    "evaluating": ("evaluate",),
    "inferring": (
        "CaseDataset",
        "CaseEvaluator",
        "CasesFailedError",
        "case_loader",
    ),
    "label_dice": ("LabelDice",),
    "losses": ("build_loss",),
    "overrides": ("begin",),
    "precision": (
        "choose_device",
        "choose_devices",
    ),
    "sliding_window": ("SlidingWindow",),
    "training": (
        "SegmentationTrainer",
        "averaged",
    ),
    "training_handlers": (
        "EarlyStop",
        "ProgressBar",
        "TrainingRecord",
    ),
    "training_numbers": ("check_training",),
    "weights": ("build_network", "head_weights", "to_device"),
    "windows": (
        "CachedCases",
        "WindowDataset",
        "WindowSampler",
    ),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
