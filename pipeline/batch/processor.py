"""What is done with one case: read, segment, finish; no step knows of the other cases."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from ...transforms.nnunet.parts import IMAGES
from ...transforms.postprocess import Postprocessing
from ...transforms.restore.restoration import Restoration
from ...transforms.restore.scores_error import ScoresError
from ...transforms.restore.slabs import ForwardFacts, ScoreSlabs
from ...transforms.restore.transform import RestoreLabelsd
from ..inference.out_of_memory import is_out_of_memory
from ..inference.parts import PartsWindow
from ..models.build import to_device
from ..models.parts import part_of
from .case import Case, CaseInProgress, MonaiItem, StoppedError
from .reasons import hits_all_cases, is_expected, reason
from .results.case_result import FAILED, CaseResult
from .results.quality import Expectations, case_hints
from .results.volumes import label_volumes, region_volumes

logger = logging.getLogger("gridgate.cases")

Progress = Callable[[int, int], None]
DOUBTFUL = ("intensities: ", "geometry: ")
"""Notes about an input that begin so make the mask doubtful, and become hints."""
# What torch raises when a GPU's context is broken; older ones have no class for it.
_BROKEN_CONTEXT: Any = getattr(torch, "AcceleratorError", ())


@dataclass(eq=False)
class CaseProcessor:
    """A bundle's network and transforms as three steps; can be pickled, for a worker process.

    Args:
        transform: preprocessing; it reads the files.
        network: with its weights loaded, on the CPU.
        inferer: a SlidingWindow, or any Inferer of MONAI's.
        postprocessing: takes the case with its "pred" (scores on the network's grid) and "image",
            leaves the label map (1, *scan's shape) in "pred" and writes it. Of a Postprocessing, or
            a Compose that begins with a RestoreLabelsd, and where the inferer gives slabs, the
            scores are restored slab by slab and never exist as a whole.
        labels: names of the channels, the background first.
        output_dir: of the masks; their paths in the table are relative to it.
        expected: what a plausible mask is like, for the hints.
    """

    transform: Callable[[Any], Any]
    network: torch.nn.Module
    inferer: Any
    postprocessing: Callable[[Any], Any] | None
    labels: Sequence[str]
    output_dir: Path
    device: str = "cpu"
    expected: Expectations = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.postprocessing = in_two_parts(self.postprocessing)

    def prepare(self) -> None:
        """Put the network on the device; once, where the cases are computed."""
        if self.device.startswith("cuda:"):
            # or events, streams and caches would be the first GPU's
            torch.cuda.set_device(self.device)
        self.network = to_device(self.network, self.device).eval()

    def read(self, case: Case) -> CaseInProgress:
        """Read and preprocess; a failure is kept in `error`, nothing is raised."""
        work = CaseInProgress(case)
        began = time.perf_counter()
        try:
            work.data = read_item(case, self.transform, work.seconds)
        except Exception as error:
            _keep(error, work)
        spent = time.perf_counter() - began
        work.seconds["resample"] = spent - work.seconds.get("read", 0.0)
        return work

    def segment(self, work: CaseInProgress, progress: Progress | None = None) -> None:
        """The network and the way back to the scan's grid; a failure is kept in `error`.

        Args:
            progress: see SlidingWindow.slabs.

        Raises:
            StoppedError: by `progress`.
            torch.AcceleratorError: the GPU answers nothing but this from now on, so the process
                must end, and takes one case along.
        """
        if work.error is not None:
            return
        # Twice at most, and the second time outside of the `except` block, whose traceback keeps
        # the first try's tensors.
        if not self._try(work, progress, accumulate_on=None) and work.error is None:
            torch.cuda.empty_cache()
            self._try(work, progress, accumulate_on="cpu")

    def finish(self, work: CaseInProgress) -> CaseResult:
        """Post-process, measure and write."""
        result = CaseResult(work.case.id, work.case.source, seconds=work.seconds)
        if work.error is None:
            began, written = time.perf_counter(), work.seconds.get("write", 0.0)
            try:
                with torch.inference_mode():
                    work.data = self._after(work.data)
                    self._measure(work, result)
                writing = work.seconds.get("write", 0.0) - written
                work.spend("restore", time.perf_counter() - began - writing)
                result.output = self._mask(work)
            except Exception as error:
                result.stops_the_run = hits_all_cases(error)
                _keep(error, work)
        if work.error is not None:
            result.status, result.reason = FAILED, work.error
        return result

    def _try(
        self, work: CaseInProgress, progress: Progress | None, accumulate_on: str | None
    ) -> bool:
        """Segment; False where a GPU's memory ran out and a try with more of the machine's is left.

        Args:
            accumulate_on: device to accumulate scores on; None: where there is room.
        """
        try:
            with torch.inference_mode():
                if self._by_slabs():
                    self._restore(work, progress, accumulate_on)
                else:
                    self._whole_scores(work)
            return True
        except StoppedError:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                if self.device != "cpu" and accumulate_on is None:
                    return False
            elif _breaks_the_process(error):
                raise
            _keep(error, work)
            return True

    def _by_slabs(self) -> bool:
        """Whether scores are brought back to the scan's grid while the network runs."""
        able = isinstance(self.inferer, PartsWindow) or hasattr(self.inferer, "slabs")
        return able and isinstance(self.postprocessing, Postprocessing)

    def _restore(
        self, work: CaseInProgress, progress: Progress | None, accumulate_on: str | None
    ) -> None:
        assert isinstance(self.postprocessing, Postprocessing)
        restore, data = self.postprocessing.restore, work.data
        image: MetaTensor = data["image"]
        run = partial(self._one_pass, work, restore, progress=progress, accumulate_on=accumulate_on)
        if not isinstance(self.inferer, PartsWindow):
            restoration, work.forward = run(data, self.inferer, self.network)
            with work.spent("restore"):
                work.data |= restore.end(restoration, image)
            return
        merged, seen = restore.begin_parts(image), []
        for number, inferer in enumerate(self.inferer.parts):  # scores of one part at a time
            with work.spent("resample"):
                part = data if number == 0 else data[IMAGES][number]
            restoration, facts = run(part, inferer, part_of(self.network, number))
            with work.spent("restore"):
                merged.add(number, restoration, part["image"])
            seen.append(facts)
        work.forward = ForwardFacts.of_several(seen)
        with work.spent("restore"):
            work.data |= restore.end_parts(merged, image)

    def _one_pass(
        self,
        work: CaseInProgress,
        restore: RestoreLabelsd,
        item: Mapping[Any, Any],
        inferer: Any,
        network: torch.nn.Module,
        *,
        progress: Progress | None,
        accumulate_on: str | None,
    ) -> tuple[Restoration, ForwardFacts]:
        """A network's scores of an item's image, brought back while they come."""
        image, region = item["image"], item.get("region")
        slabs = inferer.slabs(
            _plain(image).to(self.device),
            network,
            region=None if region is None else region[0],
            progress=progress,
            accumulate_on=accumulate_on,
        )
        restoration = restore.begin(slabs, image)
        seconds = {"forward": 0.0, "restore": 0.0}
        last = time.perf_counter()
        for slab in slabs:
            now = time.perf_counter()
            seconds["forward"] += now - last
            restoration.add(slab)
            last = time.perf_counter()
            seconds["restore"] += last - now
        seconds["forward"] += time.perf_counter() - last
        last = time.perf_counter()
        restoration.finish()
        seconds["restore"] += time.perf_counter() - last
        for stage, spent in seconds.items():
            work.spend(stage, spent)
        return restoration, slabs.facts

    def _whole_scores(self, work: CaseInProgress) -> None:
        began = time.perf_counter()
        image = _plain(work.data["image"]).to(self.device)
        scores = self.inferer(image[None], self.network)[0].cpu()
        work.spend("forward", time.perf_counter() - began)
        if not torch.isfinite(scores.sum()):
            raise ScoresError
        if isinstance(self.postprocessing, Postprocessing):
            # what a tensor does not say: an ensemble's scores are probabilities
            given = bool(getattr(self.network, "gives_probabilities", False))
            scores = ScoreSlabs.of(scores, probabilities=given)
        work.data["pred"] = scores

    def _after(self, data: MonaiItem) -> MonaiItem:
        """What of the postprocessing has not been done while the network ran."""
        after = self.postprocessing
        if isinstance(after, Postprocessing) and self._by_slabs():
            after = after.after
        return dict(data if after is None else after(data))

    def _measure(self, work: CaseInProgress, result: CaseResult) -> None:
        data = work.data
        prediction = np.asarray(data["pred"])[0]
        affine = np.asarray(data["image"].meta["original_affine"])
        told: dict[str, Any] = {"affine": affine, "names": self.labels, "scan": data.get("scan")}
        bits = None if "pred_bits" not in data else np.asarray(data["pred_bits"])[0]
        if bits is None:
            volumes = label_volumes(prediction, **told)
        else:
            volumes = region_volumes(bits, **told)
        hints = case_hints(
            prediction if bits is None else bits,
            regions=bits is not None,
            affine=affine,
            names=self.labels,
            volumes=volumes,
            expected=self.expected,
            removed=data.get("pred_removed"),
            margin=data.get("pred_margin"),
            mirror_agreement=work.forward.mirror_agreement if work.forward else None,
        )
        result.notes = str(getattr(data["image"], "meta", {}).get("notes", ""))
        hints += [note for note in result.notes.split("; ") if note.startswith(DOUBTFUL)]
        result.dicom_seg_reason = " ".join(str(data.get("dicom_seg_reason") or "").split())
        if result.dicom_seg_reason:
            hints.append("no DICOM SEG was written, see dicom_seg_reason")
        result.hints = tuple(dict.fromkeys(hints))
        result.volumes, result.forward = tuple(volumes), work.forward
        result.margin = data.get("pred_margin")

    def _mask(self, work: CaseInProgress) -> str:
        """The mask's path as the table names it."""
        written = work.data.get("pred_path")
        if written is None:
            return f"{work.case.id}.nii.gz"
        return Path(os.path.relpath(written, self.output_dir)).as_posix()


def read_item(
    case: Case, transform: Callable[[Any], Any], seconds: dict[str, float] | None = None
) -> MonaiItem:
    """A case's item read by MONAI's transforms; its paths stay in "files".

    Args:
        seconds: filled by the transforms, see transforms.timing.
    """
    # the transforms put arrays in the place of "image" and "label"
    timings = {} if seconds is None else seconds
    return dict(transform({**case.item, "files": case.item, "timings": timings}))


def in_two_parts(postprocessing: Callable[[Any], Any] | None) -> Callable[[Any], Any] | None:
    """A Compose that begins with a RestoreLabelsd as a Postprocessing; anything else as it is."""
    if isinstance(postprocessing, RestoreLabelsd):
        return Postprocessing(postprocessing)
    if isinstance(postprocessing, Compose) and not isinstance(postprocessing, Postprocessing):
        transforms = list(postprocessing.transforms)
        if transforms and isinstance(transforms[0], RestoreLabelsd):
            return Postprocessing(transforms[0], transforms[1:])
    return postprocessing


def _plain(image: torch.Tensor) -> torch.Tensor:
    return image.as_tensor() if isinstance(image, MetaTensor) else image


def _breaks_the_process(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, _BROKEN_CONTEXT):
            return True
        error = error.__cause__
    return False


def _keep(error: Exception, work: CaseInProgress) -> None:
    """Keep why a case failed."""
    why = reason(error)
    if not is_expected(error):
        logger.error(f"{work.case.id}: {why}", exc_info=error)
    work.fail(why)
