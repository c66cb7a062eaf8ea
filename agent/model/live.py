"""What the results store keeps of a job while somebody follows it; the saved log takes its place at the end.

Keys, below the results store's root:

    <sid>/watch                              somebody follows the job; rewriting it says that he still does
    <sid>/attempts/<n>/live/<offset>         a piece of the log of a running attempt, from this byte on
    <sid>/attempts/<n>/live/progress         what the attempt is at

Where there is a broker, words about the job go over it, too.
"""

from __future__ import annotations

from agent.model.records import Record


class Watch(Record, frozen=True):
    """Somebody wants to see what the job prints. at: seconds since the epoch, for people; by: who."""

    at: float
    by: str | None = None


class Piece(Record, frozen=True):
    """Bytes of a log, as the job wrote them, from byte `offset` on."""

    offset: int
    data: bytes


class Progress(Record, frozen=True):
    """What an attempt is at: the step, as `edge-agent status` has it.

    at: seconds since the epoch, for people. lasted: for how many seconds by then. percent: of the bytes that the step
    has to move, None = unknown.
    """

    step: str
    at: float
    lasted: float = 0.0
    percent: int | None = None


class Word(Record, frozen=True, omit_defaults=True):
    """What a host tells of attempt n at once: bytes of its log from byte `offset` on, or what the attempt is at.

    Without data it shows how far the log was told. over: nothing more comes of the attempt.
    """

    n: int
    offset: int
    data: bytes = b""
    progress: Progress | None = None
    over: bool = False
