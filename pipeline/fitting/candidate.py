"""One network of a fit: its planned bundle, its folders, and how long its trainings are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import yaml

from ...data.errors import ConfigError
from ..planning.bundle import FILE, measured_voxels, read_decisions
from ..planning.decisions.decision import GIVEN, Decision
from ..planning.decisions.duration import decide_duration, decide_epochs, decide_learning
from ..planning.measures.pace import FOLDS, Pace
from ..planning.network_plan import asked_by
from ..plans.bundle_folders import bundle_path
from ..plans.resolved import bundle_plan
from ..training.folder.training_table import epochs_made

_LOOKS = 6  # validations of a training, of a few cases each
_LOOKING = 0.05  # of a training's time, at most
_LEARNING = ("learning_rate", "warmup_iterations", "average_decay")


@dataclass(frozen=True)
class Candidate:
    """A network with a planned bundle.

    Args:
        name: of the network.
        folder: where its bundle and its folds are.
        cases: of the dataset.
        folds: of the cross-validation.
    """

    name: str
    folder: Path
    cases: int
    folds: int

    @property
    def bundle(self) -> Path:
        """The planned bundle."""
        return self.folder / "bundle"

    def training(self, fold: int) -> Path:
        """The output folder of a fold's training."""
        return self.folder / f"fold_{fold}"

    def evaluation(self, fold: int) -> Path:
        """The output folder of a fold's evaluation."""
        return self.folder / f"fold_{fold}_cases"

    def pace(self) -> Pace:
        """The pace that the plan measured; see read_pace."""
        return read_pace(self.bundle)

    def window(self) -> list[int]:
        """Voxels of the window that the plan decided."""
        found = {one.name: one.value for one in read_decisions(self.bundle)}
        return list(found["roi_size"])

    def length_for(self, pace: Pace, seconds: float) -> dict[str, Any]:
        """Settings of a training that takes so long, with a look at a few cases now and then.

        Raises:
            ConfigError: the time is too short for a training.
        """
        looks = self._looked_at(pace, _LOOKING * seconds)
        short = replace(pace, validation=looks * self._looking(pace))
        found = _values(decide_duration(short, seconds, *self._asked()))
        return {**self._not_held(found), "validation_cases": looks}

    def length_of(self, pace: Pace, iterations: int) -> dict[str, Any]:
        """Settings of a training of so many iterations, rounded down to whole epochs."""
        looks = self._looked_at(pace, _LOOKING * iterations * pace.iteration)
        epochs = decide_epochs(iterations, "")
        count = epochs[0].value * epochs[1].value
        settings = _values([*epochs, *decide_learning(count, *self._asked())])
        interval = max(1, settings["epochs"] // _LOOKS)
        looking = {"val_interval": interval, "validation_cases": looks}
        return {**self._not_held(settings), **looking}

    def seconds(self, pace: Pace, settings: dict[str, Any]) -> float:
        """How long a training with these settings takes."""
        validations = settings["epochs"] // settings["val_interval"]
        return (
            pace.reading
            + settings["epochs"] * (pace.epoch + settings["iterations_per_epoch"] * pace.iteration)
            + validations * settings["validation_cases"] * self._looking(pace)
        )

    def measured_voxels(self) -> float:
        """Voxels of all cases, each counted for each label."""
        return measured_voxels(self.bundle)

    def made(self, fold: int, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings of a training that has ended, with the epochs that it really made."""
        return settings | {"epochs": epochs_made(self.training(fold), settings)}

    def holds(self, name: str, value: Any) -> bool:
        """Whether a setting's value was given to the plan, or is edited in its bundle since."""
        decided = {one.name: one for one in read_decisions(self.bundle)}.get(name)
        return decided is not None and (decided.reason == GIVEN or decided.value != value)

    def _not_held(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Without how it learns, where that is not for the fit to say: see `holds`."""
        own = _config_numbers(self.bundle)
        return {
            name: value
            for name, value in settings.items()
            if name not in _LEARNING or not self.holds(name, own.get(name))
        }

    def _looking(self, pace: Pace) -> float:
        """Seconds to validate one case; a pace is that of a fold of FOLDS."""
        return pace.validation / ceil(self.cases / FOLDS)

    def _looked_at(self, pace: Pace, seconds: float) -> int:
        """How many cases can be validated _LOOKS times within so many seconds, at least one."""
        most = max(1, self.cases // self.folds)
        return int(min(max(1.0, seconds / _LOOKS / max(self._looking(pace), 1e-6)), most))

    def _asked(self) -> tuple[dict[str, Any], str]:
        size = next(one.value for one in read_decisions(self.bundle) if one.name == "size")
        return asked_by(self.name, size), size


def read_pace(bundle: Path) -> Pace:
    """The pace that a bundle's plan measured.

    Raises:
        ConfigError: plan.json is not there, or has none.
    """
    path = bundle / FILE
    try:
        return Pace(**json.loads(path.read_text(encoding="utf-8"))["pace"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: tells no pace ({error}); plan anew on the machine that trains: gridgate plan "
            "DATASET --to BUNDLE"
        ) from error


def planned_networks(bundles: Sequence[Path]) -> dict[str, Path]:
    """Name of the network -> bundle, of bundles that `gridgate plan` wrote.

    Raises:
        ConfigError: one is no bundle, or has no pace; two are of one network.
    """
    found: dict[str, Path] = {}
    for bundle in map(bundle_path, bundles):
        read_pace(bundle)
        name = str(bundle_plan(bundle)["network"]["name"])
        if name in found:
            raise ConfigError(
                f"{found[name]} and {bundle} are both plans of {name}; fit each by itself"
            )
        found[name] = bundle
    return found


def _config_numbers(bundle: Path) -> dict[str, Any]:
    """What stands at the top of a bundle's train.yaml."""
    path = bundle / "configs" / "train.yaml"
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read ({error})") from error


def _values(decisions: list[Decision]) -> dict[str, Any]:
    return {one.name: one.value for one in decisions}
