"""Workflows of a shipped bundle, made but not run, and the errors of making them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigWorkflow

from gridgate.data.errors import GridgateError, user_error
from gridgate.pipeline.plans.planning import FOLDER
from gridgate.pipeline.workflow import BundleRun

CONFIGS = FOLDER / "phantom_attention_unet" / "configs"
TRAIN, INFERENCE, EVALUATE = "train.yaml", "inference.yaml", "evaluate.yaml"


def initialize(config: str | list[str], **options: Any) -> ConfigWorkflow:
    workflow = ConfigWorkflow(config_file=config, logging_file=False, workflow_type=None, **options)
    workflow.initialize()
    return workflow


def failure(call: Callable[[], Any]) -> GridgateError:
    """The error of ours behind whatever the call raises."""
    with pytest.raises(Exception) as caught:
        call()
    found = user_error(caught.value)
    assert found is not None, caught.value
    return found


def started(config: str, folder: Path = CONFIGS.parent, **words: str) -> BundleRun:
    """The workflow of the `gridgate` command, with words of its command line."""
    run_id = {TRAIN: "training", INFERENCE: "inferring", EVALUATE: "evaluating"}[config]
    workflow = BundleRun(folder, config, run_id, words)
    workflow.initialize()
    return workflow
