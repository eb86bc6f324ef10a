"""What a fit is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError
from ..planning.decisions.network import DEFAULT
from ..plans.plan_settings import check_settings

FEWEST_FOLDS = 2
RUN_SETTINGS = ("amp", "cache_dir", "num_workers")
"""Settings of trainings, and `amp` of evaluations too, that no plan has."""
_COUNT = ("amp",)  # of them those that change what is trained
_LENGTHS = (
    "training::epochs",
    "training::iterations_per_epoch",
    "training::val_interval",
)


@dataclass(frozen=True)
class FitRequest:
    """A fit as the command line asks for it.

    Args:
        dataset: folder in the Decathlon's layout.
        seconds: for everything, from the check to the page.
        folds: of the cross-validation.
        networks: names of networks.registry; none: the plan decides.
        plans: bundles that `gridgate plan` wrote, in the place of networks: nothing is planned.
        device, memory: see planning.measures.machine.
        iterations: of each training; None: as many as fit into the time.
        deterministic: trainings give the same weights again, see pipeline.training.run, and their
            evaluations the same masks.
        seed: of each training's draws; the split is that of the dataset.
        settings: of the plan, by id.
        run_settings: of each training and evaluation, see RUN_SETTINGS.
    """

    dataset: Path
    seconds: float
    folds: int = 5
    networks: Sequence[str | None] = (None,)
    plans: Sequence[Path] = ()
    device: str = "auto"
    memory: str | None = None
    iterations: int | None = None
    deterministic: bool = False
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    run_settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any], **options: Any) -> FitRequest:
        """A request whose settings are those of the plan and those of its runs, as they come."""
        of_runs = {name: settings[name] for name in settings if name in RUN_SETTINGS}
        of_plan = {name: settings[name] for name in settings if name not in RUN_SETTINGS}
        return cls(settings=of_plan, run_settings=of_runs, **options)

    def __post_init__(self) -> None:
        if self.folds < FEWEST_FOLDS:
            raise ConfigError(
                f"--folds {self.folds}: give {FEWEST_FOLDS} or more, so that each case is measured "
                "by a network that has not seen it; to train on all cases: gridgate train BUNDLE "
                "DATASET OUTPUT --folds 1"
            )
        if self.iterations is not None and self.iterations < 1:
            raise ConfigError(f"--iterations {self.iterations}: give 1 or more")
        if self.plans and (self.settings or any(self.networks)):
            more = [f"--{name}" for name in self.settings] or ["--network"]
            raise ConfigError(f"--plans are planned already: give {more[0]} to gridgate plan")
        lengths = [name for name in self.settings if name in _LENGTHS]
        if lengths:
            raise ConfigError(
                f"--{lengths[0]}: a fit makes its trainings as long as the time allows; give "
                "--time, or --iterations"
            )
        if self.settings.get("training::patience"):
            raise ConfigError(
                "--training::patience: the cases that a fold holds out would decide when its "
                "training ends, and are what it is measured on; a fit's trainings run to their end"
            )
        twice = {name for name in self.networks if list(self.networks).count(name) > 1}
        if twice:
            raise ConfigError(f"--networks: {', '.join(map(str, twice))} is there twice")
        check_settings(self.settings, [name or DEFAULT for name in self.networks])

    def asked(self) -> dict[str, Any]:
        """As plain values, for fit.json; the dataset by its absolute path."""
        values = asdict(self) | {"dataset": str(self.dataset.resolve())}
        plans = [str(path.resolve()) for path in self.plans]
        values |= {"networks": list(self.networks), "plans": plans}
        kept = {name: value for name, value in self.run_settings.items() if name in _COUNT}
        return values | {"settings": dict(self.settings), "run_settings": kept}
