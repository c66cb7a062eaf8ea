"""Watches the GPUs while the agent runs, and tells of those that are no longer given out and of the jobs on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from agent import gpu_health
from agent.board import Board
from agent.gpu_health import Pace
from agent.model.capabilities import Capabilities, Gpu
from agent.probes.gpu import GpuLook

log = logging.getLogger(__name__)

SAMPLE_EVERY = 60.0


class GpuWatch:
    """Looks at GPUs between two probes of the host, and remembers what one probe alone does not show."""

    def __init__(self, look: Callable[[], GpuLook | None], board: Board) -> None:
        """`look` returns None where the GPUs cannot be probed: a probe of the whole host says why."""
        self._look = look
        self._board = board
        self._due_at: float | None = None
        self._paces: dict[str, Pace] = {}
        self._units: dict[str, Gpu] = {}
        self._withdrawn: dict[str, Gpu] = {}
        self._doubted = False

    def finds_change(self, profile: Capabilities, now: float) -> bool:
        """Look once a minute, where there is something to see; say whether the profile does not hold any more."""
        gpus = profile.gpus or ()
        if self._due_at is None or not gpu_health.needs_samples(gpus):
            self._due_at = now + SAMPLE_EVERY
        if now < self._due_at:
            return False
        self._due_at = now + SAMPLE_EVERY
        seen = self._look()
        if seen is None:
            return True
        self._paces = gpu_health.paces(self._paces, seen.slowdowns, now)
        return self._merged(gpus, seen.gpus) != gpus

    def settled(self, before: Capabilities, after: Capabilities) -> Capabilities | None:
        """Return what is to be believed after a probe: with what it did not show of GPUs that were there before.

        None: the driver shows less than before, as it may for a moment. The second time in a row it is believed.
        """
        if after.gpus is None:
            return after
        known = before.gpus or ()
        if gpu_health.is_momentary(known, after.gpus) and not self._doubted:
            self._doubted = True
            log.warning("GPUs are gone or do not answer, looking once more", extra={"event": "gpu-doubt"})
            return None
        self._doubted = False
        return msgspec.structs.replace(after, gpus=self._merged(known, after.gpus))

    def _merged(self, before: tuple[Gpu, ...], after: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
        return gpu_health.without_slow(gpu_health.remembered(before, after), self._paces)

    def tell(self, profile: Capabilities) -> None:
        """Show on the board, and log once, which GPUs are withdrawn and which jobs run on them."""
        gpus = profile.gpus
        if gpus is None:
            return  # nothing is known of them, neither that they are back nor that they are gone
        self._units.update(gpu_health.units_of(gpus))
        before, self._withdrawn = self._withdrawn, _by_part(gpu_health.withdrawn(self._units, gpus))
        for part, gpu in self._withdrawn.items():
            if self._board.problem(part, f"{gpu_health.label(gpu)} is not given out: {gpu.reason}; {gpu.remedy}"):
                details = {"gpu": gpu_health.label(gpu), "reason": gpu.reason}
                log.warning("GPU is withdrawn", extra={"event": "gpu-withdrawn", **details})
        for part in before.keys() - self._withdrawn.keys():
            self._board.problem(part, None)
            log.info("GPU is given out again", extra={"event": "gpu-back", "gpu": gpu_health.label(before[part])})
        self._mark_jobs(gpus)

    def _mark_jobs(self, gpus: tuple[Gpu, ...]) -> None:
        for live in self._board.live():
            attempt = live.attempt
            units = attempt.reserved.gpus if attempt.ending is None else ()
            troubles = filter(None, (gpu_health.trouble_of(unit, self._units, gpus) for unit in units))
            trouble = "; ".join(dict.fromkeys(troubles)) or None
            if self._board.mark(attempt.id, trouble) and trouble is not None:
                details = {"attempt": attempt.id, "reason": trouble}
                log.warning("job runs on a GPU that is withdrawn", extra={"event": "gpu-of-job", **details})


def _by_part(gpus: Iterable[Gpu]) -> dict[str, Gpu]:
    """Return the GPUs by the names that they have among the problems of the board."""
    return {f"gpu {gpu.pci or gpu.uuid or gpu.name}": gpu for gpu in gpus}
