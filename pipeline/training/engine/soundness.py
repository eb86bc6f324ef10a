"""Whether a step's loss and gradients are finite, without making a GPU wait for the answer."""

from __future__ import annotations

import logging

import torch

from ....data.errors import GridgateError

logger = logging.getLogger(__name__)
_MOST_PASSED_OVER = 10
_MOST_SCALED = 40  # with a GradScaler, which begins at 2**16 and halves it at each


class TrainingError(GridgateError):
    """The training cannot go on."""


class Soundness:
    """Tells of steps whose loss or gradients are NaN or infinite.

    One such step would leave NaN in all weights. Reading a number from a GPU waits for everything
    that was asked of it, so the answer is read a step later, when it has long been there: that the
    step itself is left out the optimizer sees to, on the GPU.

    Args:
        scaled: a GradScaler looks for the largest scale at which gradients are finite in float16,
            so that some are not. A loss may not be either, where a window's values are too large.
    """

    def __init__(self, *, scaled: bool = False) -> None:
        self.scaled = scaled
        self._passed = 0  # steps in a row
        self._lost = 0  # of them those whose loss was not finite
        self._waiting: tuple[torch.Tensor, torch.cuda.Event | None] | None = None

    def later(self, finite: torch.Tensor) -> None:
        """Judge a step when the next one comes, or at `now`.

        Args:
            finite: (2,) bool, of the loss and of the gradients' norm.

        Raises:
            TrainingError: of the step before.
        """
        self.now()
        if not finite.is_cuda:
            self._waiting = finite, None
            return
        answer = torch.empty(2, dtype=torch.bool, pin_memory=True)
        answer.copy_(finite, non_blocking=True)
        arrived = torch.cuda.Event()
        arrived.record(torch.cuda.current_stream(finite.device))
        self._waiting = answer, arrived

    def now(self) -> None:
        """Judge the step that waits, if one does.

        Raises:
            TrainingError: see `judge`.
        """
        if self._waiting is not None:
            (answer, arrived), self._waiting = self._waiting, None
            if arrived is not None:
                arrived.synchronize()
            self.judge(answer)

    def judge(self, finite: torch.Tensor) -> bool:
        """Whether the step may be made.

        Args:
            finite: (2,) bool, of the loss and of the gradients' norm.

        Raises:
            TrainingError: the loss is not finite (with a GradScaler that of ten steps in a row), or
                the gradients of many steps in a row.
        """
        loss, norm = finite.tolist()
        self._lost = 0 if loss else self._lost + 1
        if not self.scaled or self._lost == _MOST_PASSED_OVER:
            self.check_loss(loss)
        if norm:
            self._passed = 0
            return True
        self._passed += 1
        most = _MOST_SCALED if self.scaled else _MOST_PASSED_OVER
        if self._passed == most:
            raise TrainingError(
                f"the gradients of {most} steps in a row are NaN or infinite; start "
                "anew with a lower --learning_rate or with --amp False (last.pt holds the last "
                "whole epoch, to be given as --pretrained)"
            )
        if not self.scaled:
            logger.warning("a step is passed over: its gradients are NaN or infinite")
        return False

    def check_loss(self, finite: bool) -> None:
        """Refuse to go on with a loss that is not finite.

        Raises:
            TrainingError: it is not.
        """
        if not finite:
            raise TrainingError(
                "the loss is NaN or infinite; start anew with a lower --learning_rate (last.pt "
                "holds the last whole epoch, to be given as --pretrained)"
            )
