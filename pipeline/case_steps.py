"""What is done with one case: read, segment, finish; each step knows nothing of the other cases."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose

from ..data.errors import GridgateError, OutputError
from ..transforms.restore import RestoreLabelsd
from .case_table import DONE, FAILED, STAGES
from .overrides import user_error
from .quality import Expectations, case_hints
from .volumes import label_volumes
from .weights import to_device

logger = logging.getLogger("gridgate.cases")

Case = dict[str, Any]


class NetworkOutputError(GridgateError):
    """A network gave numbers that mean nothing."""


@dataclass(eq=False)
class CaseSteps:
    """A bundle's network and transforms as three steps; can be pickled, for a worker process.

    Args:
        transform: preprocessing; it reads the files.
        network: with its weights loaded, on the CPU.
        inferer: a SlidingWindow, or any Inferer of MONAI's.
        postprocessing: takes the case with its "pred" (scores on the network's grid) and "image", leaves the label map
            (1, *scan's shape) in "pred" and writes it. Where it holds a RestoreLabelsd and the inferer gives slabs,
            the scores are handed over slab by slab; what follows that transform belongs to `finish`.
        labels: names of the channels, the background first.
        expected: what a plausible mask is like, for the hints.
    """

    transform: Callable[[Any], Any]
    network: torch.nn.Module
    inferer: Any
    postprocessing: Callable[[Any], Any] | None
    labels: Sequence[str]
    device: str = "cpu"
    expected: Expectations = field(default_factory=dict)

    def prepare(self) -> None:
        """Put the network on the device; once, where the cases are computed."""
        self.network = to_device(self.network, self.device).eval()

    def read(self, item: Case) -> Case:
        """Read and preprocess; a case that fails keeps its "error", nothing is raised."""
        return read_case(item, self.transform)

    def segment(self, case: Case, progress: Callable[[int, int], None] | None = None) -> Case:
        """The network and the way back to the scan's grid; what `progress` raises is raised, other errors are kept.

        Args:
            progress: see SlidingWindow.slabs.
        """
        if "error" in case:
            return case
        try:
            with torch.inference_mode():
                return self._segment(case, progress)
        except Exception as error:
            cause: BaseException | None = error
            while cause is not None:  # MONAI wraps what its transforms raise
                if getattr(cause, "stops_the_run", False):
                    raise cause from None
                cause = cause.__cause__
            return _failed(case, error)

    def finish(self, case: Case) -> dict[str, Any]:
        """Post-process, measure and write; the case's row for the table. `row["fatal"]`: nothing can be written."""
        files, timings = case["files"], case["timings"]
        row: dict[str, Any] = {"case": files["id"], "input": shown(files["image"])}
        began, fatal = time.perf_counter(), False
        if "error" not in case:
            try:
                _, after = self._split()
                written = timings.get("write", 0.0)
                with torch.inference_mode():
                    case = dict(after(case))
                    row |= self._measured(case)
                spent = time.perf_counter() - began - (timings.get("write", 0.0) - written)
                timings["restore"] = timings.get("restore", 0.0) + spent
                row |= {"output": f"{files['id']}.nii.gz", "status": DONE, "notes": _notes(case)}
            except Exception as error:
                # not this case's fault, and the next one's cannot be written either
                fatal = isinstance(error, OutputError) and isinstance(error.__cause__, OSError)
                case = _failed(case, error)
        if "error" in case:
            row = {"case": row["case"], "input": row["input"], "status": FAILED, "reason": case["error"]}
        row |= {f"{stage}_s": f"{timings[stage]:.3f}" for stage in STAGES if stage in timings}
        row["total_s"] = f"{sum(timings.get(stage, 0.0) for stage in STAGES):.3f}"
        return row | {"fatal": fatal}

    def _segment(self, case: Case, progress: Callable[[int, int], None] | None) -> Case:
        image: torch.Tensor = case["image"]
        plain = (image.as_tensor() if isinstance(image, MetaTensor) else image).to(self.device)
        before, _ = self._split()
        if hasattr(self.inferer, "slabs") and before.transforms:
            region = case["region"][0] if "region" in case else None
            slabs = self.inferer.slabs(plain, self.network, region=region, progress=progress)
            try:
                done = dict(before({**case, "pred": slabs}))
            except ValueError as error:
                if "NaN or infinite" not in str(error):
                    raise
                raise _nonsense() from None
            return {**done, "facts": slabs.facts}
        began = time.perf_counter()
        scores = self.inferer(plain[None], self.network)[0].cpu()
        case["timings"]["forward"] = time.perf_counter() - began
        if not torch.isfinite(scores.sum()):
            raise _nonsense()
        return {**case, "pred": scores, "facts": {}}

    def _split(self) -> tuple[Compose, Compose]:
        """The postprocessing up to its RestoreLabelsd, and what comes after."""
        whole = self.postprocessing
        transforms = list(getattr(whole, "transforms", [whole] if whole is not None else []))
        restoring = [index for index, step in enumerate(transforms) if isinstance(step, RestoreLabelsd)]
        at = restoring[-1] + 1 if restoring else 0
        return Compose(transforms[:at]), Compose(transforms[at:])

    def _measured(self, case: Case) -> dict[str, Any]:
        facts = case.get("facts", {})
        prediction = np.asarray(case["pred"])[0]
        affine = np.asarray(case["image"].meta["original_affine"])
        volumes = label_volumes(prediction, affine=affine, names=self.labels, scan=case.get("scan"))
        hints = case_hints(
            prediction,
            affine=affine,
            names=self.labels,
            volumes=volumes,
            expected=self.expected,
            removed=case.get("pred_removed"),
            margin=case.get("pred_margin"),
            mirror_agreement=facts.get("mirror_agreement"),
        )
        row: dict[str, Any] = {"hints": "; ".join(hints), "hint_count": len(hints)}
        for name, value in (("margin", case.get("pred_margin")), ("mirror_agreement", facts.get("mirror_agreement"))):
            row[name] = "" if value is None else f"{value:.3f}"
        for name in ("windows", "windows_skipped"):
            if name in facts:
                row[name] = int(facts[name])
        if "network_seconds" in facts:
            row["network_s"] = f"{facts['network_seconds']:.3f}"
        for volume in volumes:
            row |= {f"{volume.name}_voxels": volume.voxels, f"{volume.name}_ml": round(volume.ml, 3)}
            row[f"{volume.name}_hu"] = "" if volume.mean is None else round(volume.mean, 2)
        return row


def read_case(item: Case, transform: Callable[[Any], Any]) -> Case:
    """An item {"id", "image", ...} read by a transform; the paths stay in "files", an error is kept in "error"."""
    timings: dict[str, float] = {}
    began = time.perf_counter()
    try:
        # the transforms put arrays in the place of "image" and "label"
        case = dict(transform({**item, "files": item, "timings": timings}))
    except Exception as error:
        case = _failed({**item, "files": item}, error)
    spent = time.perf_counter() - began
    timings["resample"] = spent - timings.get("read", 0.0)
    case["timings"] = timings
    return case


def reason(error: BaseException) -> str:
    """One line that says why a case failed: our own errors' text, or the type and text of the first cause."""
    ours = user_error(error)
    if ours is not None:
        return " ".join(str(ours).split())
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "out of memory: use a smaller window, --device cpu, or a machine with more memory"
    return f"unexpected {type(error).__name__}: " + " ".join(str(error).split())


def shown(files: Any) -> str:
    """A case's input as text: absolute paths, or a DICOM series' folder and UID."""
    several = files if isinstance(files, list | tuple) else [files]
    return ";".join(os.path.abspath(path) if isinstance(path, str | Path) else str(path) for path in several)


def _failed(case: Case, error: Exception) -> Case:
    """The case with the reason of its failure and nothing that takes memory."""
    why = reason(error)
    if user_error(error) is None:  # a bug of ours, or of a library: where it happened matters
        logger.error(f"{case['files']['id']}: {why}", exc_info=error)
    return {"files": case["files"], "timings": case.get("timings", {}), "error": why}


def _nonsense() -> NetworkOutputError:
    return NetworkOutputError("the network's output is NaN or infinite; try --amp False, or other weights")


def _notes(case: Case) -> str:
    return str(getattr(case["image"], "meta", {}).get("notes", ""))
