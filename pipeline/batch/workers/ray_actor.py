"""A worker of Ray that computes cases: its weights are loaded once."""

from __future__ import annotations

import pickle
import queue
import threading
from dataclasses import replace
from typing import Any

from ...process_settings import calm_warnings
from .main import forward_logs

Message = tuple[str, str, Any]


class CaseActor:
    """What a process of Ray's does, on whatever machine: CasePipeline, told and asked from afar.

    Args:
        payload: pickled: {"readers", "threads", "processor"}.
        device: "cpu", or "cuda:0", the GPU that Ray lets it see.
    """

    def __init__(self, payload: bytes, device: str) -> None:
        self._said: queue.Queue[Message] = queue.Queue()
        self._pipeline: Any = None
        self._started = threading.Event()
        calm_warnings()
        forward_logs(self._say)
        # one thread for preparing and computing: a GPU is chosen for a thread
        threading.Thread(target=self._work, args=(payload, device), daemon=True).start()

    def tell(self, kind: str, case: Any) -> None:
        """As a worker process is told: ("case", case), ("close", None) or ("stop", None)."""
        self._started.wait()
        if self._pipeline is None:
            return
        if kind == "case":
            self._pipeline.put(case)
        elif kind == "close":
            self._pipeline.close()
        else:
            self._pipeline.stop()

    def heard(self, seconds: float) -> list[Message]:
        """What it has to say; waits for so long if that is nothing."""
        found: list[Message] = []
        try:
            found.append(self._said.get(timeout=seconds))
            while True:
                found.append(self._said.get_nowait())
        except queue.Empty:
            return found

    def _say(self, kind: str, name: str, more: Any) -> None:
        self._said.put((kind, name, more))

    def _work(self, payload: bytes, device: str) -> None:
        from ..pipelined import CasePipeline
        from ..reasons import reason

        try:
            settings = pickle.loads(payload)  # from our own driver
            import torch

            torch.set_num_threads(settings["threads"])
            processor = replace(settings["processor"], device=device)
            processor.prepare()
            self._pipeline = CasePipeline(processor, readers=settings["readers"], report=self._say)
        except Exception as error:
            self._say("broken", "", reason(error))
            return
        finally:
            self._started.set()
        self._say("ready", "", None)
        try:
            self._pipeline.run()
        except Exception as error:
            self._say("broken", "", reason(error))
            return
        self._say("end", "", None)
