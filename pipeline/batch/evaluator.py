"""Running a network over cases: one case's failure never stops the others."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch.utils.data import DataLoader, Dataset

from ...data.errors import ConfigError, GridgateError, OutputError
from ...transforms.region import region_file
from ..models.devices import choose_devices
from ..models.run_weights import Checkpoint, fingerprint, with_weights
from ..output_lock import output_folder
from ..plans.plan import Plan
from .pipelined import CaseLine
from .processor import CaseSteps, read_case, shown, stamp
from .progress import CaseProgress
from .quality import Expectations, check_expectations, look_first
from .results import CaseTable
from .workers.pool import Dealer


class CasesFailedError(GridgateError):
    """Some cases could not be done; raised at the very end, when all others are."""


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
        return read_case(dict(self.data[index]), self.transform)


def case_loader(dataset: CaseDataset, *, num_workers: int = 0) -> DataLoader[dict[str, Any]]:
    """A loader that hands the cases on as they are, one at a time: grids differ, so nothing can be batched.

    For tools that want MONAI's; CaseEvaluator reads ahead by itself.

    Args:
        num_workers: threads that read ahead in CaseEvaluator, 0 counts as 1.
    """
    loader: DataLoader[dict[str, Any]] = DataLoader(dataset, batch_size=None, collate_fn=_as_it_is)
    loader.readers = max(1, num_workers)
    return loader


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator over single cases: overlapped, isolated, resumable, with cases.csv.

    Own `run`, because MONAI's stops at the first error and does one thing at a time. Handlers hear
    STARTED, COMPLETED and, with the case's row in `state.output`, ITERATION_COMPLETED.

    Args:
        device: one, or several ("cuda:0,cuda:1", "cuda" for the first, "all" for every GPU): cases
            are dealt to them.
        table: where each case's outcome is written.
        checkpoint: weights to load when the run starts, several for an ensemble; None leaves the
            network as it is.
        plan: of this run; a checkpoint of another plan is refused.
        overwrite: run cases again that an earlier run has done.
        isolate: compute in worker processes, so that a crash takes one case only; None: where there
            are several cases, several devices, or a time limit.
        time_limit: seconds a case may take; None is no limit. Needs worker processes.
        expected: see quality.Expected.
        passed_over: inputs that are no case, (source, note) each; they get a row too.
        region: see transforms.region.Regiond; a mask that has changed means that the case is not
            done.
        **options: those of SupervisedEvaluator; `postprocessing` as for CaseSteps.
    """

    def __init__(
        self,
        *,
        device: str | torch.device | Sequence[str] = "auto",
        table: CaseTable,
        checkpoint: Checkpoint = None,
        plan: Plan | None = None,
        overwrite: bool = False,
        isolate: bool | None = None,
        time_limit: float | None = None,
        expected: Expectations | None = None,
        passed_over: Sequence[tuple[str, str]] = (),
        region: Any = None,
        **options: Any,
    ) -> None:
        self.case_postprocessing = options.pop("postprocessing", None)
        self.devices = choose_devices(device)
        super().__init__(device=self.devices[0], decollate=False, **options)
        self.table = table
        self.checkpoint = checkpoint
        self.plan = plan
        self.overwrite = overwrite
        self.isolate = isolate
        self.time_limit = time_limit
        self.expected = dict(expected or {})
        self.passed_over = list(passed_over)
        self.region = region
        check_expectations(self.expected, table.labels)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator has it
        """Run all cases that an earlier run has not finished.

        Raises:
            CasesFailedError: some failed; all others are done by then.
            CheckpointError: the weights are missing or of another network; nothing was touched.
            ConfigError: a mask would overwrite a scan or a label, or another run writes there;
                nothing was touched.
            OutputError: the disk is full or the folder cannot be written; the run has stopped
                there.
            KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; what was being written is finished.
        """
        dataset: CaseDataset = self.data_loader.dataset  # type: ignore[union-attr, assignment]
        cases = dataset.data
        self._check_outputs(cases)
        network = with_weights(self.network, self.checkpoint, self.plan)
        self.table.checkpoint = fingerprint(self.checkpoint)
        with output_folder(self.table.folder):
            sources = {item["id"]: (shown(item["image"]), self._stamp(item)) for item in cases}
            done = self.table.start(sources, overwrite=self.overwrite)
            for source, note in self.passed_over:
                self.table.pass_over(source, note)
            todo = [item for item in cases if item["id"] not in done]
            if done:
                self.logger.info(f"{len(done)} of {len(cases)} cases were done before")
            if todo:
                self.fire_event(Events.STARTED)
                with CaseProgress(len(todo)) as progress, _stopped_by_sigterm():
                    self._compute(todo, self._steps(dataset, network), progress)
                self.fire_event(Events.COMPLETED)
        self._close(len(cases))

    def _stamp(self, item: Mapping[str, Any]) -> str:
        region = (
            region_file(Path(self.region), item["id"])
            if isinstance(self.region, str | Path)
            else None
        )
        return stamp(item["image"], [] if region is None else [region])

    def _steps(self, dataset: CaseDataset, network: torch.nn.Module) -> CaseSteps:
        return CaseSteps(
            transform=dataset.transform,
            network=network,
            inferer=self.inferer,
            postprocessing=self.case_postprocessing,
            labels=self.table.labels,
            device=str(self.devices[0]),
            expected=self.expected,
        )

    def _compute(
        self, todo: Sequence[dict[str, Any]], steps: CaseSteps, progress: CaseProgress
    ) -> None:
        lock = threading.Lock()

        def report(kind: str, name: str, more: Any) -> None:
            with lock:
                if kind == "done":
                    self._record(name, more)
                progress.report(kind, name, more)

        readers = getattr(self.data_loader, "readers", 1)
        if self._isolated(len(todo), steps):
            count = min(len(self.devices), len(todo))
            threads = max(1, len(os.sched_getaffinity(0)) // count) if count > 1 else None
            devices = [str(device) for device in self.devices]
            with _scratch(self.table.folder) as scratch:
                Dealer(
                    steps,
                    devices=devices,
                    readers=readers,
                    threads=threads,
                    time_limit=self.time_limit,
                    scratch=scratch,
                    report=report,
                ).run(todo)
            return
        steps.prepare()
        line = CaseLine(steps, readers=readers, report=report)
        for item in todo:
            line.put(item)
        line.close()
        line.run()

    def _isolated(self, cases: int, steps: CaseSteps) -> bool:
        needed = len(self.devices) > 1 or self.time_limit is not None
        if self.isolate is False:
            if needed:
                raise ConfigError(
                    "--isolate False allows one device and no --time_limit; leave it out"
                )
            return False
        if not (self.isolate or needed or cases > 1):
            return False
        try:
            pickle.dumps(steps)
        except Exception as error:
            if self.isolate or needed:
                raise ConfigError(
                    f"worker processes need a config without local functions ({error})"
                ) from error
            self.logger.warning(
                f"computing in this process, as the config cannot be sent to another ({error})"
            )
            return False
        return True

    def _record(self, name: str, row: dict[str, Any]) -> None:
        row = dict(row)
        fatal = row.pop("fatal", False)
        self.table.discard_stale(name)
        self.table.add(row)
        self.state.output = row
        self.fire_event(Events.ITERATION_COMPLETED)
        if fatal:
            raise OutputError(f"{row['reason']}; the run has stopped, start it again to go on")

    def _close(self, count: int) -> None:
        """The end of a run in words: what to look at, and what failed."""
        done = [row for row in self.table.rows if row["status"] == "ok"]
        for row in look_first(done):
            self.logger.info(f"look at {row['case']} first: {row['hints']}")
        if self.table.failed:
            first = self.table.failed[0]
            raise CasesFailedError(
                f"{len(self.table.failed)} of {count} cases failed, the others are done; first "
                f"{first['case']}: {first['reason']}\nreasons: {self.table.path}"
            )

    def _check_outputs(self, cases: Sequence[Mapping[str, Any]]) -> None:
        sources = set()
        for item in cases:
            images = item["image"] if isinstance(item["image"], list | tuple) else [item["image"]]
            sources |= {
                Path(path).resolve()
                for path in (*images, item.get("label"))
                if isinstance(path, str | Path)
            }
        for item in cases:
            mask = self.table.folder / f"{item['id']}.nii.gz"
            if mask.resolve() in sources:
                raise ConfigError(
                    f"{mask}: the mask would overwrite this file; give another --output_dir"
                )


@contextmanager
def _scratch(output: Path) -> Iterator[str]:
    """A temporary folder for a run's workers, of one name for an output folder: the next run removes a killed one's."""
    name = hashlib.sha256(str(output.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"gridgate-{os.getuid()}-{name}"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be made ({error.strerror}); set TMPDIR to another folder"
        ) from error
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """SIGTERM, as a batch system sends before it kills, stops a run as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _as_it_is(item: Any) -> Any:
    return item
