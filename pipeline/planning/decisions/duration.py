"""How long a training is, and how it learns: the numbers that depend on the time."""

from __future__ import annotations

from collections.abc import Mapping

from ....data.errors import ConfigError
from ..measures.pace import FOLDS, Pace
from .decision import Decision, length

_EPOCHS = 30
_LEAST_EPOCHS = 20  # where iterations are given, and are no multiple of 30
_UNMEASURED = 24_990  # iterations, where nothing was measured: 30 epochs, the last one validated
_VALIDATIONS = (10, 6, 5, 3, 2, 1)  # divisors of the epochs
_LOOKS = 6  # validations of a training of given iterations
_VALIDATING = 0.05  # of the time, at most
_FEWEST = 30  # iterations that are a training at all
_LEARNING_RATE = {"small": 0.003, "medium": 0.003, "paper": 0.001}


def decide_duration(
    pace: Pace | None,
    seconds: float,
    training: Mapping[str, object],
    size: str,
    *,
    iterations: int | None = None,
) -> list[Decision]:
    """Epochs, iterations, validations and learning rate.

    Args:
        pace: as measured; None where it could not be.
        seconds: for the training.
        training: settings that the network asks for.
        size: "small", "medium" or "paper".
        iterations: where they are given, and the time decides nothing.

    Raises:
        ConfigError: the time is too short for a training.
    """
    if iterations is not None:
        why = f"{iterations:,} iterations, given on the command line"
        epochs = decide_epochs(iterations, why)
        interval = Decision("val_interval", max(1, epochs[0].value // _LOOKS), why)
        return [*epochs, interval, *decide_learning(iterations, training, size)]
    if pace is None:
        iterations, validations = _UNMEASURED, 10
        why = (
            f"{_UNMEASURED} iterations: the device is not here, so no time was measured; give "
            "--epochs to the training"
        )
    else:
        iterations, validations = _fitting(pace, seconds)
        why = (
            f"{length(seconds)}: {pace.reading:.0f} s before the first iteration, "
            f"{pace.iteration:.2g} s an iteration with its windows, {pace.validation:.0f} s a "
            f"validation of a fifth of the cases: {iterations} iterations in {_EPOCHS} epochs"
        )
    return [
        *decide_epochs(iterations, why),
        Decision(
            "val_interval",
            _EPOCHS // validations,
            f"{_validating(validations)}. Folds: {FOLDS}",
        ),
        *decide_learning(iterations, training, size),
    ]


def decide_epochs(iterations: int, why: str) -> list[Decision]:
    """Epochs, and iterations of each: of 20 to 30 epochs those that come nearest, from below.

    Of fewer than 60 iterations as few as a third: 30 epochs of one would lose nine of 39.

    >>> [one.value for one in decide_epochs(2000, "")], [one.value for one in decide_epochs(59, "")]
    ([25, 80], [29, 2])
    """
    few = min(_EPOCHS, iterations)
    epochs = max(
        range(min(_LEAST_EPOCHS, max(iterations // 3, 1)), few + 1),
        key=lambda count: (iterations // count * count, count),
    )
    each = iterations // epochs
    return [Decision("epochs", epochs, why), Decision("iterations_per_epoch", each, why)]


def decide_learning(iterations: int, training: Mapping[str, object], size: str) -> list[Decision]:
    """Learning rate, warm-up and averaging of a training of so many iterations.

    Args:
        training, size: see decide_duration.
    """
    rate = training.get("learning_rate", _LEARNING_RATE[size])
    whose = "what the network asks for" if "learning_rate" in training else "AdamW's"
    warmup = int(min(max(iterations // 40, 10), 1000))
    decay = round(min(max(1 - 10 / iterations, 0.9), 0.999), 4)
    return [
        Decision("learning_rate", rate, f"{whose}, falling to 0 along a cosine"),
        Decision("warmup_iterations", training.get("warmup_iterations", warmup), "a fortieth"),
        Decision(
            "average_decay", decay, "the average is over the last tenth or so of the training"
        ),
    ]


def _validating(validations: int) -> str:
    if validations == 1:
        return f"one validation, at the end, as two take more than {_VALIDATING:.0%} of the time"
    return (
        f"{validations} validations, so that they take no more than {_VALIDATING:.0%} of the time; "
        "the best one's weights are kept"
    )


def _fitting(pace: Pace, seconds: float) -> tuple[int, int]:
    """Iterations and validations that fit into a time.

    Raises:
        ConfigError: too few do.
    """
    left = seconds - pace.reading - _EPOCHS * pace.epoch
    validations = next(
        (one for one in _VALIDATIONS if one * pace.validation <= _VALIDATING * left), 1
    )
    iterations = int((left - validations * pace.validation) / pace.iteration)
    if iterations < _FEWEST:
        raise ConfigError(
            f"--time: {length(max(seconds, 0.0))} are too short: the start takes "
            f"{pace.reading:.0f} s, a validation {pace.validation:.0f} s, an iteration "
            f"{pace.iteration:.2g} s; give more time, or a smaller --roi_size or --network"
        )
    return iterations // _EPOCHS * _EPOCHS, validations
