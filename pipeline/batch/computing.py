"""Where the cases of a run are computed: in this process, in worker processes, or by Ray."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ...data.cores import usable_cores
from ...data.errors import ConfigError
from .case import Case
from .pipelined import CasePipeline, Report
from .processor import CaseProcessor
from .workers.pool import WorkerPool
from .workers.scratch import scratch_folder

logger = logging.getLogger("gridgate.cases")


@dataclass(frozen=True)
class Computing:
    """Where cases are computed, see CaseEvaluator.

    Args:
        devices: cases are shared between them.
        isolate: in worker processes; None: where there are several cases, a shard, or what needs
            them.
        time_limit: seconds a case may take.
        ray: address of a cluster, see RayPool; None: on this machine.
        ray_cores: of each of Ray's workers.
        gpus: whether Ray's GPUs are used.
        shared_out: they are a shard's: one that crashes must not end it, be it the only one.
    """

    devices: Sequence[torch.device]
    isolate: bool | None = None
    time_limit: float | None = None
    ray: str | None = None
    ray_cores: int | None = None
    gpus: bool = True
    shared_out: bool = False

    def checked(self, check: Callable[[torch.device], str]) -> str:
        """What a check says of a device where cases may be computed.

        Of Ray's GPUs this machine need not have one, and a cluster may have none: it is refused
        only where all are.

        Raises:
            ConfigError: of the check, for each device.
        """
        if self.ray is None or not self.gpus:
            return check(self.devices[0])
        try:
            return check(torch.device("cuda"))
        except ConfigError:
            return check(torch.device("cpu"))

    def run(
        self, cases: Sequence[Case], processor: CaseProcessor, report: Report, *, readers: int
    ) -> None:
        """Do all cases; what becomes of each is reported.

        Args:
            readers: threads that read ahead.

        Raises:
            ConfigError: worker processes are wanted and cannot be.
        """
        if self.ray is not None:
            from .workers.ray_pool import RayPool

            RayPool(
                processor,
                address=self.ray,
                cores=self.ray_cores,
                gpus=self.gpus,
                readers=readers,
                time_limit=self.time_limit,
                report=report,
            ).run(cases)
            return
        if self._isolated(len(cases), processor):
            count = min(len(self.devices), len(cases))
            with scratch_folder() as scratch:
                WorkerPool(
                    processor,
                    devices=[str(device) for device in self.devices],
                    readers=readers,
                    threads=max(1, usable_cores() // count) if count > 1 else None,
                    time_limit=self.time_limit,
                    scratch=str(scratch),
                    report=report,
                ).run(cases)
            return
        processor.prepare()
        pipeline = CasePipeline(processor, readers=readers, report=report)
        for case in cases:
            pipeline.put(case)
        pipeline.close()
        pipeline.run()

    def _isolated(self, cases: int, processor: CaseProcessor) -> bool:
        """Whether to compute in worker processes."""
        needed = len(self.devices) > 1 or self.time_limit is not None
        if self.isolate is False:
            if needed:
                raise ConfigError(
                    "--isolate False allows one device and no --time_limit; leave it out"
                )
            return False
        if not (self.isolate or needed or cases > 1 or self.shared_out):
            return False
        why = None
        if os.name != "posix":
            why = "worker processes need Linux or macOS"
        else:
            try:
                pickle.dumps(processor)
            except Exception as error:
                why = f"worker processes need a config without local functions ({error})"
        if why is not None and (self.isolate or needed):
            raise ConfigError(why)
        if why is not None:
            logger.warning(f"computing in this process: {why}")
        return why is None
