"""A fit, step by step: check, plan, train and evaluate each fold, choose, put together, report."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...data.datasets.fingerprint.measuring import measure_fingerprint
from ...data.datasets.soundness.checking import check_soundness
from ...data.errors import CheckpointError, ConfigError, DatasetError
from ...data.files import is_temporary
from ...data.new_folder import new_folder
from ...data.output_folder import PRIVATE, OutputFolder
from ..batch.evaluator import CasesFailedError
from ..evaluation.results import read_summary
from ..planning.bundle import PlannedBundle, plan_bundle, write_planned
from ..planning.decisions.decision import length
from ..planning.measures.machine import planned_machine
from ..reports.fit_page import FoldRow
from .candidate import Candidate, planned_networks
from .cases import dataset_identity, training_identity, validated_cases
from .choices.masks import TRIED, remove_levels
from .combined import trained_plan, write_combined
from .cross_validation import CrossValidation, compared, cross_validate
from .lengths import Lengths, iterations, step_name, together_name
from .outcome import Outcome, write_outcome
from .record import CHECK, CONTENTS, FAILED, FILE, TRAINED, FitRecord
from .request import FitRequest
from .schedule import evaluation_seconds, first_guess
from .workflows import evaluate, train

logger = logging.getLogger(__name__)

_RUNS = "runs"
_MOST_NAMED = 5  # failed cases


class Fit:
    """A fit in its folder: begun, or gone on with.

    Args:
        request: what is asked for.
        folder: for everything; it becomes the bundle.
    """

    def __init__(self, request: FitRequest, folder: Path) -> None:
        self.request = request
        self.folder = folder
        self.output = OutputFolder(folder)

    def run(self) -> Path:
        """Do what is not done yet.

        Returns:
            The bundle's folder.

        Raises:
            CasesFailedError: some cases could not be measured; the bundle is there.
            ConfigError: another fit is in the folder, or the time is too short.
            DatasetError: the dataset is not sound.
        """
        self._refuse_foreign_folder()
        self.planned = planned_networks(self.request.plans)
        self.cases = validated_cases(self.request.dataset, self.request.folds)
        with self.output:
            of_dataset = self.request.dataset, self.request.folds
            asked = {
                CONTENTS: dataset_identity(*of_dataset),
                TRAINED: training_identity(*of_dataset),
            }
            self.record = FitRecord(self.output, {**self.request.asked(), **asked})
            self._check()
            candidates = self._candidates()
            self.lengths = Lengths(self.request, self.record, candidates)
            self._announce(candidates)
            for candidate in candidates:
                for fold in range(self.request.folds):
                    self._train(candidate, fold)
                    self._evaluate(candidate, fold)
            self._finish(candidates)
        refuse_failed(self.record, self.folder)
        return self.folder

    def _check(self) -> None:
        if self.record.step(CHECK).done:
            return
        with self.record.running(CHECK):
            report = check_soundness(self.request.dataset)
            self.output.write("check.json", lambda stream: stream.write(report.as_json()))
            errors = report.count("error")
            if errors:
                raise DatasetError(
                    f"{self.request.dataset}: {errors} errors; `gridgate check "
                    f"{self.request.dataset}` tells them, and --fix FOLDER mends a copy"
                )
            told = ", ".join(f"{report.count(level)} {level}s" for level in ("warning", "note"))
            logger.info(f"check: {report.cases} cases, no error, {told} (check.json)")

    def _candidates(self) -> list[Candidate]:
        """The networks, each with its bundle."""
        if self.planned:
            return [self._take(name, bundle) for name, bundle in self.planned.items()]
        candidates: list[Candidate] = []
        for name in self.request.networks:
            candidates.append(self._plan(name, candidates))
        return candidates

    def _take(self, name: str, bundle: Path) -> Candidate:
        """A candidate of a bundle that was planned before, which is copied."""
        candidate = self._candidate(name)
        if not self.record.step(f"plan {name}").done:
            with self.record.running(f"plan {name}", network=name):
                if not candidate.bundle.is_dir():
                    with new_folder(candidate.bundle) as work:
                        shutil.copytree(bundle, work, dirs_exist_ok=True)
        return candidate

    def _plan(self, network: str | None, before: Sequence[Candidate]) -> Candidate:
        step = f"plan {network or 'network'}"
        if not self.record.step(step).done:
            with self.record.running(step) as running:
                planned = self._planned(network, before)
                name = str(planned.plan.network["name"])
                bundle = self._candidate(name).bundle
                if not bundle.is_dir():
                    write_planned(planned, bundle)
                running.facts["network"] = name
        return self._candidate(self.record.step(step).facts["network"])

    def _planned(self, network: str | None, before: Sequence[Candidate]) -> PlannedBundle:
        """A plan; in the first one's window where the network takes it, for an ensemble."""
        seconds = first_guess(
            self.request.seconds - self.record.spent,
            len(self.request.networks),
            self.request.folds,
        )
        machine = planned_machine(self.request.device, self.request.memory, "1h")
        fingerprint = measure_fingerprint(self.request.dataset)
        told: dict[str, Any] = {"name": self.folder.resolve().name, "network": network}
        settings = dict(self.request.settings)
        machine = replace(machine, seconds=seconds, iterations=self.request.iterations)
        if before and "roi_size" not in settings:
            window = {"roi_size": before[0].window()}
            try:
                return plan_bundle(fingerprint, machine, settings=settings | window, **told)
            except ConfigError as error:
                logger.info(f"{network}: another window than {before[0].name}'s, as {error}")
        return plan_bundle(fingerprint, machine, settings=settings, **told)

    def _train(self, candidate: Candidate, fold: int) -> None:
        step = step_name("train", candidate.name, fold)
        if self.record.step(step).done:
            return
        settings = self.record.step(step).facts.get("settings")
        if settings is None:
            settings = self.lengths.settings(candidate)
            logger.info(
                f"{candidate.name}, fold {fold + 1} of {self.request.folds}: "
                f"{iterations(settings):,} iterations, about "
                f"{length(self.lengths.seconds(candidate, settings))}"
            )
        with self.record.running(step, settings=settings):
            train(
                candidate.bundle,
                self.request.dataset,
                candidate.training(fold),
                {
                    **settings,
                    **self._of_fold(fold),
                    "seed": self.request.seed,
                    "deterministic": self.request.deterministic,
                    "keep": "last",
                    "patience": 0,  # of a plan: held-out cases decide nothing
                    **self.request.run_settings,
                },
            )

    def _evaluate(self, candidate: Candidate, fold: int) -> None:
        step = step_name("evaluate", candidate.name, fold)
        if self.record.step(step).done:
            return
        settings = self._of_fold(fold)
        settings["keep_largest"] = False  # whether it pays is asked when all folds are there
        plan = trained_plan(candidate.training(fold))
        if plan.smallest_piece is not None:
            settings["smallest_piece"] = None
        if plan.has_thresholds and plan.thresholds is None:
            settings["try_thresholds"] = list(TRIED)
        if self.request.deterministic:  # which engine is the fastest is measured, and may change
            settings["engine"] = "torch"
        if "amp" in self.request.run_settings:
            settings["amp"] = self.request.run_settings["amp"]
        with self.record.running(step) as running:
            failed = evaluate(
                candidate.training(fold),
                self.request.dataset,
                candidate.evaluation(fold),
                settings,
            )
            if failed:
                running.facts[FAILED] = failed
                logger.warning(
                    f"{candidate.evaluation(fold)}: {len(failed)} cases failed and are left out, "
                    f"the fit goes on: {', '.join(sorted(failed))}"
                )

    def _together(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """The candidates' networks as one, fold by fold; None where their plans differ."""
        together = self._candidate(together_name(candidates))
        try:
            for fold in range(self.request.folds):
                if self.record.step(step_name("evaluate", together.name, fold)).done:
                    continue
                members = [one.training(fold) for one in candidates]
                with OutputFolder(together.training(fold)) as output:
                    name = output.folder.resolve().name
                    write_combined(output, members, name=name, keep_largest=False)
                self._evaluate(together, fold)
        except CheckpointError as error:
            logger.info(f"no ensemble of the networks: {error}")
            return None
        return together

    def _finish(self, candidates: Sequence[Candidate]) -> None:
        if not self.record.step("combine").done:
            self._combine(candidates)
        remove_levels(self.folder / _RUNS)

    def _combine(self, candidates: Sequence[Candidate]) -> None:
        members = {one.name: [one] for one in candidates}
        tried = list(candidates)
        if len(candidates) > 1:
            together = self._together(candidates)
            if together is not None:
                tried.append(together)
                members[together.name] = list(candidates)
        with self.record.running("combine"):
            found = [self._cross_validation(one) for one in tried]
            best, said = compared(found)
            self._write(best, members[best.name], said)

    def _cross_validation(self, candidate: Candidate) -> CrossValidation:
        folds = range(self.request.folds)
        plan = trained_plan(candidate.training(0))
        single = self.lengths.candidates
        asked = candidate if candidate in single else single[0]  # several have the first one's plan
        return cross_validate(
            candidate.name,
            plan,
            self.request.dataset,
            [candidate.evaluation(fold) for fold in folds],
            chooses_largest=not asked.holds("keep_largest", plan.keep_largest),
        )

    def _write(
        self,
        best: CrossValidation,
        members: Sequence[Candidate],
        said: Sequence[str],
    ) -> None:
        rows = fold_rows(self.record, self.lengths.candidates)
        names = [one.name for one in members]
        outcome = Outcome(
            best,
            trainings=[one.training(fold) for one in members for fold in range(self.request.folds)],
            dataset=self.request.dataset,
            iterations=[row.iterations for row in rows if row.network in names],
            folds=rows,
            said=said,
            steps=[(name, "", step.seconds) for name, step in self.record.steps.items()],
            record="`fit.json` has what was asked for, and each step's settings and time.",
        )
        write_outcome(outcome, self.output, self.folder.resolve().name)

    def _of_fold(self, fold: int) -> dict[str, Any]:
        told = {} if self.request.device == "auto" else {"device": self.request.device}
        return {"fold": fold, "folds": self.request.folds, **told}

    def _candidate(self, name: str) -> Candidate:
        return Candidate(name, self.folder / _RUNS / name, self.cases, self.request.folds)

    def _announce(self, candidates: Sequence[Candidate]) -> None:
        if any(self.record.step(step_name("train", one.name, 0)).seconds for one in candidates):
            left = max(self.request.seconds - self.record.spent, 0.0)
            logger.info(f"going on; {length(left)} of the time are left")
            return
        for one in candidates:
            settings = self.lengths.settings(one)
            evaluation = evaluation_seconds(self.lengths.pace(one), self.cases, self.request.folds)
            logger.info(
                f"{one.name}: {self.request.folds} trainings of about "
                f"{iterations(settings):,} iterations, "
                f"{length(self.lengths.seconds(one, settings))} each; then each fold's cases, "
                f"{length(evaluation)}"
            )
        logger.info(f"post-processing, bundle and page: {length(self.lengths.ending())}")

    def _refuse_foreign_folder(self) -> None:
        if not self.folder.exists() or (self.folder / FILE).is_file():
            return
        # what a kill during the first write leaves is no file of somebody else
        if not self.folder.is_dir() or any(
            path.name != PRIVATE and not is_temporary(path.name) for path in self.folder.iterdir()
        ):
            raise ConfigError(f"{self.folder} exists already, and holds no fit; give a new folder")


def fold_rows(record: FitRecord, candidates: Sequence[Candidate]) -> list[FoldRow]:
    """Of each training: network, fold, iterations, seconds and its cases' mean Dice."""
    rows = []
    for one in candidates:
        for fold in range(one.folds):
            step = record.step(step_name("train", one.name, fold))
            made = iterations(one.made(fold, step.facts["settings"]))
            dice = read_summary(one.evaluation(fold))["mean"]["dice"]
            rows.append(FoldRow(one.name, fold, made, step.seconds, dice))
    return rows


def refuse_failed(record: FitRecord, folder: Path) -> None:
    """Say at the very end that cases failed in an evaluation, as an evaluation does itself.

    Raises:
        CasesFailedError: some did.
    """
    failed = {
        (name.split()[1], int(name.split()[2]), case): why
        for name, step in record.steps.items()
        for case, why in step.facts.get(FAILED, {}).items()
    }
    if not failed:
        return
    cases = sorted({case for _, _, case in failed})
    where = sorted({folder / _RUNS / network / f"fold_{fold}_cases" for network, fold, _ in failed})
    first, why = next(iter(failed.items()))
    named = ", ".join(cases[:_MOST_NAMED]) + (", ..." if len(cases) > _MOST_NAMED else "")
    raise CasesFailedError(
        f"{folder} is a bundle now, but {len(cases)} cases failed and were not measured: {named}; "
        f"first {first[2]}, of {first[0]}: {why}\nreasons: "
        + ", ".join(str(one / "cases.csv") for one in where)
    )


def fit(request: FitRequest, folder: str | Path) -> Path:
    """From a dataset to a cross-validated bundle; see Fit."""
    return Fit(request, Path(folder)).run()
