"""The training engine: MONAI's with precision by device, averaged weights and exact seeding."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from ignite.engine import EventEnum, Events
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch.optim.swa_utils import AveragedModel

from ....data.errors import ConfigError
from ...models.devices import Amp, autocast_dtype, channels_last
from ..losses.wrapping.annotation import Annotation
from ..losses.wrapping.deep_supervision_loss import DeepSupervision
from ..losses.wrapping.processes import join_processes
from ..losses.wrapping.region_loss import RegionLoss
from ..losses.wrapping.segmentation_loss import SegmentationLoss, plain
from ..windows.loading import WindowLoader, end_workers
from .average import unwrapped
from .passes.deterministic import DeterministicOperations, refused_by_name
from .passes.forward_context import forward_context
from .passes.graphed_step import GraphedStep
from .seeding import epoch_seed, seed_draws
from .soundness import Soundness
from .stopwatch import Stopwatch
from .validator import prepared

logger = logging.getLogger(__name__)


class TrainerEvents(EventEnum):
    """Events of a SegmentationTrainer beside MONAI's."""

    RESTORED = "restored"
    """Once, at the start of a training that goes on, when it has its state again."""

    ENDED = "ended"
    """Once, when a run ends: completed, terminated, interrupted or failed."""


class SegmentationTrainer(SupervisedTrainer):
    """MONAI's SupervisedTrainer with what it lacks for our bundles.

    Own `_iteration`, because MONAI's autocasts to "cuda" whatever the device is: here it is
    bfloat16 on CPUs that have it, AMP on CUDA. Its events fire as MONAI's do, so handlers,
    postprocessing and metrics of MONAI's work. At each epoch's start the global random state
    follows from (seed, epoch, rank), so a resumed run draws what an uninterrupted one would have
    drawn. Where a GPU's memory runs out in a pass, the cases that a WindowLoader keeps there leave
    it, and the pass is tried once more. However a run ends, its worker processes are gone and
    `TrainerEvents.ENDED` has fired.

    With `accumulation_steps` above 1 a step follows the mean of the gradients of so many
    iterations; an epoch's last step takes those that are left, so that none reaches into the next
    epoch. Gradient norm and moving average are those of steps.

    Args:
        average: moving average of the network, updated after each step; None for none.
        amp: see `devices.autocast_dtype`.
        max_gradient_norm: gradients are scaled down to this L2 norm; None for no limit.
        seed: any integer >= 0.
        cuda_graph: on one GPU, replay each step as a CUDA graph, see GraphedStep; not where steps
            accumulate.
        **options: those of SupervisedTrainer but `amp_kwargs`, whose work `amp` does.

    Raises:
        ConfigError: amp_kwargs are given.
    """

    stopwatch: Stopwatch | None = None
    """Of a training that is profiled; see the handler Profile."""

    def __init__(
        self,
        *,
        average: AveragedModel | None = None,
        amp: Amp = "auto",
        max_gradient_norm: float | None = 12.0,
        seed: int = 0,
        cuda_graph: bool = True,
        **options: Any,
    ) -> None:
        if options.get("amp_kwargs"):
            raise ConfigError("amp_kwargs: the number format follows from amp; leave them out")
        options.setdefault("decollate", False)
        options.setdefault("optim_set_to_none", True)
        options.setdefault("non_blocking", True)  # batches are pinned
        options["event_names"] = [*(options.get("event_names") or []), TrainerEvents]
        super().__init__(amp=False, **options)
        self.average = average
        self.max_gradient_norm = max_gradient_norm
        self._parameters = list(self.network.parameters())
        self.dtype = autocast_dtype(self.state.device, amp)
        self._soundness = Soundness(scaled=self.dtype is torch.float16)
        # not `scaler`: MONAI sets that anew at each run
        self.grad_scaler = torch.GradScaler(
            self.state.device.type, enabled=self.dtype is torch.float16
        )
        self._parallel = isinstance(self.network, torch.nn.parallel.DistributedDataParallel)
        if self._parallel:
            join_processes(self.loss_function)
        single = self.accumulation_steps == 1 and not self._parallel
        graphs = cuda_graph and single and self.state.device.type == "cuda"
        if self.accumulation_steps > 1:  # the learning rate follows iterations
            warnings.filterwarnings("ignore", r"Detected call of `lr_scheduler\.step", UserWarning)
        self._graphed = GraphedStep(self._recorded_step, self.network) if graphs else None
        self.add_event_handler(
            Events.EPOCH_STARTED,
            lambda engine: seed_draws(epoch_seed(seed, engine.state.epoch, engine.state.rank)),
        )

    def run(self) -> None:  # type: ignore[override]  # as MONAI's
        """Train to the end, or to what a handler raises."""
        try:
            super().run()
        except RuntimeError as error:
            refused = refused_by_name(error)
            if refused is None:
                raise
            raise refused from error
        finally:
            self._end_workers()
            self.fire_event(TrainerEvents.ENDED)

    def _end_workers(self) -> None:
        """End the loader's worker processes: what an error holds on to would keep them."""
        end_workers(self._dataloader_iter)
        self._dataloader_iter = None
        if isinstance(self.data_loader, WindowLoader):
            self.data_loader.close()

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        image, label, args, kwargs = prepared(self, batchdata)
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        if not self.network.training:
            self.network.train()
        place = self._place_in_step()
        first, last, _ = place
        annotation = self._annotation(batchdata)
        passes = partial(self._pass, image, label, args, kwargs, annotation, place=place)
        with self._other_ways(), self._sound_buffers(), nullcontext() if last else self._alone():
            self._with_room(passes, first)
        self.fire_event(IterationEvents.BACKWARD_COMPLETED)
        self._step(self.state.output[Keys.LOSS], last=last)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return cast(dict[str, Any], self.state.output)

    def _other_ways(self) -> AbstractContextManager[Any]:
        """Around a step of a deterministic training on a GPU."""
        wanted = torch.are_deterministic_algorithms_enabled() and self.state.device.type == "cuda"
        return DeterministicOperations() if wanted else nullcontext()

    @contextmanager
    def _sound_buffers(self) -> Iterator[None]:
        """Around a pass in float16: of batch norm's statistics what is NaN or infinite is undone.

        The GradScaler passes over such a step; the forward pass has left its mark by then, which
        would be in all that is validated and saved from now on.
        """
        if self.dtype is not torch.float16:
            yield
            return
        buffers = [one for one in self.network.buffers() if one.is_floating_point()]
        before = [one.clone() for one in buffers]
        yield
        with torch.no_grad():
            for now, then in zip(buffers, before, strict=True):
                now.copy_(torch.where(torch.isfinite(now).all(), now, then))

    def _with_room(self, passes: Callable[[], None], first: bool) -> None:
        """Call `passes`, and again without cases on the device where its memory ran out.

        Args:
            first: of a step's iterations; later ones add to gradients, which half a pass spoils.
        """
        loader = self.data_loader
        try:
            passes()
            return
        except torch.OutOfMemoryError:
            # of several processes one alone would compute again, and what they share never meet
            alone = first and not self._parallel
            if not (alone and isinstance(loader, WindowLoader) and loader.is_on_device):
                raise
        # not in the handler, whose traceback holds the tensors of the pass
        self.state.output.pop(Keys.PRED, None)
        loader.leave_device()
        passes()

    def _pass(
        self,
        image: torch.Tensor,
        label: torch.Tensor,
        args: Any,
        kwargs: Any,
        annotation: Annotation | None,
        *,
        place: tuple[bool, bool, int],
    ) -> None:
        """The forward and backward pass, replayed or computed; see `_place_in_step`."""
        first, _, together = place
        usual = annotation is None and not (args or kwargs)
        replayed = self._replayed(image, label) if usual else None
        if replayed is None:
            if first:
                self.optimizer.zero_grad(set_to_none=self.optim_set_to_none)
            self._compute(image, label, args, kwargs, annotation, together=together)
            return
        prediction, loss = replayed
        self.state.output |= {Keys.PRED: prediction, Keys.LOSS: loss}
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.LOSS_COMPLETED)

    def _annotation(self, batchdata: Any) -> Annotation | None:
        """What of a batch is annotated; None for all of it.

        Such a batch's step is no CUDA graph: which windows are computed together, and of which
        channels, is another choice in each batch, and a graph repeats that of one.
        """
        annotation = Annotation.of(batchdata, processes=self._parallel)
        if annotation is not None and not isinstance(
            self.loss_function, SegmentationLoss | RegionLoss | DeepSupervision
        ):
            raise ConfigError(
                f"a case has labels that are not annotated, or voxels to ignore, which the loss "
                f"{type(self.loss_function).__name__} cannot leave out; use one of Gridgate's "
                "(gridgate losses)"
            )
        return annotation

    def _compute(
        self,
        image: torch.Tensor,
        label: torch.Tensor,
        args: Any,
        kwargs: Any,
        annotation: Annotation | None,
        *,
        together: int,
    ) -> None:
        """The forward and backward pass, with MONAI's events between their parts.

        Args:
            together: iterations whose gradients make a step.
        """
        self.state.output[Keys.PRED] = self._predicted(image, *args, **kwargs)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        prediction = self.state.output[Keys.PRED]
        more = () if annotation is None else (annotation,)
        loss = self.loss_function(_to_float(prediction), label, *more)
        self.state.output[Keys.LOSS] = loss.mean()
        self.fire_event(IterationEvents.LOSS_COMPLETED)
        loss = self.state.output[Keys.LOSS]
        self.grad_scaler.scale(loss / together).backward()
        self.state.output |= {Keys.LOSS: loss.detach(), Keys.PRED: _detached(prediction)}

    def _predicted(self, image: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        with forward_context(self.state.device, self.dtype):
            try:
                return self.inferer(channels_last(image), self.network, *args, **kwargs)
            except ValueError as error:  # what our networks say to windows that they cannot take
                window = list(image.shape[2:])
                raise ConfigError(
                    f"--roi_size {window}, --batch_size {len(image)}: {error}"
                ) from error

    def _replayed(
        self, image: torch.Tensor, label: torch.Tensor
    ) -> tuple[Any, torch.Tensor] | None:
        """Prediction and loss from a CUDA graph; None where the step is computed as usual."""
        if self._graphed is None:
            return None
        if any(
            self._event_handlers.get(event)
            for event in (IterationEvents.FORWARD_COMPLETED, IterationEvents.LOSS_COMPLETED)
        ):
            return None  # a handler looks between the passes
        return self._graphed(plain(image), plain(label))

    def _recorded_step(self, image: torch.Tensor, label: torch.Tensor) -> tuple[Any, torch.Tensor]:
        prediction = self._predicted(image)
        loss = self.loss_function(_to_float(prediction), label).mean()
        self.grad_scaler.scale(loss).backward()
        return prediction, loss

    def _place_in_step(self) -> tuple[bool, bool, int]:
        """Whether this iteration is the first and the last of its step, and how many that has."""
        length, done = self.state.epoch_length, self.state.iteration - 1
        place = done % length if length else done
        within, together = place % self.accumulation_steps, self.accumulation_steps
        if length:
            together = min(together, length - (place - within))
        return within == 0, within + 1 == together, together

    def _alone(self) -> AbstractContextManager[Any]:
        """A block whose gradients stay in this process: those of the step's end are shared."""
        if self._parallel:
            parallel = cast(torch.nn.parallel.DistributedDataParallel, self.network)
            return cast(AbstractContextManager[Any], parallel.no_sync())
        return nullcontext()

    def _step(self, loss: torch.Tensor, *, last: bool) -> None:
        """Step where this iteration is the last that the step accumulates, if all is finite."""
        if not last:
            if self.dtype is not torch.float16:
                self._soundness.check_loss(bool(torch.isfinite(loss)))
            return
        self.grad_scaler.unscale_(self.optimizer)
        limit = float("inf") if self.max_gradient_norm is None else self.max_gradient_norm
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, limit)
        finite = torch.isfinite(torch.stack((loss, norm.to(loss))))
        if self.dtype is torch.float16:  # the GradScaler passes over what is not finite
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
            self._judged_later(finite)
        elif not self._stepped(finite):
            return
        if self.average is not None:
            self.average.update_parameters(unwrapped(self.network))

    def _stepped(self, finite: torch.Tensor) -> bool:
        """Step unless something is not finite; whether it was done, as far as is known yet."""
        optimizer: Any = self.optimizer
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            sound = self._soundness.judge(finite)
            if sound:
                optimizer.step()
            return sound
        # a fused optimizer looks itself, on the GPU, as PyTorch's GradScaler has it do
        optimizer.grad_scale, optimizer.found_inf = None, (~finite.all()).float()
        try:
            optimizer.step()
        finally:
            del optimizer.grad_scale, optimizer.found_inf
        self._judged_later(finite)
        return True

    def _judged_later(self, finite: torch.Tensor) -> None:
        self._soundness.later(finite)
        if self.state.iteration % (self.state.epoch_length or 1) == 0:
            self._soundness.now()  # before anything is saved


def at_end(engine: Any, close: Callable[[Any], None]) -> None:
    """Call `close(engine)` when a run of a trainer ends, however it does."""
    ours = isinstance(engine, SegmentationTrainer)
    for event in (TrainerEvents.ENDED,) if ours else (Events.COMPLETED, Events.TERMINATE):
        engine.add_event_handler(event, close)


def _to_float(prediction: Any) -> Any:
    """Losses are computed in float32 whatever the network ran in; deep supervision gives a list."""
    if isinstance(prediction, list | tuple):
        return [item.float() for item in prediction]
    return prediction.float()


def _detached(prediction: Any) -> Any:
    if isinstance(prediction, list | tuple):
        return [item.detach() for item in prediction]
    return prediction.detach()
