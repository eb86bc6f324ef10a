"""What is done with one case: read, segment, finish; each step knows nothing of the other cases."""

from __future__ import annotations

import errno
import hashlib
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

from ...data.dicom.series import DicomSeries
from ...data.errors import OutputError, user_error
from ...transforms.restore.cells import ScoresError
from ...transforms.restore.transform import RestoreLabelsd
from ..models.build import to_device
from .quality import Expectations, case_hints
from .results import DONE, FAILED, STAGES
from .volumes import label_volumes

logger = logging.getLogger("gridgate.cases")

Case = dict[str, Any]


# What torch raises when a GPU's context is broken; older ones have no class for it.
_STICKY: Any = getattr(torch, "AcceleratorError", ())


@dataclass(eq=False)
class CaseSteps:
    """A bundle's network and transforms as three steps; can be pickled, for a worker process.

    Args:
        transform: preprocessing; it reads the files.
        network: with its weights loaded, on the CPU.
        inferer: a SlidingWindow, or any Inferer of MONAI's.
        postprocessing: takes the case with its "pred" (scores on the network's grid) and "image",
            leaves the label map (1, *scan's shape) in "pred" and writes it. Where it holds a
            RestoreLabelsd and the inferer gives slabs, the scores are handed over slab by slab;
            what follows that transform belongs to `finish`.
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
        if self.device.startswith("cuda:"):
            torch.cuda.set_device(
                self.device
            )  # or events, streams and caches would be the first GPU's
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
                if isinstance(cause, _STICKY) and not isinstance(cause, torch.OutOfMemoryError):
                    # the GPU answers nothing but this from now on: the process must end, and take
                    # one case along
                    raise
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
                fatal = _hits_all_cases(error)
                case = _failed(case, error)
        if "error" in case:
            row = {
                "case": row["case"],
                "input": row["input"],
                "status": FAILED,
                "reason": case["error"],
            }
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
            except Exception as error:
                if plain.device.type == "cpu" or not isinstance(
                    root_cause(error), torch.OutOfMemoryError
                ):
                    raise
                # once more, with all but the network in the machine's memory
                torch.cuda.empty_cache()
                slabs = self.inferer.slabs(
                    plain, self.network, region=region, progress=progress, stitch="cpu"
                )
                done = dict(before({**case, "pred": slabs}))
            return {**done, "facts": slabs.facts}
        began = time.perf_counter()
        scores = self.inferer(plain[None], self.network)[0].cpu()
        case["timings"]["forward"] = time.perf_counter() - began
        if not torch.isfinite(scores.sum()):
            raise ScoresError
        return {**case, "pred": scores, "facts": {}}

    def _split(self) -> tuple[Compose, Compose]:
        """The postprocessing up to its RestoreLabelsd, and what comes after."""
        whole = self.postprocessing
        transforms = list(getattr(whole, "transforms", [whole] if whole is not None else []))
        restoring = [
            index for index, step in enumerate(transforms) if isinstance(step, RestoreLabelsd)
        ]
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
        for name, value in (
            ("margin", case.get("pred_margin")),
            ("mirror_agreement", facts.get("mirror_agreement")),
        ):
            row[name] = "" if value is None else f"{value:.3f}"
        for name in ("windows", "windows_skipped"):
            if name in facts:
                row[name] = int(facts[name])
        if "network_seconds" in facts:
            row["network_s"] = f"{facts['network_seconds']:.3f}"
        for volume in volumes:
            row |= {
                f"{volume.name}_voxels": volume.voxels,
                f"{volume.name}_ml": round(volume.ml, 3),
            }
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


def root_cause(error: BaseException) -> BaseException:
    """The first error of a chain of causes."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def reason(error: BaseException) -> str:
    """One line that says why a case failed: our own errors' text, or the type and text of the first cause."""
    ours = user_error(error)
    if ours is not None:
        return " ".join(str(ours).split())
    error = root_cause(error)
    if isinstance(error, ScoresError):
        return f"{error}; try --amp False, or other weights"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return "out of memory: use a smaller window, --device cpu, or a machine with more memory"
    return f"unexpected {type(error).__name__}: " + " ".join(str(error).split())


def shown(files: Any) -> str:
    """A case's input as text: absolute paths, or a DICOM series' folder and UID."""
    several = files if isinstance(files, list | tuple) else [files]
    return ";".join(
        os.path.abspath(path) if isinstance(path, str | Path) else str(path) for path in several
    )


def stamp(files: Any, more: Sequence[str | Path] = ()) -> str:
    """What changes when a case's files do: a hash of their sizes and times; of a DICOM series of its files' names too.

    Args:
        files: a path, several, or a DicomSeries.
        more: other files that decide the mask, such as its region.
    """
    several = list(files) if isinstance(files, list | tuple) else [files]
    told: list[Any] = []
    for source in (*several, *more):
        if isinstance(source, DicomSeries):
            told.append(source.files)
            source = source.archive or next(iter(source.files), source.folder)
        try:
            found = os.stat(source)
            told.append((found.st_size, found.st_mtime_ns))
        except OSError:
            told.append("absent")
    return hashlib.sha256(repr(told).encode(errors="surrogateescape")).hexdigest()[:12]


def _failed(case: Case, error: Exception) -> Case:
    """The case with the reason of its failure and nothing that takes memory."""
    why = reason(error)
    if user_error(error) is None and not isinstance(
        root_cause(error), ScoresError
    ):  # a bug of ours, or of a library: where it happened matters
        logger.error(f"{case['files']['id']}: {why}", exc_info=error)
    return {"files": case["files"], "timings": case.get("timings", {}), "error": why}


def _hits_all_cases(error: Exception) -> bool:
    """Whether nothing can be written any more, which is not this case's fault."""
    ours = user_error(error)
    system = ours.__cause__ if isinstance(ours, OutputError) else None
    return isinstance(system, OSError) and system.errno in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.EIO,
    )


def _notes(case: Case) -> str:
    return str(getattr(case["image"], "meta", {}).get("notes", ""))
