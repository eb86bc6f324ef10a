"""The training engine: MONAI's SupervisedTrainer with precision by device, averaged weights and exact seeding."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, cast

import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism
from monai.utils.enums import CommonKeys as Keys
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ...data.errors import GridgateError
from ..models.devices import Amp, autocast, autocast_dtype, channels_last
from .small_maps import SmallMapsInFloat32

logger = logging.getLogger(__name__)
_MOST_PASSED_OVER = 10


class TrainingError(GridgateError):
    """The training cannot go on."""


def averaged(network: torch.nn.Module, *, decay: float = 0.99) -> AveragedModel:
    """An exponential moving average of a network's weights and buffers, by PyTorch's AveragedModel.

    The average is what is validated, saved and used: in short trainings it is better than the last
    weights.

    Args:
        decay: weight of the old average a step, 0 (no averaging) to below 1.
    """
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


class SegmentationTrainer(SupervisedTrainer):
    """MONAI's SupervisedTrainer with what it lacks for our bundles.

    Own `_iteration`, because MONAI's autocasts to "cuda" whatever the device is: here it is
    bfloat16 on CPUs that have it, AMP on CUDA. At each epoch's start the global random state
    follows from (seed, epoch), so a resumed run draws what an uninterrupted one would have drawn.

    Args:
        average: moving average of the network, updated after each step; None for none.
        amp: see `precision.autocast_dtype`.
        max_gradient_norm: gradients are scaled down to this L2 norm; None for no limit.
        seed: any integer >= 0.
        **options: those of SupervisedTrainer.
    """

    def __init__(
        self,
        *,
        average: AveragedModel | None = None,
        amp: Amp = "auto",
        max_gradient_norm: float | None = 12.0,
        seed: int = 0,
        **options: Any,
    ) -> None:
        options.setdefault("decollate", False)
        super().__init__(amp=False, **options)
        self.average = average
        self.max_gradient_norm = max_gradient_norm
        self._passed = 0  # steps in a row
        self.dtype = autocast_dtype(self.state.device, amp)
        # not `scaler`: MONAI sets that anew at each run
        self.grad_scaler = torch.GradScaler(
            self.state.device.type, enabled=self.dtype is torch.float16
        )
        self.add_event_handler(
            Events.EPOCH_STARTED,
            lambda engine: set_determinism(seed=_epoch_seed(seed, engine.state.epoch)),
        )

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        device = self.state.device
        image = channels_last(batchdata[Keys.IMAGE].to(device, non_blocking=self.non_blocking))
        label = batchdata[Keys.LABEL].to(device, non_blocking=self.non_blocking)
        self.network.train()
        self.optimizer.zero_grad(set_to_none=True)
        breaks = device.type == "cpu" and self.dtype is not None
        with autocast(device, self.dtype), SmallMapsInFloat32() if breaks else nullcontext():
            prediction = self.inferer(image, self.network)
        loss = self.loss_function(_to_float(prediction), label).mean()
        # one such step would leave NaN in all weights; in float16 the GradScaler passes over it
        if self.dtype is not torch.float16 and not torch.isfinite(loss):
            raise TrainingError(
                "the loss is NaN or infinite; lower --learning_rate (last.pt holds the last whole "
                "epoch)"
            )
        self.grad_scaler.scale(loss).backward()
        self.grad_scaler.unscale_(self.optimizer)
        limit = float("inf") if self.max_gradient_norm is None else self.max_gradient_norm
        if self._passed_over(torch.nn.utils.clip_grad_norm_(self.network.parameters(), limit)):
            return {Keys.LOSS: loss.detach()}
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
        if self.average is not None:
            self.average.update_parameters(_unwrapped(self.network))
        return {Keys.LOSS: loss.detach()}

    def _passed_over(self, norm: torch.Tensor) -> bool:
        """Whether this step's gradients are NaN or infinite, and so would be in all weights after it."""
        if self.dtype is torch.float16 or torch.isfinite(
            norm
        ):  # the GradScaler looks after float16
            self._passed = 0
            return False
        self._passed += 1
        if self._passed == _MOST_PASSED_OVER:
            raise TrainingError(
                f"the gradients of {_MOST_PASSED_OVER} steps in a row are NaN or infinite; lower "
                "--learning_rate, or "
                "train with --amp False (last.pt holds the last whole epoch)"
            )
        logger.warning("a step is passed over: its gradients are NaN or infinite")
        return True


def _to_float(prediction: Any) -> Any:
    """Losses are computed in float32 whatever the network ran in; deep supervision gives a list."""
    if isinstance(prediction, (list, tuple)):
        return [item.float() for item in prediction]
    return prediction.float()


def _unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    parallel = isinstance(network, torch.nn.parallel.DistributedDataParallel)
    return cast(torch.nn.Module, network.module) if parallel else network


def _epoch_seed(seed: int, epoch: int) -> int:
    # a large odd factor keeps neighbouring seeds' epochs apart
    return (seed * 1_000_003 + epoch) % 2**31
