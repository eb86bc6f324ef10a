"""The validation engine: labels are decided slab by slab, so no volume of all classes exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import torch
from monai.engines import Evaluator, SupervisedEvaluator
from monai.engines.utils import IterationEvents
from monai.utils.enums import CommonKeys as Keys

from ....transforms.restore.slabs import ScoreSlabs
from ...inference.window_forward import OtherOutputError
from .label_dice import labels_of


class SegmentationValidator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator whose predictions are label maps.

    `state.output["pred"]` is (B, 1, *spatial), the index of each voxel's highest score in the
    smallest unsigned integer type; with one channel 1 where it is more likely than not. "annotated"
    is handed on where a batch has it. MONAI's
    holds classes x volume in float32. All of MONAI's options, handlers and events work as there.

    An inferer with a method `slabs` (SlidingWindow) is asked for slabs. Of any other inferer, or a
    network with several outputs, the scores are taken as a whole and decided at once.

    Args:
        regions: the network's channels are regions, which overlap; predictions are their bits.
        **options: those of SupervisedEvaluator; `decollate` is False unless given.
    """

    def __init__(self, *, regions: bool = False, **options: Any) -> None:
        self.regions = regions
        options.setdefault("decollate", False)
        super().__init__(**options)
        self._counts = options.get("epoch_length") is None

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's
        """Validate, on the cases that there are now; without any nothing is done or said."""
        if self._counts and isinstance(self.data_loader, Sized):
            self.state.epoch_length = len(self.data_loader)
        if self.state.epoch_length != 0:
            super().run(global_epoch)

    def _iteration(self, engine: Any, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        image, label, args, kwargs = prepared(self, batchdata)
        self.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        if isinstance(batchdata, Mapping) and "annotated" in batchdata:
            self.state.output["annotated"] = batchdata["annotated"]
        with self.mode(self.network):
            self.state.output[Keys.PRED] = self._predict(image, args, kwargs)
        self.fire_event(IterationEvents.FORWARD_COMPLETED)
        self.fire_event(IterationEvents.MODEL_COMPLETED)
        return self.state.output

    def _predict(
        self, image: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> torch.Tensor:
        slabs = getattr(self.inferer, "slabs", None)
        if slabs is not None:
            cases = image.as_tensor() if hasattr(image, "as_tensor") else image
            try:
                made = [
                    decide(slabs(one, self.network, *args, **kwargs), regions=self.regions)
                    for one in cases
                ]
                return torch.stack(made)
            except OtherOutputError:
                pass
        scores = self.inferer(image, self.network, *args, **kwargs)
        if isinstance(scores, list | tuple):  # deep supervision, the finest first
            scores = scores[0]
        given = getattr(self.network, "gives_probabilities", False)
        return labels_of(scores, dim=1, probabilities=given, regions=self.regions)


def validates(validator: Evaluator) -> bool:
    """Whether it has a case; a loader that has no length is taken to have some."""
    loader = validator.data_loader
    return not isinstance(loader, Sized) or len(loader) > 0


def decide(slabs: ScoreSlabs, *, regions: bool = False) -> torch.Tensor:
    """The labels (1, *spatial) of a volume's scores, in the smallest unsigned integer type.

    Args:
        regions: they overlap; labels are bits.
    """
    labels: torch.Tensor | None = None
    for slab in slabs:
        rows = labels_of(slab.scores, dim=-1, probabilities=slabs.probabilities, regions=regions)[
            ..., 0
        ]
        if labels is None:
            labels = torch.empty(slabs.shape, dtype=rows.dtype, device=rows.device)
        # the slabs' axis comes first in a slab, the others in order behind it
        labels.movedim(slabs.axis, 0)[slab.start : slab.start + len(rows)] = rows
    assert labels is not None, "a volume without rows"
    return labels[None]


def prepared(
    engine: Any, batchdata: Any
) -> tuple[torch.Tensor, torch.Tensor, Sequence[Any], Mapping[str, Any]]:
    """Image, label, and more arguments of the network, by a MONAI engine's `prepare_batch`."""
    batch = engine.prepare_batch(
        batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs
    )
    if len(batch) == 2:
        return (*batch, (), {})
    image, label, args, kwargs = batch
    return image, label, args, kwargs
