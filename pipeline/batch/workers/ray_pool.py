"""Cases computed by the workers of a Ray cluster, on all its machines."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....data.cores import usable_cores
from ....data.errors import ConfigError
from ....data.extras import module_of_extra
from ...process_settings import set_up_process
from ..case import Case
from .handle import Worker
from .pool import CasePool
from .ray_actor import CaseActor

if TYPE_CHECKING:
    from ..processor import CaseProcessor

logger = logging.getLogger("gridgate.cases")

_LOCAL = "local"
_CORES = 4  # of a worker without a GPU, where the user does not say: more help a network less
_HEARS = 1.0  # seconds that a worker waits for something to say
_STORE = 200_000_000  # bytes of a local cluster's object store, besides the weights


class RayPool(CasePool):
    """Workers of Ray that compute cases, each with a GPU of the cluster, or with some cores.

    A case whose worker dies counts as failed, or is tried once more alone where it is not known
    which case it was, as with worker processes. The machines must see the scans and the output
    folder under the same paths, and have Gridgate installed.

    Args:
        processor: what to do with a case; its `device` is replaced.
        address: "auto", the cluster of this machine or of RAY_ADDRESS; "local", one that is started
            here for the run; else that of a cluster's head.
        cores: of each worker; None: with GPUs a GPU's share of its machine's, else four.
        gpus: whether the cluster's GPUs are used.
        readers, time_limit, report: as of CasePool.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """

    def __init__(
        self,
        processor: CaseProcessor,
        *,
        address: str,
        cores: int | None = None,
        gpus: bool = True,
        readers: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(devices=[], readers=readers, **options)
        self.address = address
        self.cores = cores
        self.gpus = gpus
        self.settings = {"readers": readers, "processor": processor}
        self._shares = Shares(0, 0, 0)
        self._payload: Any = None

    def run(self, cases: Sequence[Case]) -> None:
        """As CasePool's."""
        ray = ray_module()
        size = len(pickle.dumps(self.settings["processor"]))
        with connected(self.address, size):
            self._shares = shares_of(ray.nodes(), cores=self.cores, gpus=self.gpus)
            self._payload = ray.put(pickle.dumps({**self.settings, "threads": self._shares.cores}))
            self.devices = [f"Ray worker {one + 1}" for one in range(self._shares.workers)]
            logger.info(f"Ray: {self._shares}")
            super().run(cases)

    def _worker(self, device: str) -> RayWorker:
        ray = ray_module()
        environment: dict[str, str] = {}
        set_up_process(environment)
        # the driver's paths: a bundle may bring modules of its own
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        actor = ray.remote(CaseActor).options(
            num_cpus=self._shares.cores,
            num_gpus=self._shares.gpus,
            max_concurrency=2,  # it is told, and it is asked
            max_restarts=0,
            runtime_env={"env_vars": environment},
        )
        where = "cuda:0" if self._shares.gpus else "cpu"
        return RayWorker(device, actor=actor.remote(self._payload, where))

    def _wait(self, seconds: float) -> None:
        said = [worker.said for worker in self.workers if not worker.ended]
        if said:
            ray_module().wait(said, timeout=seconds)


@dataclass
class RayWorker(Worker):
    """An actor as the driver sees it.

    Args:
        actor: a handle of a CaseActor.
    """

    actor: Any = None

    def __post_init__(self) -> None:
        self.said = self.actor.heard.remote(_HEARS)
        self._died = ""

    def assign(self, case: Case) -> None:
        """Hand over a case.

        It counts as begun: what a process says last before it dies is lost on the way.
        """
        super().assign(case)
        self.cases[case.id].begun = True

    def tell(self, message: Any) -> None:
        """Send; a worker that is gone is noticed elsewhere."""
        kind, case = message
        self.actor.tell.remote(kind, case)

    def messages(self) -> list[tuple[str, str, Any]]:
        """What it has said since the last time; notes when it is gone."""
        ray = ray_module()
        if self.ended or not ray.wait([self.said], timeout=0)[0]:
            return []
        try:
            found: list[tuple[str, str, Any]] = ray.get(self.said)
        except ray.exceptions.RayError as error:
            self.ended = True
            self._died = _in_a_line(error)
            return []
        self.said = self.actor.heard.remote(_HEARS)
        # one that cannot work says so, and stays: its process is Ray's
        for kind, _, more in found:
            if kind == "broken":
                self._died = str(more)
            self.ended |= kind in ("broken", "end")
        return found

    def kill(self, why: str) -> None:
        """End it at once, if it still runs."""
        if not self.ended:
            self.killed = why
        with suppress(Exception):
            ray_module().kill(self.actor, no_restart=True)
        self.ended = True

    def how_it_ended(self) -> str:
        """What Ray says, or why we killed it."""
        return self.killed or f"its Ray worker died: {self._died or 'no reason is known'}"

    def leave(self) -> None:
        """End it, when the run has ended."""
        self.kill("the run has ended")


@dataclass(frozen=True)
class Shares:
    """How a cluster is shared out.

    Args:
        workers: how many.
        cores, gpus: of each.
    """

    workers: int
    cores: int
    gpus: int

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU" if self.gpus else ""
        return f"{self.workers} workers of {self.cores} cores{gpus} each"


def shares_of(
    nodes: Sequence[Mapping[str, Any]], *, cores: int | None = None, gpus: bool = True
) -> Shares:
    """The workers that a cluster has room for.

    Args:
        nodes: as ray.nodes() tells them.
        cores: of each; None: a GPU's share of the cores of its machine, or four without GPUs.
        gpus: whether GPUs are used; each has one worker.

    Example:
        >>> nodes = [{"Alive": True, "Resources": {"CPU": 16.0, "GPU": 2.0}}]
        >>> print(shares_of(nodes))
        2 workers of 8 cores, 1 GPU each

    Raises:
        ConfigError: no machine has so many cores.
    """
    has = [node["Resources"] for node in nodes if node["Alive"]]
    room = [(int(one.get("CPU", 0)), int(one.get("GPU", 0))) for one in has]
    with_gpu = [(cpu, gpu) for cpu, gpu in room if cpu and gpu] if gpus else []
    if with_gpu:
        each = cores or max(1, min(cpu // gpu for cpu, gpu in with_gpu))
        count = sum(min(gpu, cpu // each) for cpu, gpu in with_gpu)
    else:
        each = cores or max(1, min(_CORES, *(cpu for cpu, _ in room if cpu), _CORES))
        count = sum(cpu // each for cpu, _ in room)
    if not count:
        raise ConfigError(f"--ray_cores {each}: no machine of Ray's cluster has so many")
    return Shares(count, each, 1 if with_gpu else 0)


@contextmanager
def connected(address: str, size: int) -> Iterator[None]:
    """Be a driver of a cluster while the block runs; one that this process has already is taken.

    Args:
        address: see RayPool.
        size: bytes of what each worker needs.

    Raises:
        ConfigError: there is no such cluster.
    """
    ray = ray_module()
    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == _LOCAL:
        options |= {"num_cpus": usable_cores(), "include_dashboard": False}
        options["object_store_memory"] = _STORE + 2 * size
    with _own_sigterm():
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--ray {address}: there is no such cluster ({_in_a_line(error)}); start one by "
                "`ray start --head`, or give --ray local, which starts one here for this run"
            ) from error
    try:
        yield
    finally:
        ray.shutdown()


def ray_module() -> Any:
    """The module.

    Raises:
        ConfigError: it is not installed.
    """
    return module_of_extra("ray", "ray", wanted_by="--ray")


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Ray puts a handler of its own in the place of ours, by which a run stops in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_a_line(error: BaseException) -> str:
    """The start of what Ray says, which is long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(" ".join(lines[:6]).split())[:300]
