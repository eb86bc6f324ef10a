"""What a fit is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...data.errors import ConfigError

FEWEST_FOLDS = 2


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
        deterministic: trainings give the same weights again, see pipeline.training.run.
        seed: of each training's draws; the split is that of the dataset.
        settings: of the plan, by id.
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
        twice = {name for name in self.networks if list(self.networks).count(name) > 1}
        if twice:
            raise ConfigError(f"--networks: {', '.join(map(str, twice))} is there twice")

    def asked(self) -> dict[str, Any]:
        """As plain values, for fit.json; the dataset by its absolute path."""
        values = asdict(self) | {"dataset": str(self.dataset.resolve())}
        plans = [str(path.resolve()) for path in self.plans]
        values |= {"networks": list(self.networks), "plans": plans}
        return values | {"settings": dict(self.settings)}
