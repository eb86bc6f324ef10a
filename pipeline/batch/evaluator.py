"""Running a network over cases: one case's failure never stops the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator

from ...data.errors import ConfigError, GridgateError, OutputError
from ...data.events import emit
from ...data.output_folder import OutputFolder
from ...data.walk import PassedOver
from ...transforms.region import region_file
from ..models.devices import choose_devices
from ..models.run_weights import Checkpoint, weights_fingerprint, with_weights
from ..plans.plan import Plan
from .case import Case
from .case_dataset import CaseDataset
from .computing import Computing
from .processor import CaseProcessor, in_two_parts
from .progress import CaseProgress
from .results.case_result import DONE, FAILED, CaseResult
from .results.case_table import CaseTable
from .results.label_files import LabelFiles
from .results.page_file import remove_page
from .results.quality import Expectations, check_expectations, look_first
from .shards.record import Round
from .shards.session import ShardSession
from .shards.shard import Shard, chosen_shard, from_slurm
from .shards.standing import standing
from .shards.tables import ShardTable, fold, records_of
from .targets import Targets
from .workers.process import stopped_by_sigterm

logger = logging.getLogger("gridgate.cases")

_FIRED = (
    Events.STARTED,
    Events.EPOCH_STARTED,
    Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED,
    Events.COMPLETED,
    Events.EXCEPTION_RAISED,
)


_HINTS_SAID = 3


class CasesFailedError(GridgateError):
    """Some cases could not be done; raised at the very end, when all others are."""


class CaseEvaluator(SupervisedEvaluator):
    """MONAI's SupervisedEvaluator over single cases: overlapped, resumable, with cases.csv.

    Own `run`, because MONAI's stops at the first error and does one thing at a time. Handlers are
    called on STARTED, EPOCH_STARTED, ITERATION_COMPLETED (with the case's row in `state.output`),
    EPOCH_COMPLETED, COMPLETED and EXCEPTION_RAISED. Handlers on other events, such as MONAI's
    FORWARD_COMPLETED, are refused: the network may run in another process, and its scores never
    exist as a whole.

    Args:
        device: one, or several ("cuda:0,cuda:1", "cuda" for the first, "all" for every GPU): cases
            are shared between them.
        table: where each case's outcome is written.
        checkpoint: weights to load when the run starts, several for an ensemble; None leaves the
            network as it is.
        plan: of this run; a checkpoint of another plan is refused.
        overwrite: run cases again that an earlier run has done.
        isolate: compute in worker processes, so that a crash takes one case only; None: where there
            are several cases, several devices, or a time limit.
        time_limit: seconds a case may take; None is no limit. Needs worker processes.
        expected: see quality.Expected.
        passed_over: inputs that are no case; they get a row too.
        region: see transforms.region.Regiond; a mask that has changed means that the case is not
            done.
        page: called with the output folder when all cases are through.
        shard: which part of the cases to do, "2/4", beside processes that do the others; "auto" is
            the place in SLURM's job array, where there is one; None is all. `table` is a ShardTable
            then.
        ray, ray_cores: compute on a cluster of Ray's, see RayPool; its GPUs are used unless
            `device` is "cpu".
        **options: those of SupervisedEvaluator but for metrics; `postprocessing` as for
            CaseProcessor.

    Raises:
        ConfigError: metrics of MONAI's or Ignite's, which need scores and labels in memory.
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
        passed_over: Sequence[PassedOver] = (),
        region: Any = None,
        page: Callable[[OutputFolder], object] | None = None,
        shard: str | Shard | None = None,
        ray: str | None = None,
        ray_cores: int | None = None,
        **options: Any,
    ) -> None:
        for name in ("key_val_metric", "additional_metrics"):
            if options.get(name):
                raise ConfigError(
                    f"{name}: cases are measured from their files; use the evaluating workflow"
                )
        self.case_postprocessing = in_two_parts(options.pop("postprocessing", None))
        self.devices = choose_devices(device)
        super().__init__(device=self.devices[0], decollate=False, **options)
        dataset: CaseDataset = self.data_loader.dataset  # type: ignore[union-attr, assignment]
        self.shard = chosen_shard(shard, cases=len(dataset))
        self._from_slurm = from_slurm(shard)
        self.table = table if self.shard is None else ShardTable(table, self.shard)
        self._session: ShardSession | None = None
        self.after_each_shard: Callable[[], object] | None = None
        self.after_all_shards: Callable[[], object] = self._write_page
        self.checkpoint = checkpoint
        self.plan = plan
        self.overwrite = overwrite
        self._computing = Computing(
            self.devices,
            isolate,
            time_limit,
            ray,
            ray_cores,
            gpus=device != "cpu",
            shared_out=self.shard is not None,
        )
        self.expected = dict(expected or {})
        self.passed_over = [(one.source, one.note) for one in passed_over]
        self.region = region
        self.page = page
        check_expectations(self.expected, table.labels)

    def run(self, global_epoch: int = 1) -> None:  # type: ignore[override]  # as MONAI's Evaluator has it
        """Run all cases that an earlier run has not finished.

        Raises:
            CasesFailedError: some failed; all others are done by then.
            CheckpointError: the weights are missing or of another network; nothing was touched.
            ConfigError: a mask would overwrite a scan or a label, or another run writes there, or
                the engine cannot run this network; nothing was touched.
            OutputError: the disk is full or the folder cannot be written; the run has stopped
                there.
            KeyboardInterrupt: stopped by Ctrl-C or SIGTERM; what was being written is finished.
        """
        self._check_handlers()
        dataset: CaseDataset = self.data_loader.dataset  # type: ignore[union-attr, assignment]
        cases = [Case.of(item) for item in dataset.data]
        self._targets.refuse_overwriting_inputs(cases)
        network = with_weights(self.network, self.checkpoint, self.plan)
        self.table.checkpoint = weights_fingerprint(self.checkpoint)
        if hasattr(self.inferer, "check_engine"):
            self.table.checkpoint += self._computing.checked(
                partial(self.inferer.check_engine, network)
            )
        self.state.iteration = 0
        processor = self._processor(dataset, network)
        with self.table.output:
            if self.shard is not None and isinstance(self.table, ShardTable):
                count = self._run_shard(cases, processor, self.table, self.shard)
            else:
                fold(self.table.output)  # shards' tables, which are done with now
                Round.remove(records_of(self.table.output))
                self._run(self._start(cases), processor)
                self._write_page()
                count = len(cases)
        self._close(count)

    def _run_shard(
        self, cases: Sequence[Case], processor: CaseProcessor, table: ShardTable, shard: Shard
    ) -> int:
        """Do a shard's cases, and those that others have died with; how many these were."""

        def sources(some: Sequence[Case]) -> dict[str, tuple[str, str]]:
            return {case.id: (case.source, self._stamp(case)) for case in some}

        def fails(case: Case, why: str) -> None:
            self._record(CaseResult(case.id, case.source, FAILED, reason=why))

        if self._from_slurm:
            logger.info(
                f"shard {shard}, from SLURM_ARRAY_TASK_ID; --shard null runs all cases instead"
            )
        with ShardSession(table, shard, sources=sources, fails=fails) as session:
            self._session = session
            todo = session.begin(cases, self._start)
            while todo is not None:
                for some in todo:
                    self._run(some, processor)
                if self.after_each_shard is not None:
                    self.after_each_shard()
                todo = session.more(self.after_all_shards) or None
            with table.shared.gate():
                found = standing(table.shared)
            logger.info(f"shard {shard} is through; {found}")
            if self._from_slurm and found is not None and found.lonely:
                logger.warning(
                    "no other shard has begun; where SLURM's array is about something else than "
                    "these cases, --shard null does them all"
                )
            return session.count

    def _write_page(self) -> None:
        if self.page is not None:
            self.page(self.table.output)

    def _start(self, cases: Sequence[Case]) -> list[Case]:
        """Begin the table; the cases that are not done."""
        todo = self._todo(cases)
        remove_page(self.table.output)  # the tables change now
        self._label_files().write()
        return todo

    def _todo(self, cases: Sequence[Case]) -> list[Case]:
        """The cases that are not done; refuses to start where results would overwrite others'."""

        def check(done: set[str]) -> None:
            self._targets.refuse_foreign([case for case in cases if case.id not in done])
            self._label_files().refuse_foreign()

        done = self.table.start(
            {case.id: (case.source, self._stamp(case)) for case in cases},
            overwrite=self.overwrite,
            passed_over=self.passed_over,
            check=check,
        )
        if done:
            logger.info(f"{len(done)} of {len(cases)} cases were done before")
        return [case for case in cases if case.id not in done]

    def _run(self, todo: Sequence[Case], processor: CaseProcessor) -> None:
        if not todo:
            return
        self.state.epoch = 1
        self.fire_event(Events.STARTED)
        self.fire_event(Events.EPOCH_STARTED)
        try:
            with CaseProgress(len(todo)) as progress, stopped_by_sigterm():
                self._compute(todo, processor, progress)
        except Exception as error:
            if self.has_event_handler(Events.EXCEPTION_RAISED):
                self._fire_event(Events.EXCEPTION_RAISED, error)
            raise
        self.fire_event(Events.EPOCH_COMPLETED)
        self.fire_event(Events.COMPLETED)

    def _stamp(self, case: Case) -> str:
        if not isinstance(self.region, str | Path):
            return case.stamp()
        region = region_file(Path(self.region), case.id)
        return case.stamp([] if region is None else [region])

    def _processor(self, dataset: CaseDataset, network: torch.nn.Module) -> CaseProcessor:
        return CaseProcessor(
            transform=dataset.transform,
            network=network,
            inferer=self.inferer,
            postprocessing=self.case_postprocessing,
            labels=self.table.labels,
            output_dir=self.table.folder,
            device=str(self.devices[0]),
            expected=self.expected,
        )

    def _compute(
        self, todo: Sequence[Case], processor: CaseProcessor, progress: CaseProgress
    ) -> None:
        lock = threading.Lock()

        def report(kind: str, name: str, more: Any) -> None:
            if self._session is not None:
                self._session.hears(kind, name)
            with lock:
                if kind == "done":
                    self._record(more)
                progress.report(kind, name, more)

        usable = []
        for case in todo:
            if (why := self._targets.why_unsafe(case)) is None:
                usable.append(case)
            else:
                report("done", case.id, CaseResult(case.id, case.source, FAILED, reason=why))
        if usable:
            self._computing.run(usable, processor, report, readers=self._readers)

    @property
    def _readers(self) -> int:
        return int(getattr(self.data_loader, "readers", 1))

    def _record(self, result: CaseResult) -> None:
        if result.status == DONE:
            try:
                self.table.remove_stale(result.case, result.output)
            except OutputError as error:  # the mask is there; what is left of before can be told
                result.notes = "; ".join(filter(None, (result.notes, str(error))))
                logger.warning(str(error))
        elif (mask := self.table.kept_mask(result.case)) is not None:
            kept = f"{mask} is kept from an earlier run"
            result.notes = "; ".join(filter(None, (result.notes, kept)))
        row = result.row()
        self.table.add(row)
        if result.status == FAILED:
            logging.getLogger("gridgate.failed").error(f"{result.case}: {result.reason}")
        emit(
            "case",
            **{name: row[name] for name in ("case", "input", "output", "status", "reason")},
            hints=list(result.hints),
            seconds=float(row["total_s"]),
        )
        self.state.output, self.state.iteration = row, self.state.iteration + 1
        self.fire_event(Events.ITERATION_COMPLETED)
        if result.stops_the_run:
            raise OutputError(f"{result.reason}; the run has stopped, start it again to go on")

    def _close(self, count: int) -> None:
        """The end of a run in words: what to look at, and what failed."""
        done = [row for row in self.table.rows if row["status"] == DONE]
        for row in look_first(done):
            logger.info(f"look at {row['case']} first: {_first_hints(row['hints'])}")
        emit(
            "cases",
            cases=count,
            ok=len(done),
            failed=len(self.table.failed),
            before=count - self.state.iteration,
            passed_over=len(self.passed_over),
            output=str(self.table.folder),
            table=str(self.table.whole_table),
        )
        if self.table.failed:
            first = self.table.failed[0]
            raise CasesFailedError(
                f"{len(self.table.failed)} of {count} cases failed, the others are done; first "
                f"{first['case']}: {first['reason']}\nreasons: {self.table.whole_table}"
                + (", brought up to date by gridgate merge" if self.shard is not None else "")
            )

    def _check_handlers(self) -> None:
        called = {event.name for event in _FIRED}
        for event, handlers in self._event_handlers.items():
            name = getattr(event, "name", str(event))
            if handlers and name not in called:
                raise ConfigError(
                    f"a handler waits for the event {name}, which CaseEvaluator does not have; use "
                    f"one of {', '.join(sorted(called))}"
                )

    @property
    def _targets(self) -> Targets:
        return Targets(self.case_postprocessing, self.table.output)

    def _label_files(self) -> LabelFiles:
        return LabelFiles.beside_masks(self.case_postprocessing, self.table, self.plan)


def _first_hints(hints: str) -> str:
    first, rest = hints.split("; ")[:_HINTS_SAID], hints.split("; ")[_HINTS_SAID:]
    return "; ".join(first) + (f"; and {len(rest)} more" if rest else "")
