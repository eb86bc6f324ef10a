"""What a training's numbers may be."""

from typing import Any

import pytest

from gridgate.data.errors import ConfigError
from gridgate.pipeline.plans.training_numbers import check_training

GOOD = {
    "epochs": 1,
    "batch_size": 2,
    "num_workers": 0,
    "patience": 0,
    "learning_rate": 1e-3,
    "weight_decay": 0,
}


def test_numbers_in_range_and_other_settings_pass() -> None:
    check_training(GOOD | {"loss": "dice_ce", "augmentation": {}})
    check_training({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("epochs", value) for value in (0, -1, "many", 1.5, None, True)),
        *(
            ("iterations_per_epoch", 0),
            ("batch_size", 0),
            ("accumulation_steps", 0),
            ("val_interval", 0),
            ("num_workers", -1),
            ("patience", -1),
        ),
        *(("learning_rate", value) for value in (-1e-3, "fast", float("nan"), float("inf"), None)),
    ],
)
def test_what_cannot_be_is_named(name: str, value: Any) -> None:
    with pytest.raises(
        ConfigError, match=f"--{name} {value}: a (whole )?number of [01] or more is wanted"
    ):
        check_training(GOOD | {name: value})
