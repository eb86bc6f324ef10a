"""The shards of a run as jobs: a job array of SLURM's, or processes of this machine."""

from __future__ import annotations

import logging
import os
import runpy
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...data.errors import ConfigError, GridgateError
from ...data.extras import module_of_extra

logger = logging.getLogger(__name__)

JOBS = "jobs"
"""The folder in the output folder that holds the jobs' logs."""
_ASKS = 2.0  # seconds between two looks at the jobs
_APPEARS = 10.0  # seconds until what a job has written is seen on other machines
_TELLS = 30.0  # seconds between two lines about them
_A_WEEK = 7 * 24 * 60  # minutes; submitit's own default ends a local job after five


@dataclass(frozen=True)
class JobOptions:
    """What each job is given.

    Args:
        executor: "slurm", or "local" for processes of this machine.
        minutes: after which a job is ended; None: what SLURM has for that.
        gpus, cpus: of each job.
        memory_gb: of each job.
        at_once: jobs that run at the same time at the most.
        more: other parameters of submitit for SLURM, such as partition, account or qos.
    """

    executor: Literal["slurm", "local"] = "slurm"
    minutes: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory_gb: float | None = None
    at_once: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """As submitit's AutoExecutor takes them; None is left to it."""
        minutes = _A_WEEK if self.executor == "local" and self.minutes is None else self.minutes
        wanted = {
            "name": "gridgate",
            "timeout_min": minutes,
            "gpus_per_node": self.gpus,
            "cpus_per_task": self.cpus,
            "mem_gb": self.memory_gb,
            "slurm_array_parallelism": self.at_once,
            **{f"slurm_{name}": value for name, value in self.more.items()},
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class ShardJob:
    """One shard as submitit runs it: the command, in a process of its own.

    Args:
        words: of the command line, after `gridgate`.
        threads: of PyTorch; None: as many as the job has cores.
    """

    words: tuple[str, ...]
    threads: int | None = None

    def __call__(self) -> None:
        """Run the command.

        Raises:
            RuntimeError: it ended with another code than 0; what it said is in the job's log.
        """
        if self.threads is not None:
            os.environ.setdefault("OMP_NUM_THREADS", str(self.threads))
        code: object = 0
        before, sys.argv = sys.argv, ["gridgate", *self.words]
        try:
            runpy.run_module("gridgate", run_name="__main__")
        except SystemExit as end:
            code = end.code
        finally:
            sys.argv = before
        if code:
            raise RuntimeError(f"gridgate {self.words[0]} ended with code {code}, see the log")

    def checkpoint(self) -> Any:
        """What submitit starts again when the job is preempted or its time is up: the same."""
        return submitit_module().helpers.DelayedSubmission(self)


def submit(words: Sequence[str], shards: int, output: Path, options: JobOptions) -> list[Any]:
    """Submit a job for each shard; submitit's jobs.

    Args:
        words: the command line without `gridgate` and `--shard`.
        shards: how many.
        output: the run's folder; logs go to its folder `jobs`.
        options: of the jobs.

    Raises:
        ConfigError: submitit is not installed, there is no SLURM here, or a parameter is unknown.
    """
    submitit = submitit_module()
    from ...data.cores import usable_cores

    local = options.executor == "local"
    threads = max(1, usable_cores() // shards) if local and options.cpus is None else options.cpus
    numbers = [f"{number}/{shards}" for number in range(1, shards + 1)] if shards > 1 else ["null"]
    try:
        executor = submitit.AutoExecutor(folder=output / JOBS, cluster=options.executor)
        executor.update_parameters(**options.parameters())
        with executor.batch():
            jobs = [
                executor.submit(ShardJob((*words, "--shard", number), threads))
                for number in numbers
            ]
    except (RuntimeError, NameError, AssertionError, ValueError, OSError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"--executor {options.executor}: {why}") from error
    return list(jobs)


@dataclass(frozen=True)
class Ended:
    """What became of jobs.

    Args:
        failed: why, of each that ended with an error.
        lost: numbers of those that ended without a word: killed, out of memory, a machine gone.
    """

    failed: Sequence[str]
    lost: Sequence[str]


def wait_for(jobs: Sequence[Any], output: Path, *, local: bool) -> Ended:
    """Wait until all jobs have ended.

    How far the shards are is said every half minute.

    Args:
        local: they are processes of this machine, which can be asked often.
    """
    said, told = time.monotonic(), ""
    while not all(job.done(force_check=local) for job in jobs):
        time.sleep(_ASKS)
        if time.monotonic() - said > _TELLS:
            said, before, told = time.monotonic(), told, _standing(output)
            if told not in ("", before):
                logger.info(told)
    until = time.monotonic() + _APPEARS
    failed, lost = [], []
    for job in jobs:
        while not job.paths.result_pickle.exists() and time.monotonic() < until:
            time.sleep(0.1)
        if not job.paths.result_pickle.exists():
            lost.append(str(job.job_id))
        elif (error := job.exception()) is not None:
            last = [line for line in str(error).splitlines() if line.strip()]
            failed.append(f"job {job.job_id}: {last[-1] if last else error}")
    return Ended(failed, lost)


def submitit_module() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed.
    """
    return module_of_extra("submitit", "slurm", wanted_by="gridgate submit")


def _standing(output: Path) -> str:
    from ...data.shared_folder import SharedFolder
    from ..batch.shards.standing import standing

    folder = SharedFolder(output)
    if not folder.records.is_dir():
        return "no shard has begun"
    try:
        with folder, folder.gate():
            return str(standing(folder) or "no shard has begun")
    except GridgateError:  # it may be said later
        return ""
