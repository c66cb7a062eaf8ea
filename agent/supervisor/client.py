"""The agent's side: start the holder where none runs, start and stop attempts, read how they are.

How an attempt is, is read from its directory and its waiter's process, never asked from the holder: so it is
right after any of agent, holder and waiter was killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import agent.supervisor
from agent.supervisor import files, processes, protocol, records, sweep
from agent.supervisor.records import Run

HOLDER_LOG = "holder.log"
HOLDER_LOG_LIMIT_BYTES = 256 << 10
# A holder that cannot start says so by its exit status, and at once. So this ends only one that hangs, and a board that
# reads Python from a worn card, with other jobs beside it, is not taken for a faulty host.
START_TIMEOUT_S = 300.0
PING_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 30.0
LOOK_INTERVAL_S = 1.0
CLEAN_STOP_S = 5.0
CLEAN_KILL_S = 30.0
RETRY_S = 0.02
_ROOT = str(Path(agent.supervisor.__file__).parents[2])
_PROGRAM = "import sys; sys.path.insert(0, {root!r}); from agent.supervisor.holder import main; main()"


class SupervisorError(Exception):
    """What went wrong between agent and holder."""


class HolderUnavailable(SupervisorError):
    """The holder does not run and cannot be started, or does not answer; the request may have been done."""


class HolderRefused(SupervisorError):
    """The holder answered that the request is wrong, or that it could not start the job."""


class CleanupFailed(SupervisorError):
    """Processes of the attempt are still there although everything was done to end them."""


@dataclass(frozen=True)
class Usage:
    """What an attempt used, the container runtime's own part included; `wall_s` includes suspension."""

    user_s: float
    system_s: float
    peak_memory_bytes: int
    wall_s: float


@dataclass(frozen=True)
class Exit:
    """How an attempt ended; the content of exit.json.

    `exit_code` is null when the job's process died by `signal` or never started (`error` tells why).
    `started` is whether the start marker was seen, null when none was asked for. `why` is "exited", or the
    reason of the stop ("timeout", "memory", "cancelled", ..). Times are Unix seconds; `elapsed_s` includes
    suspension.
    """

    attempt: str
    exit_code: int | None
    signal: int | None
    why: str
    error: str | None
    started: bool | None
    started_at: float
    ended_at: float
    elapsed_s: float
    log_bytes: int
    log_truncated: bool
    user_s: float
    system_s: float
    max_rss_bytes: int
    oom: bool
    usage: Usage


@dataclass(frozen=True)
class Absent:
    """The holder never started this attempt."""


@dataclass(frozen=True)
class Running:
    """The waiter lives, and so does the job or its end is being written down."""

    run: Run


@dataclass(frozen=True)
class Exited:
    """There is a result."""

    exit: Exit


@dataclass(frozen=True)
class Lost:
    """Started, no result, and nobody is left to write one. `run` is null when even run.json is unreadable."""

    run: Run | None
    reason: str


Status = Absent | Running | Exited | Lost


def parse_exit(raw: Mapping[str, Any]) -> Exit:
    """Read the object of exit.json; unknown keys are ignored. Raises ValueError naming what is wrong."""
    try:
        rusage = raw["rusage"]
        return Exit(
            **{name: raw[name] for name in _EXIT_KEYS},
            **{name: rusage[name] for name in _RUSAGE_KEYS},
            usage=_usage(raw),
        )
    except KeyError as error:
        raise ValueError(f"exit.json has no {error}") from error


def _usage(raw: Mapping[str, Any]) -> Usage:
    """The waiter of an earlier release knew only what its reaped processes used."""
    found, reaped = raw.get("usage"), raw["rusage"]
    if found is not None:
        return Usage(**{field.name: found[field.name] for field in fields(Usage)})
    return Usage(reaped["user_s"], reaped["system_s"], reaped["max_rss_bytes"], raw["elapsed_s"])


_RUSAGE_KEYS = ("user_s", "system_s", "max_rss_bytes")
_EXIT_KEYS = tuple(field.name for field in fields(Exit) if field.name not in (*_RUSAGE_KEYS, "usage"))


class HolderClient:
    """One agent's view of the holder and the attempts below `state_dir`. Safe to use from several threads."""

    def __init__(
        self,
        state_dir: str | Path,
        python: str = sys.executable,
        idle_exit_s: int | None = None,
        root: str = _ROOT,
        start_timeout_s: float = START_TIMEOUT_S,
        launches: bool = True,
    ) -> None:
        """`launches`: start a holder where none answers; else somebody else sees to it, as systemd does."""
        self._state_dir = os.path.abspath(state_dir)
        self._python = python
        self._idle_exit_s = idle_exit_s
        self._root = root
        self._start_timeout_s = start_timeout_s
        self._launches = launches

    def directory(self, attempt: str) -> str:
        """The attempt's directory; the agent makes it before `start`. Raises ValueError for an unfit id."""
        if not protocol.valid_identifier(attempt):
            raise ValueError(f"attempt is {attempt!r}, not {protocol.IDENTIFIER}")
        return os.path.join(self._state_dir, protocol.ATTEMPTS, attempt)

    # The holder.

    def ensure(self) -> None:
        """See that a holder answers, starting one if need be and allowed. Raises HolderUnavailable."""
        if self._answers():
            return
        if self._launches:
            self._launch()
        deadline = time.monotonic() + self._start_timeout_s
        while not self._answers():  # at once, but for a holder that another process is starting just now
            if time.monotonic() >= deadline:
                raise self._unavailable(f"the holder of {self._state_dir} does not answer")
            select.select((), (), (), RETRY_S)

    def holder_pid(self) -> int | None:
        """The process from which jobs are forked, None where no holder answers."""
        try:
            return int(self._call({"op": "ping"}, timeout_s=PING_TIMEOUT_S)["pid"])
        except (HolderUnavailable, KeyError):
            return None

    def _answers(self) -> bool:
        try:
            return bool(self._call({"op": "ping"}, timeout_s=PING_TIMEOUT_S).get("ok"))
        except HolderUnavailable:
            return False

    def _launch(self) -> None:
        """Run the holder; with --detach its process returns once the socket is there."""
        with self._open_log() as log:
            try:
                done = subprocess.run(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},  # the agent's own may hold secrets
                    cwd="/",
                    start_new_session=True,
                    timeout=self._start_timeout_s,
                    check=False,
                )
            except OSError as error:
                raise HolderUnavailable(f"the holder cannot be started: {error}{self._last_words()}") from error
            except subprocess.TimeoutExpired as error:
                raise self._unavailable(f"the holder was not there after {self._start_timeout_s:g} s") from error
        if done.returncode != 0:
            raise self._unavailable(f"the holder ended with status {done.returncode}")

    def _command(self) -> list[str]:
        idle = [] if self._idle_exit_s is None else ["--idle-exit", str(self._idle_exit_s)]
        program = _PROGRAM.format(root=self._root)
        return [self._python, "-I", "-S", "-c", program, self._state_dir, *idle, "--detach"]

    def _open_log(self) -> IO[bytes]:
        path = os.path.join(self._state_dir, HOLDER_LOG)
        try:
            return open(path, "wb" if _size(path) > HOLDER_LOG_LIMIT_BYTES else "ab")
        except OSError as error:
            raise HolderUnavailable(f"the holder has no usable state directory: {error}") from error

    def _unavailable(self, what: str) -> HolderUnavailable:
        if not self._launches:
            return HolderUnavailable(f"{what}; `systemctl status edge-jobs` tells why")
        return HolderUnavailable(what + self._last_words())

    def _last_words(self) -> str:
        try:
            with open(os.path.join(self._state_dir, HOLDER_LOG), encoding="utf-8", errors="replace") as log:
                lines = log.read()[-2000:].splitlines()[-5:]
        except OSError:
            return ""
        return "; its last words: " + " | ".join(lines) if lines else ""

    def _call(self, request: Mapping[str, Any], timeout_s: float = CALL_TIMEOUT_S) -> dict[str, Any]:
        """One request, one answer. Raises HolderUnavailable."""
        try:
            with protocol.connect(self._state_dir, timeout_s) as connection:
                connection.sendall(protocol.encode(request))
                with connection.makefile("rb") as stream:
                    return protocol.decode(stream.readline())
        except (OSError, ValueError) as error:
            raise HolderUnavailable(f"no answer from the holder of {self._state_dir}: {error}") from error

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._call(request)
        if not answer.get("ok"):
            raise HolderRefused(str(answer.get("error", answer)))
        return answer

    # Attempts.

    def start(self, spec: Mapping[str, Any]) -> bool:
        """Start an attempt (see protocol.Spec, plus `version` 1); False when it was started before.

        Raises HolderUnavailable (ask `read_status` before trying again elsewhere) and HolderRefused.
        """
        request = {"op": "start", "spec": dict(spec)}
        self.ensure()
        try:
            answer = self._ask(request)
        except HolderUnavailable:  # it may have left for idleness just now; asking twice starts nothing twice
            self.ensure()
            answer = self._ask(request)
        return bool(answer["started"])

    def list(self) -> list[str]:
        """The attempts whose waiters the holder knows alive. Raises HolderUnavailable."""
        return [str(waiter["attempt"]) for waiter in self._ask({"op": "list"})["waiters"]]

    def end(self, why: str = "shutdown") -> None:
        """Stop all jobs, then the holder; returns at once. Raises HolderUnavailable."""
        self._ask({"op": "end", "why": why})

    def read_status(self, attempt: str) -> Status:
        """How the attempt is, by its files and by whether its waiter lives."""
        directory = self.directory(attempt)
        before = _read_exit(directory)
        if before is not None:
            return before
        try:
            run = records.read_run(directory)
        except ValueError as error:
            return Lost(None, f"unreadable record: {error}")
        if run is None:
            return Absent()
        if run.waiter_alive:
            return Running(run)
        reason = "its waiter is gone" if run.of_this_boot else "the host was restarted"
        return _read_exit(directory) or Lost(run, reason)  # it may have ended between the two looks

    def wait(self, attempt: str, timeout_s: float | None = None) -> Status:
        """Block until the attempt no longer runs, or `timeout_s` is over; the status then."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        status = self.read_status(attempt)
        while isinstance(status, Running) and (deadline is None or time.monotonic() < deadline):
            _wait_for_end(status.run.waiter, deadline)
            status = self.read_status(attempt)
        return status

    def stop(self, attempt: str, why: str, grace_s: float | None = None) -> None:
        """Ask the waiter to end the job; by default with the job's own grace. Nothing to do if it is over."""
        status = self.read_status(attempt)
        if isinstance(status, Running):
            with contextlib.suppress(OSError):  # on a full disk it stops without its reason, as "stopped"
                files.write_json(self.directory(attempt), files.STOP, {"why": why, "grace_s": grace_s})
            processes.send_signal(status.run.waiter, signal.SIGTERM)

    def remove(self, attempt: str) -> None:
        """End whatever of the attempt is alive, by its run.json alone; the directory stays. Can be repeated.

        Raises CleanupFailed when processes stay (they hang in the kernel).
        """
        self.stop(attempt, "removed", 0)
        status = self.wait(attempt, CLEAN_STOP_S)
        run = status.run if isinstance(status, (Running, Lost)) else None
        if run is not None and run.of_this_boot:
            _kill_all(run)

    def __repr__(self) -> str:
        return f"HolderClient({self._state_dir!r})"


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def _read_exit(directory: str) -> Exited | Lost | None:
    try:
        raw = files.read_json(directory, files.EXIT)
        return None if raw is None else Exited(parse_exit(raw))
    except ValueError as error:
        return Lost(None, f"unreadable result: {error}")


def _wait_for_end(waiter: processes.Identity, deadline: float | None) -> None:
    """Until the process ends or the deadline; without pidfds, no longer than one look's interval."""
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    pidfd = processes.open_pidfd(waiter)
    if pidfd is None:
        if processes.alive(waiter):
            select.select((), (), (), LOOK_INTERVAL_S if left is None else min(left, LOOK_INTERVAL_S))
        return
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.poll(None if left is None else left * 1000)
    finally:
        os.close(pidfd)


def _kill_all(run: Run) -> None:
    """Kill waiter and job in one round each, so that no orphan slips away between."""
    reaper = run.waiter.pid if processes.alive(run.waiter) else None
    target = sweep.Target(run.container, run.cgroup, reaper, groups=run.limit_groups)
    deadline = time.monotonic() + CLEAN_KILL_S
    while not _killed(run, target):
        if time.monotonic() >= deadline:
            raise CleanupFailed(f"attempt {run.attempt}: still alive after SIGKILL: {sweep.kill(target)}")
        select.select((), (), (), RETRY_S)


def _killed(run: Run, target: sweep.Target) -> bool:
    swept = sweep.swept(target)
    processes.send_signal(run.waiter, signal.SIGKILL)
    return swept and not processes.alive(run.waiter)
