"""The waiters the holder knows: those it forked, those of an earlier holder, and what killed ones left."""

from __future__ import annotations

import os
import signal
from collections import namedtuple

from agent.supervisor import files, processes, protocol, records, sweep, waiter, wakeup
from agent.supervisor.processes import Identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.supervisor.protocol import Spec
    from agent.supervisor.records import Run

LOOK_INTERVAL_S = 1.0
SWEEP_PAUSES_S = (0.02, 1.0)


class Job(namedtuple("Job", "attempt directory waiter pidfd")):
    """A living waiter; `pidfd` only for one that is no child of this holder and whose kernel has pidfds."""

    __slots__ = ()
    attempt: str
    directory: str
    waiter: Identity
    pidfd: int | None


class Jobs:
    """All jobs of one state directory. Needs `collect` after SIGCHLD, `look` after `next_look_s`."""

    def __init__(self, state_dir: str) -> None:
        self._attempts = os.path.join(state_dir, protocol.ATTEMPTS)
        self._own: dict[int, Job] = {}
        self._adopted: dict[int, Job] = {}
        self._lost: list[Run] = []
        self._sweep_pause_s = SWEEP_PAUSES_S[0]

    def __len__(self) -> int:
        return len(self._own) + len(self._adopted) + len(self._lost)

    @property
    def alive(self) -> list[Job]:
        return [*self._own.values(), *self._adopted.values()]

    @property
    def pidfds(self) -> set[int]:
        return {job.pidfd for job in self._adopted.values() if job.pidfd is not None}

    def next_look_s(self) -> float | None:
        """When `look` is due, None while everything that may happen wakes poll()."""
        if self._lost:
            return self._sweep_pause_s
        blind = any(job.pidfd is None for job in self._adopted.values())
        return LOOK_INTERVAL_S if blind else None

    # Starting.

    def start(self, spec: Spec) -> int | None:
        """Fork the waiter; the descriptor on which it says READY or why not, None for a known attempt.

        Raises BadRequest for a directory that is not the attempt's, OSError when a process cannot be made.
        """
        self._check_directory(spec)
        lock = files.try_lock(os.path.join(spec.directory, files.LOCK))
        if lock is None:
            return None
        try:
            if any(files.exists(spec.directory, name) for name in (files.RUN, files.EXIT)):
                return None
            return self._fork(spec, lock)
        finally:
            os.close(lock)

    def _check_directory(self, spec: Spec) -> None:
        expected = os.path.join(self._attempts, spec.attempt)
        if not os.path.isdir(expected) or not os.path.samefile(expected, spec.directory):
            raise protocol.BadRequest(f"spec.directory is {spec.directory!r}, not the existing directory {expected!r}")

    def _fork(self, spec: Spec, lock: int) -> int:
        ready, child_ready = os.pipe()
        wakeup.block_all()
        try:
            pid = os.fork()
            if pid == 0:
                waiter.main(spec, child_ready, lock)
            self._own[pid] = Job(spec.attempt, spec.directory, processes.identify(pid), None)
        except OSError:
            os.close(ready)
            raise
        finally:
            wakeup.unblock_all()
            os.close(child_ready)
        return ready

    # Taking over what an earlier holder left.

    def adopt(self) -> None:
        """Find jobs that run without a holder; end those whose waiter is gone too."""
        for attempt in _directories(self._attempts):
            directory = os.path.join(self._attempts, attempt)
            run = _unfinished(directory)
            if run is not None and run.of_this_boot:
                self._take_over(attempt, directory, run)

    def _take_over(self, attempt: str, directory: str, run: Run) -> None:
        if processes.alive(run.waiter):
            pidfd = processes.open_pidfd(run.waiter)
            self._adopted[run.waiter.pid] = Job(attempt, directory, run.waiter, pidfd)
        else:
            self._lost.append(run)

    # Noticing ends.

    def collect(self) -> None:
        """Reap children. Those that are no waiters are orphans of a killed one."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            job = self._own.pop(pid, None)
            if job is not None:
                self._ended(job)

    def look(self) -> None:
        """Notice ended waiters that are no children, and go on ending jobs that lost theirs."""
        for job in list(self._adopted.values()):
            if not processes.alive(job.waiter):
                del self._adopted[job.waiter.pid]
                if job.pidfd is not None:
                    os.close(job.pidfd)
                self._ended(job)
        self._sweep_lost()

    def _sweep_lost(self) -> None:
        """One round for every job without a waiter, rarer as processes stay that cannot die."""
        self._sweep_pause_s = min(self._sweep_pause_s * 2, SWEEP_PAUSES_S[1])
        self._lost = [run for run in self._lost if not sweep.swept(self._target(run))]

    def _ended(self, job: Job) -> None:
        run = _unfinished(job.directory)
        if run is not None:
            self._lost.append(run)
            self._sweep_pause_s = SWEEP_PAUSES_S[0]

    def _target(self, run: Run) -> sweep.Target:
        return sweep.Target(run.container, run.cgroup, os.getpid(), frozenset(self._own), run.limit_groups)

    # Ending all.

    def stop_all(self, why: str) -> None:
        for job in self.alive:
            _stop(job, why)


def _stop(job: Job, why: str) -> None:
    """The job keeps its own grace, and a reason that was given before."""
    try:
        if not files.exists(job.directory, files.STOP):
            files.write_json(job.directory, files.STOP, {"why": why, "grace_s": None})
    except OSError as error:
        files.complain(f"{job.attempt}: cannot write why it is stopped: {error}")
    processes.send_signal(job.waiter, signal.SIGTERM)


def _unfinished(directory: str) -> Run | None:
    """The run of a job that has no result yet; an unreadable one is of an earlier boot (power cut)."""
    if files.exists(directory, files.EXIT):
        return None
    try:
        return records.read_run(directory)
    except (OSError, ValueError) as error:
        files.complain(f"passed over: {error}")
        return None


def _directories(path: str) -> Iterable[str]:
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return ()
