"""What runs: losses, metrics, sliding windows and the three workflows, wired together by the bundles' configs."""

from .case_table import CaseTable
from .cases import check_dataset, check_folder, dataset_cases, folder_cases
from .checkpoints import Checkpoints, load_weights
from .distributed import (
    begin_distributed,
    distributed,
    distributed_device,
    distributed_rank,
    distributed_world_size,
    end_distributed,
)
from .evaluating import evaluate
from .inferring import CaseDataset, CaseEvaluator, CasesFailedError, case_loader
from .label_dice import LabelDice
from .losses import build_loss
from .overrides import begin
from .precision import choose_device
from .sliding_window import SlidingWindow
from .training import SegmentationTrainer, averaged
from .training_handlers import EarlyStop, ProgressBar, TrainingRecord
from .weights import to_device
from .windows import CachedCases, WindowDataset, WindowSampler

__all__ = [
    "CachedCases",
    "CaseDataset",
    "CaseEvaluator",
    "CaseTable",
    "CasesFailedError",
    "Checkpoints",
    "EarlyStop",
    "LabelDice",
    "ProgressBar",
    "SegmentationTrainer",
    "SlidingWindow",
    "TrainingRecord",
    "WindowDataset",
    "WindowSampler",
    "averaged",
    "begin",
    "begin_distributed",
    "build_loss",
    "case_loader",
    "check_dataset",
    "check_folder",
    "choose_device",
    "dataset_cases",
    "distributed",
    "distributed_device",
    "distributed_rank",
    "distributed_world_size",
    "end_distributed",
    "evaluate",
    "folder_cases",
    "load_weights",
    "to_device",
]
