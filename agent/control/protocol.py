"""What is said on the control socket: one command as a line of JSON, answered by one or more lines.

Status, Pause, Drain, Resume, Cancel    one Snapshot, or one Refused
Log                                     LogPart after LogPart, the last one with `end`, or one Refused
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from agent.attempt import Attempt, State
from agent.board import Live, Mode, Refused
from agent.model.gpu_use import GpuUse
from agent.model.records import Artifact, Outcome
from agent.model.share import Share
from agent.model.usage import Totals, Usage

SOCKET = "agent.sock"
LINE_LIMIT = 16 * 1024**2
_NO_USE = GpuUse()


class Command(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all commands."""


class Status(Command, frozen=True):
    """Tell how things are."""


class Pause(Command, frozen=True):
    """Take no new work; what runs goes on. by: who wants it, as they say themselves."""

    note: str | None = None
    by: str | None = None


class Drain(Command, frozen=True):
    """Take no new work, and end (an agent that is not a service) or stay idle when the last job is delivered."""

    note: str | None = None
    by: str | None = None


class Resume(Command, frozen=True):
    """Take work again."""

    by: str | None = None


class Cancel(Command, frozen=True):
    """End a job that is here."""

    sid: str


class Log(Command, frozen=True):
    """Send the log of a job that is here, from byte `offset`; with `follow` until the job ends."""

    sid: str
    offset: int = 0
    follow: bool = False


AnyCommand = Status | Pause | Drain | Resume | Cancel | Log


class AttemptView(msgspec.Struct, frozen=True):
    """One attempt for people and tools. Times in seconds since the epoch; trouble: what is wrong where it runs.

    usage: before its end of its GPUs alone, None for one that has none.
    """

    sid: str
    n: int
    name: str
    queue: str
    state: State
    step: str
    arch: str
    emulated: bool
    reserved: Share
    claimed_at: float
    started_at: float | None = None
    stop: str | None = None
    waiting: str | None = None
    trouble: str | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    reason: str | None = None
    ended_at: float | None = None
    artifacts: tuple[Artifact, ...] = ()
    usage: Usage | None = None


class Snapshot(msgspec.Struct, frozen=True, tag=True):
    """All that a running agent shows of itself. totals: since it started; queues: names of those configured."""

    version: str
    host: str
    pid: int
    mode: Mode
    share: Share
    free: Share
    lanes: tuple[str, ...]
    attempts: tuple[AttemptView, ...]
    ended: tuple[AttemptView, ...]
    refused: tuple[Refused, ...]
    problems: dict[str, str] = {}
    totals: Totals = Totals()
    queues: tuple[str, ...] = ()


class RefusedCommand(msgspec.Struct, frozen=True, tag=True):
    """A command that cannot be carried out, and why."""

    message: str


class LogPart(msgspec.Struct, frozen=True, tag=True):
    """Bytes of a log; `end` with the last part."""

    data: bytes
    offset: int
    end: bool = False


Answer = Snapshot | RefusedCommand | LogPart


def view(live: Live, gpus: GpuUse = _NO_USE) -> AttemptView:
    """Return what a snapshot shows of an attempt; gpus: what it was seen to use of them, while it runs."""
    attempt: Attempt = live.attempt
    ending = attempt.ending
    return AttemptView(
        sid=attempt.sid,
        n=attempt.n,
        name=str(attempt.table.get("name", "job")),
        queue=attempt.queue,
        state=attempt.state,
        step=live.step,
        arch=attempt.arch,
        emulated=attempt.emulated,
        reserved=attempt.reserved,
        claimed_at=attempt.claimed_at,
        started_at=ending.started_at if ending else attempt.started_at,
        stop=live.stop,
        waiting=live.waiting,
        trouble=live.trouble,
        outcome=ending.outcome if ending else None,
        exit_code=ending.exit_code if ending else None,
        reason=ending.reason if ending else None,
        ended_at=ending.ended_at if ending else None,
        artifacts=attempt.artifacts,
        usage=attempt.usage or (gpus.added_to(Usage()) if gpus.samples else None),
    )


def at_short_path(state_dir: Path, call: Callable[[str], object]) -> None:
    """Call with a path of the socket that fits into the 107 bytes of a socket address, however long the directory."""
    directory = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(f"/proc/self/fd/{directory}/{SOCKET}")
    finally:
        os.close(directory)


def new_socket() -> socket.socket:
    """Return an unconnected unix stream socket."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
