"""The GpuSamples port over NVML, asked in a child: a driver that hangs or crashes takes only that along."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from agent.adapters.host import nvml_environment
from agent.errors import Unavailable
from agent.model.gpu_use import Sample, UnitSample
from agent.process import Reporter
from agent.supervisor import processes, records
from agent.supervisor.processes import Identity

EVERY = 2.0
PATIENCE = 15.0  # seconds: a busy driver takes some to start, on a Thor even an idle one
COMMAND = (sys.executable, "-m", "agent.nvml_sampling")


class NvmlSamples:
    """See ports.GpuSamples. One child for all units; another one when other units are asked for."""

    def __init__(
        self, state_dir: Path, command: Sequence[str] = COMMAND, every: float = EVERY, patience: float = PATIENCE
    ) -> None:
        """every: seconds between samples; patience: seconds without one until the driver is said to hang."""
        self._attempts = state_dir / "attempts"
        self._command = (*command, f"{every:g}")
        self._patience = patience
        self._units: tuple[str, ...] = ()
        self._child: Reporter | None = None
        self._heard_at = 0.0

    def read(self, units: Sequence[str]) -> Sequence[Sample]:
        """See ports.GpuSamples."""
        if self._units != tuple(units):
            self.end()
        child = self._child or self._start(units)
        over = child.has_ended  # asked before its lines are taken: there are no others after them
        lines = child.take()
        samples = list(map(parse_sample, lines))
        if samples:
            self._heard_at = time.monotonic()
        problem = self._problem(over and not lines, [each for each in samples if isinstance(each, str)])
        if problem is not None:
            self.end()
            raise Unavailable(f"NVML tells nothing of {', '.join(units)}: {problem}; see `edge-agent doctor`")
        return [each for each in samples if not isinstance(each, str)]

    def _problem(self, is_over: bool, errors: Sequence[str]) -> str | None:
        if errors:
            return errors[0]
        if is_over:
            return "the process that asks it ended"
        if time.monotonic() - self._heard_at > self._patience:
            return f"it has not answered for {self._patience:g} s"
        return None

    def _start(self, units: Sequence[str]) -> Reporter:
        self._child = Reporter((*self._command, *units), nvml_environment())
        self._units, self._heard_at = tuple(units), time.monotonic()
        return self._child

    def owner(self, pid: int) -> str | None:
        """See ports.GpuSamples. All processes of a job descend from its waiter, which inherits its orphans."""
        waiters = {waiter: attempt for attempt, waiter in self._waiters()}
        stat = processes.read_stat(pid)
        while stat is not None:
            if stat.identity in waiters:
                return waiters[stat.identity]
            stat = processes.read_stat(stat.ppid) if stat.ppid > 1 else None
        return None

    def _waiters(self) -> Iterable[tuple[str, Identity]]:
        for directory in self._attempts.iterdir() if self._attempts.exists() else ():
            try:
                run = records.read_run(str(directory))
            except (OSError, ValueError):
                continue  # half gone, or after a power cut
            if run is not None and run.of_this_boot:
                yield directory.name, run.waiter

    def end(self) -> None:
        """See ports.GpuSamples."""
        if self._child is not None:
            self._child.end()
        self._child, self._units = None, ()


def parse_sample(line: bytes) -> Sample | str:
    """Return what a line of agent.nvml_sampling says: a sample, or why there is none."""
    try:
        return msgspec.json.decode(line, type=dict[str, UnitSample])
    except msgspec.DecodeError:
        return line.decode(errors="replace").strip()[:200]
