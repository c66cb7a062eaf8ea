"""Looks how jobs use their GPUs: one source of samples serves all jobs, and none is there while no such job runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection

from agent.attempt import Attempt, State
from agent.board import Board
from agent.errors import Unavailable
from agent.model.gpu_use import GpuUse, Sample
from agent.policy import BackOff
from agent.ports import GpuSamples

log = logging.getLogger(__name__)

IDLE_LOOK = 2.0  # seconds between looks whether a job with GPUs runs
LOOK = 1.0  # seconds between looks for samples
BACK_OFF = BackOff(5.0, 600.0)


class GpuUses:
    """What attempts were seen to use of their GPUs since this agent started. Safe to use from all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: dict[str, GpuUse] = {}

    def of(self, attempt_id: str) -> GpuUse:
        """Return the use of an attempt; empty where nothing was seen."""
        with self._lock:
            return self._uses.get(attempt_id, GpuUse())

    def set(self, attempt_id: str, use: GpuUse) -> None:
        """Remember what an attempt used up to now."""
        with self._lock:
            self._uses[attempt_id] = use

    def keep(self, attempt_ids: Collection[str]) -> None:
        """Forget all other attempts."""
        with self._lock:
            self._uses = {key: use for key, use in self._uses.items() if key in attempt_ids}


class GpuSampling:
    """Adds samples to the use of the attempts that run."""

    def __init__(self, board: Board, samples: GpuSamples, uses: GpuUses) -> None:
        self._board = board
        self._samples = samples
        self._uses = uses
        self._failures = 0
        self._try_at = 0.0

    def step(self, now: float) -> float:
        """Take the samples that have come; end their source when nobody needs it."""
        live = [each.attempt for each in self._board.live()]
        self._uses.keep({attempt.id for attempt in live})
        running = [attempt for attempt in live if _uses_gpus(attempt)]
        if not running:
            self.end()
            return now + IDLE_LOOK
        if now >= self._try_at:
            self._look(running, now)
        return now + LOOK

    def end(self) -> None:
        """End the source of samples."""
        self._samples.end()
        self._failures, self._try_at = 0, 0.0

    def _look(self, running: list[Attempt], now: float) -> None:
        units = sorted({unit for attempt in running for unit in attempt.reserved.gpus})
        try:
            samples = self._samples.read(units)
        except Unavailable as error:
            self._failures += 1
            self._try_at = now + BACK_OFF.delay(self._failures, 0.5)
            tell = log.warning if self._failures == 1 else log.debug
            tell("use of GPUs is not measured", extra={"event": "gpu-sampling-failed", "reason": str(error)})
            return
        if samples:
            self._failures = 0
        for attempt in running:
            for sample in samples:
                self._add(attempt, sample)

    def _add(self, attempt: Attempt, sample: Sample) -> None:
        units = attempt.reserved.gpus
        if all(unit in sample for unit in units):
            looks = [sample[unit] for unit in units]
            use = self._uses.of(attempt.id).plus(looks, lambda pid: self._samples.owner(pid) == attempt.id)
            self._uses.set(attempt.id, use)


def _uses_gpus(attempt: Attempt) -> bool:
    return attempt.state is State.STARTED and bool(attempt.reserved.gpus)
