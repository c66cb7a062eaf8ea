"""What running jobs print, told to followers at once over a broker; whatever gets lost there they take from the store.

Only jobs that somebody follows are told, as agent.streaming knows them. A job may send 64 KiB at once and 16 KiB a
second in the long run, 16 KiB in a message. What it prints beyond that comes later, and of a log that is 1 MiB ahead
the older part is left to the store. A word without bytes, every 5 s, shows that nothing was missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.board import Live
from agent.model.live import Progress, Word
from agent.ports import Clock, LogSink
from agent.streaming import Streams, log_size, read_piece

TICK = 0.25
IDLE = 1.0
CHUNK = 16 * 1024
RATE, BURST = 16 * 1024, 64 * 1024
ALIVE = 5.0
STEP = 1.0  # seconds between two words about the step alone


@dataclass
class _Told:
    """How far one attempt is told. allowance: bytes that may be sent now."""

    sid: str
    n: int
    offset: int
    at: float
    allowance: float = BURST
    alive_at: float = 0.0
    step_at: float = 0.0
    progress: Progress | None = None


class Telling:
    """Tells the followed attempts of this host."""

    def __init__(self, streams: Streams, directory: Callable[[str], Path], sink: LogSink, clock: Clock) -> None:
        """directory: of an attempt, by its id."""
        self._streams = streams
        self._directory = directory
        self._sink = sink
        self._clock = clock
        self._told: dict[str, _Told] = {}
        self._is_up = False

    def step(self, now: float) -> float:
        """Tell what is new of all that are followed."""
        followed = {live.attempt.id: live for live in self._streams.followed()}
        for gone in self._told.keys() - followed.keys():
            told = self._told.pop(gone)
            if not self._streams.is_here(gone):
                self._sink.tell(told.sid, Word(told.n, told.offset, over=True))
        for live in followed.values():
            self._turn(live, now)
        self._streams.relayed(bool(followed) and self._is_up)
        return now + (TICK if followed else IDLE)

    def _turn(self, live: Live, now: float) -> None:
        attempt = live.attempt
        path = self._directory(attempt.id) / "log"
        told = self._told.get(attempt.id)
        if told is None or not self._is_up:
            # What came before, or while there was no broker, is in the store.
            offset = max(0 if told is None else told.offset, log_size(path) - BURST)
            told = self._told[attempt.id] = _Told(attempt.sid, attempt.n, offset, now)
        told.allowance = min(BURST, told.allowance + RATE * (now - told.at))
        told.at = now
        if attempt.ending is None:
            self._tell_log(path, told)
        self._tell_progress(live, told, now)

    def _tell_log(self, path: Path, told: _Told) -> None:
        while told.allowance >= CHUNK or told.allowance >= log_size(path) - told.offset:
            piece = read_piece(path, told.offset, CHUNK)
            if piece is None or not self._tell(told, Word(told.n, piece.offset, piece.data)):
                return
            told.offset = piece.offset + len(piece.data)
            told.allowance -= len(piece.data)

    def _tell_progress(self, live: Live, told: _Told, now: float) -> None:
        progress = self._streams.progress(live)
        before = told.progress
        is_new = before is None or (before.step, before.percent) != (progress.step, progress.percent)
        if (is_new and now >= told.step_at) or now >= told.alive_at:
            told.progress, told.step_at, told.alive_at = progress, now + STEP, now + ALIVE
            self._tell(told, Word(told.n, told.offset, progress=progress))

    def _tell(self, told: _Told, word: Word) -> bool:
        self._is_up = self._sink.tell(told.sid, word)
        return self._is_up
