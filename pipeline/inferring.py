"""Running a network over cases: one case's failure never stops the others."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from monai.utils.enums import CommonKeys as Keys
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..data.errors import ConfigError, GridgateError
from .case_table import DONE, FAILED, STAGES, CaseTable
from .checkpoints import load_weights
from .overrides import user_error


class CasesFailedError(GridgateError):
    """Some cases could not be done; raised at the very end, when all others are."""


class NetworkOutputError(GridgateError):
    """A network gave numbers that mean nothing."""


class CaseDataset(Dataset[dict[str, Any]]):
    """Cases read and preprocessed one by one; one that fails becomes an item with its "error".

    Args:
        data: items {"id", "image"}, and "label" when evaluating.
        transform: preprocessing; it reads the files.
    """

    def __init__(self, data: Sequence[dict[str, Any]], transform: Callable[[Any], Any]) -> None:
        self.data = list(data)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        item = dict(self.data[index])
        timings: dict[str, float] = {}
        started = time.perf_counter()
        try:
            # the paths stay in "files": the transforms put arrays in the place of "image" and "label"
            done = dict(self.transform({**item, "files": item, "timings": timings}))
        except Exception as error:
            done = {**item, "files": item, "error": reason(error)}
        timings["preprocess"] = time.perf_counter() - started - timings.get("read", 0.0)
        done["timings"] = timings
        return done


def case_loader(dataset: CaseDataset, *, num_workers: int = 0) -> DataLoader[dict[str, Any]]:
    """A loader that hands the cases on as they are, one at a time: grids differ, so nothing can be batched.

    Args:
        num_workers: processes that read ahead; each holds up to two cases.
    """
    return DataLoader(dataset, batch_size=None, num_workers=num_workers, collate_fn=_as_it_is)


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator over single cases, with per-case isolation, resume and cases.csv.

    Own `_iteration`, because MONAI's stops the run at the first error.

    Args:
        table: where each case's outcome is written.
        checkpoint: weights to load when the run starts; None leaves the network as it is.
        overwrite: run cases again that an earlier run has done.
        **options: those of SupervisedEvaluator; `postprocessing` takes the case with its "pred" (C, *spatial) logits
            and "image" on the network's grid, and leaves the label map (1, *scan's shape) in "pred".
    """

    def __init__(
        self,
        *,
        table: CaseTable,
        checkpoint: str | Path | None = None,
        overwrite: bool = False,
        **options: Any,
    ) -> None:
        self.case_postprocessing = options.pop("postprocessing", None)
        super().__init__(decollate=False, **options)
        self.table = table
        self.checkpoint = checkpoint
        self.overwrite = overwrite

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator has it
        """Run all cases that an earlier run has not finished.

        Raises:
            CasesFailedError: some failed; all others are done by then.
            CheckpointError: the weights are missing or of another network; nothing was touched.
            ConfigError: a mask would overwrite a scan or a label file; nothing was touched.
        """
        self._check_outputs()
        if self.checkpoint is not None:
            load_weights(self.network, self.checkpoint)
        self.table.checkpoint = fingerprint(self.checkpoint)
        dataset: CaseDataset = self.data_loader.dataset  # type: ignore[union-attr, assignment]
        everything = dataset.data
        done = self.table.start({item["id"]: _shown(item["image"]) for item in everything}, overwrite=self.overwrite)
        dataset.data = [item for item in everything if item["id"] not in done]
        self.state.epoch_length = len(dataset.data)
        if done:
            self.logger.info(f"{len(done)} of {len(everything)} cases were done before")
        if dataset.data:
            with tqdm(total=len(dataset.data), desc="cases", unit="case") as bar:
                progress = self.add_event_handler(Events.ITERATION_COMPLETED, lambda: bar.update())
                super().run(global_epoch)
                progress.remove()
        dataset.data = everything
        if self.table.failed:
            first = self.table.failed[0]
            raise CasesFailedError(
                f"{len(self.table.failed)} of {len(everything)} cases failed, the others are done; first "
                f"{first['case']}: {first['reason']}\nreasons: {self.table.path}"
            )

    def _check_outputs(self) -> None:
        for item in self.data_loader.dataset.data:  # type: ignore[union-attr]
            images = [item["image"]] if isinstance(item["image"], str) else item["image"]
            sources = {Path(path).resolve() for path in [*images, *filter(None, [item.get("label")])]}
            mask = self.table.folder / f"{item['id']}.nii.gz"
            if mask.resolve() in sources:
                raise ConfigError(f"{mask}: the mask would overwrite this file; give another --output_dir")

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> dict[str, Any]:
        case, started = batchdata, time.perf_counter()
        files, timings = case["files"], case["timings"]
        row: dict[str, Any] = {"case": files["id"], "input": _shown(files["image"])}
        try:
            if "error" in case:
                raise _CaseError(case["error"])
            with torch.inference_mode():
                case = self._segment(case)
            prediction = np.asarray(case[Keys.PRED][0])
            row |= {"output": f"{files['id']}.nii.gz", "status": DONE, "notes": _notes(case[Keys.IMAGE])}
            row |= self._volumes(prediction, case[Keys.IMAGE])
        except Exception as error:
            why = str(error) if isinstance(error, _CaseError) else reason(error)
            if user_error(error) is None and not isinstance(error, _CaseError):
                self.logger.exception(f"{files['id']}: {why}")
            else:
                self.logger.error(f"{files['id']}: {why}")
            row |= {"status": FAILED, "reason": why}
            self.table.discard_stale(files["id"])
        total = time.perf_counter() - started + timings.get("read", 0.0) + timings.get("preprocess", 0.0)
        row |= {f"{stage}_s": f"{timings[stage]:.3f}" for stage in STAGES if stage in timings}
        self.table.add(row | {"total_s": f"{total:.3f}"})
        return {"case": files["id"], "status": row["status"]}

    def _segment(self, case: dict[str, Any]) -> dict[str, Any]:
        started = time.perf_counter()
        image: torch.Tensor = case[Keys.IMAGE]
        plain = image.as_tensor() if isinstance(image, MetaTensor) else image
        with self.mode(self.network):
            logits = self.inferer(plain[None].to(self.state.device), self.network)[0].cpu()
        if not torch.isfinite(logits.sum()):
            raise NetworkOutputError("the network's output is NaN or infinite; try --amp False, or other weights")
        case[Keys.PRED] = logits
        case["timings"]["forward"] = time.perf_counter() - started
        return dict(self.case_postprocessing(case)) if self.case_postprocessing is not None else case

    def _volumes(self, prediction: np.ndarray, image: MetaTensor) -> dict[str, Any]:
        count = np.bincount(prediction.ravel(), minlength=len(self.table.labels))
        voxel_ml = abs(float(np.linalg.det(np.asarray(image.meta["original_affine"])[:3, :3]))) / 1000
        volumes: dict[str, Any] = {}
        for name, voxels in zip(self.table.labels[1:], count[1:], strict=True):
            volumes |= {f"{name}_voxels": int(voxels), f"{name}_ml": round(float(voxels) * voxel_ml, 3)}
        return volumes


class _CaseError(Exception):
    """A reason that is worded already, on its way to the table."""


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


def fingerprint(checkpoint: str | Path | None) -> str:
    """First 12 digits of a checkpoint file's SHA-256, or "untrained" for none."""
    if checkpoint is None:
        return "untrained"
    return hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()[:12]


def _shown(files: str | list[str]) -> str:
    return ";".join(os.path.abspath(path) for path in ([files] if isinstance(files, str) else files))


def _notes(image: Any) -> str:
    return str(getattr(image, "meta", {}).get("notes", ""))


def _as_it_is(item: Any) -> Any:
    return item
