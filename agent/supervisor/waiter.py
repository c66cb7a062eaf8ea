"""The waiter: one process per attempt that outlives agent and holder, and writes down how the job ended.

It writes `run.json` before anything of the job runs, the job's output to `log`, and `exit.json` once no
process of the job is left. It obeys SIGTERM (reason and grace are in `stop.json`) and the job's own deadline.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time

from agent.supervisor import cgroups, files, ladder, launch, limits, processes, sweep, usage
from agent.supervisor.joblog import JobLog
from agent.supervisor.wakeup import Wakeup
from agent.supervisor.watch import DISK, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from agent.supervisor.ladder import Ladder
    from agent.supervisor.protocol import Spec

READY = b"ready"
# The start of a container is work for several CPUs, but one that never says that it is over is not left alone.
FREE_START_S = 10.0
# poll() measures time without suspension, deadlines with it: look at the clock this often, at least.
LONGEST_SLEEP_S = 60.0
SWEEP_PAUSES_S = (0.005, 1.0)
RETRY_PAUSES_S = (0.5, 60.0)
SWEEP_COMPLAINT_S = 30.0


def boottime() -> float:
    """Seconds since boot, suspension included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def main(spec: Spec, ready: int, lock: int) -> NoReturn:
    """Run in the fork made by the holder, with all signals blocked; tells `ready` READY or why it failed.

    `lock` is held as long as this process lives. Nothing here returns into the holder's code.
    """
    status = 1
    try:
        _leave_holder(keep={0, 1, 2, ready, lock})
        waiter = _start(spec, ready)
        if waiter is not None:
            waiter.run()
            status = 0
    finally:
        if sys.exc_info()[0] is not None:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def _leave_holder(keep: set[int]) -> None:
    os.setsid()
    _close_others(keep)
    processes.set_name("edge-waiter")
    processes.become_subreaper()


def _close_others(keep: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):  # the listing's own descriptor is gone by now
                os.close(int(name))


def _start(spec: Spec, ready: int) -> Waiter | None:
    try:
        waiter = Waiter(spec)
    except (OSError, ValueError) as error:
        _undo(spec, ready)
        os.write(ready, f"cannot start {spec.attempt}: {error}".encode("utf-8", "replace"))
        return None
    with contextlib.suppress(BrokenPipeError):  # the holder is gone; the run is recorded, so the job goes on
        os.write(ready, READY)
    os.close(ready)
    return waiter


def _undo(spec: Spec, ready: int) -> None:
    """Leave nothing of a start that failed: no gated child, no cgroup, and no lock, so that it can be repeated."""
    signal.set_wakeup_fd(-1)
    _close_others(keep={0, 1, 2, ready})
    with contextlib.suppress(ChildProcessError):
        os.waitpid(-1, 0)
    for group in (spec.cgroup, *spec.limits.groups.values()):
        if group is not None:
            cgroups.remove(group)


class Waiter:
    """One attempt from fork to exit.json. Raises OSError when it cannot be started or recorded."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._marker = _open_marker(spec)
        for group in (spec.cgroup, *spec.limits.groups.values()):
            if group is not None:
                cgroups.create(group)
        held = limits.impose(spec.cgroup, spec.limits)
        self._child = launch.fork_child(spec)
        self._wakeup = Wakeup((signal.SIGTERM, signal.SIGCHLD))
        groups = tuple(spec.limits.groups.values())
        self._target = sweep.Target(self._child.process, spec.cgroup, os.getpid(), groups=groups)
        self._log = JobLog(os.path.join(spec.directory, files.LOG), self._child.output, spec.log_limit_bytes)
        self._started_at, self._began = time.time(), boottime()
        self._ladder: Ladder | None = None
        self._watch = Watch(spec, self._target, held, self._began)
        self._throttle_at: float | None = self._began + FREE_START_S if spec.marker else self._began
        self._marked = False
        self._ended = False
        self._oom = False
        self._counted = usage.Counted()
        self._launched = False
        self._error: str | None = None
        self._poll = self._watched()
        files.write_json(spec.directory, files.RUN, self._run_record(), durable=False)

    def run(self) -> None:
        launch.release(self._child)
        self._sync_run()
        while not self._ended:
            self._turn()
        self._sweep()
        self._write_exit(self._result())

    def _sync_run(self) -> None:
        """For the next boot only, and done while the job starts already."""
        try:
            files.sync(self._spec.directory, files.RUN)
        except OSError as error:
            self._complain(f"its run may be forgotten by a power cut: {error}")

    def _watched(self) -> select.poll:
        poll = select.poll()
        poll.register(self._wakeup.fd, select.POLLIN)
        poll.register(self._log.source, select.POLLIN)
        poll.register(self._child.failure, select.POLLIN)
        if self._marker is not None:
            poll.register(self._marker, select.POLLIN)
        return poll

    def _run_record(self) -> dict[str, Any]:
        return {
            "attempt": self._spec.attempt,
            "boot_id": processes.boot_id(),
            "waiter": processes.identify(os.getpid())._asdict(),
            "container": self._child.process._asdict(),
            "cgroup": self._spec.cgroup,
            "started_at": self._started_at,
            "log": os.path.join(self._spec.directory, files.LOG),
            "limit_groups": list(self._target.groups),
        }

    # One turn: wait until something happens, then look at everything that may have.

    def _turn(self) -> None:
        for fd, _ in self._poll.poll(self._sleep_ms()):
            if fd == self._wakeup.fd:
                self._take_signals()
            elif fd == self._log.source:
                self._take_output()
            elif fd == self._child.failure:
                self._take_failure()
            else:
                self._take_marker()
        if not self._ended:
            self._check_time(boottime())

    def _sleep_ms(self) -> float | None:
        looks = (self._deadline(), self._watch.next_look(), self._throttle_at)
        due = [at for at in looks if at is not None]
        if not due:
            return None
        return max(0.0, min(min(due) - boottime(), LONGEST_SLEEP_S)) * 1000 + 1

    def _deadline(self) -> float | None:
        if self._ladder is not None:
            return ladder.next_due(self._ladder)
        return None if self._spec.timeout_s is None else self._began + self._spec.timeout_s

    def _take_signals(self) -> None:
        if signal.SIGTERM in self._wakeup.take():
            self._stop(*self._stop_request())
        self._reap()

    def _take_output(self) -> None:
        self._log.copy()
        if self._log.ended:
            self._poll.unregister(self._log.source)

    def _take_failure(self) -> None:
        """Learn once whether the job could be executed."""
        if not self._launched:
            self._launched = True
            self._poll.unregister(self._child.failure)
            self._error = launch.failure_of(self._child)

    def _take_marker(self) -> None:
        """The first byte says that the container is up; it cannot be taken back."""
        if self._marker is not None and not self._marked and _has_byte(self._marker):
            self._marked = True
            self._poll.unregister(self._marker)
            self._throttle()

    def _throttle(self) -> None:
        """Limit CPU time, once."""
        self._throttle_at = None
        try:
            limits.throttle(self._spec.cgroup, self._spec.limits)
        except OSError as error:
            self._complain(str(error))

    def _reap(self) -> None:
        """Collect orphans; the container itself stays unreaped, so that nobody reuses its pid or session."""
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None:
                return
            if found.si_pid == self._child.process.pid:
                self._ended = True
                return
            os.waitpid(found.si_pid, 0)

    # Stopping.

    def _stop_request(self) -> tuple[str, float]:
        try:
            request = files.read_json(self._spec.directory, files.STOP) or {}
        except (OSError, ValueError) as error:
            self._complain(f"stopped without knowing why: {error}")
            request = {}
        why, grace = request.get("why"), request.get("grace_s")
        return (
            why if isinstance(why, str) else "stopped",
            float(grace) if isinstance(grace, (int, float)) else self._spec.grace_s,
        )

    def _stop(self, why: str, grace_s: float) -> None:
        self._ladder = ladder.joined(self._ladder, why, grace_s, boottime())

    def _check_time(self, now: float) -> None:
        timeout = self._spec.timeout_s
        if self._ladder is None and timeout is not None and now >= self._began + timeout:
            self._stop("timeout", self._spec.grace_s)
        if self._throttle_at is not None and now >= self._throttle_at:
            self._throttle()
        over = self._watch.look(now)
        if over is not None:
            self._stop(over, 0)
        if self._ladder is not None:
            self._climb(self._ladder, now)

    def _climb(self, stop: Ladder, now: float) -> None:
        step = ladder.due(stop, now)
        if step == ladder.KILL:
            sweep.kill(self._target)
            self._ladder = stop._replace(kill_at=now + SWEEP_PAUSES_S[1], term_at=now + SWEEP_PAUSES_S[1])
        elif step == ladder.TERM:
            processes.send_signal(self._child.process, signal.SIGTERM)
            self._ladder = ladder.after_term(stop, now)

    # The end.

    def _sweep(self) -> None:
        """Kill whatever the job left, until nothing is left; its cgroup goes with it, so ask that first."""
        self._oom = limits.oom_kills(self._spec.cgroup, self._spec.limits) > 0
        self._counted = usage.of_groups(self._spec.cgroup, self._spec.limits.groups)
        pause, longest = SWEEP_PAUSES_S
        complain_at = boottime() + SWEEP_COMPLAINT_S
        while not sweep.swept(self._target):
            self._reap_orphans()
            self._wakeup.wait(pause)
            pause = min(pause * 2, longest)
            if boottime() >= complain_at:
                complain_at = float("inf")
                self._complain(f"processes do not die: {sweep.kill(self._target)}")
        self._reap_orphans()
        self._log.drain()
        self._take_failure()
        self._take_marker()

    def _complain(self, what: str) -> None:
        files.complain(f"{self._spec.attempt}: {what}")

    def _reap_orphans(self) -> None:
        for stat in processes.scan():
            if stat.ppid == os.getpid() and stat.dead and stat.pid != self._child.process.pid:
                os.waitpid(stat.pid, 0)

    def _result(self) -> dict[str, Any]:
        _, status = os.waitpid(self._child.process.pid, 0)
        self._log.close()
        reaped, elapsed_s = resource.getrusage(resource.RUSAGE_CHILDREN), boottime() - self._began
        return {
            "attempt": self._spec.attempt,
            "exit_code": os.WEXITSTATUS(status) if os.WIFEXITED(status) and self._error is None else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "why": self._why(status),
            "error": self._error,
            "started": self._marked if self._marker is not None else None,
            "started_at": self._started_at,
            "ended_at": time.time(),
            "elapsed_s": elapsed_s,
            "log_bytes": self._log.seen_bytes,
            "log_truncated": self._log.truncated,
            "rusage": _rusage(reaped),
            "usage": usage.record(self._counted, reaped, self._watch.most_resident, elapsed_s),
            "oom": self._oom,
        }

    def _why(self, status: int) -> str:
        if self._ladder is not None:
            return self._ladder.why
        too_large = self._spec.limits.disk_bytes is not None and _died_of(status, signal.SIGXFSZ)
        return DISK if too_large else self._watch.look_back() or "exited"

    def _write_exit(self, record: dict[str, Any]) -> None:
        """A result is never given up: on a full disk, try again until there is room."""
        pause, longest = RETRY_PAUSES_S
        while not self._exit_written(record, complain=pause == RETRY_PAUSES_S[0]):
            self._wakeup.wait(pause)
            pause = min(pause * 2, longest)

    def _exit_written(self, record: dict[str, Any], complain: bool) -> bool:
        """Whether there is nothing more to try."""
        try:
            files.write_json(self._spec.directory, files.EXIT, record)
        except OSError as error:
            if _was_removed(self._spec.directory):
                self._complain("it has nowhere to write its result: somebody removed its directory")
                return True
            if complain:
                self._complain(f"cannot write its result, trying on: {error}")
            return False
        return True


def _was_removed(directory: str) -> bool:
    """Whether it is gone for good, and not with the file system that it lies on."""
    return not os.path.exists(directory) and os.path.isdir(os.path.dirname(directory))


def _open_marker(spec: Spec) -> int | None:
    if not spec.marker:
        return None
    path = os.path.join(spec.directory, files.MARKER)
    files.remove_if_there(path)
    os.mkfifo(path, 0o600)
    marker = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    os.fchmod(marker, 0o200)  # a job that could read it could take the byte before this process does
    return marker


def _died_of(status: int, number: int) -> bool:
    """Whether the process died of a signal, or tells that its own child did, as shells and runtimes do."""
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == number
    return os.WEXITSTATUS(status) == 128 + number


def _has_byte(fifo: int) -> bool:
    try:
        return bool(os.read(fifo, 1))
    except BlockingIOError:
        return False


def _rusage(reaped: resource.struct_rusage) -> dict[str, float]:
    """What the job's reaped processes used; `max_rss_bytes` is that of the largest one."""
    return {"user_s": reaped.ru_utime, "system_s": reaped.ru_stime, "max_rss_bytes": reaped.ru_maxrss * 1024}
