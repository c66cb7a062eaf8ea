"""The logs of running jobs on their way to those who follow them from elsewhere, through the results store.

Whoever follows a job says so in a record. This loop reads it 2 s after the job began, then every 30 s, and at once when
the host's bell rings; only while it is fresh, what the job prints goes to the store in pieces: soon at first, then
every 15 s; every 30 s while agent.telling has a broker, and after a ring for whoever misses something. Of each log the
store has the newest 1 MiB at most. It is told as the job wrote it, like the saved log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.attempt import Attempt
from agent.board import Board, Live
from agent.errors import Unavailable
from agent.livelog import LiveLogs
from agent.model.live import Piece, Progress
from agent.ports import Clock

log = logging.getLogger(__name__)

MARK = "live"  # in the attempt's directory: something of it is in the store, and is to be removed at its end
FIRST_LOOK = 2.0
LOOK = 30.0
FOLLOWED = 90.0  # seconds for which a follower is believed to be there; he says so every 30
SOON, SELDOM = 2.0, 15.0  # seconds between two pieces: doubled from the one to the other
RARELY = 30.0  # the same while the log goes over a broker, too: pieces are for those who missed something there
STAGING = "stage-in"
PIECE = 256 * 1024
WINDOW = 1024**2


@dataclass
class _Stream:
    """How far one attempt is told. kept: offset and size of the pieces in the store, oldest first; None = unknown.

    at_step, since: what it is at, since when. percent: how far that is. progress: what the store knows of it.
    """

    look_at: float
    send_at: float = 0.0
    pause: float = SOON
    is_followed: bool = False
    sent: int = 0
    kept: list[tuple[int, int]] | None = None
    sent_at: float = 0.0
    at_step: str | None = None
    since: float = 0.0
    percent: int | None = None
    progress: tuple[str, int | None] | None = None


class Streams:
    """Tells what jobs print while somebody follows them."""

    def __init__(
        self,
        board: Board,
        directory: Callable[[str], Path],
        logs: Callable[[str], LiveLogs],
        clock: Clock,
        percent: Callable[[Attempt], int | None] = lambda attempt: None,
    ) -> None:
        """directory: of an attempt, by its id. logs: of the results store of a queue, by its name.

        percent: how much of its inputs is here; it may ask stores.
        """
        self._board = board
        self._directory = directory
        self._logs = logs
        self._clock = clock
        self._percent = percent
        self._streams: dict[str, _Stream] = {}
        self._finished: set[str] = set()
        self._lock = threading.Lock()
        self._hurry = False
        self._followed: frozenset[str] = frozenset()
        self._is_relayed = False
        self._was_cut_off = False

    def ring(self) -> None:
        """Look at the next turn who follows what."""
        self._hurry = True

    def followed(self) -> tuple[Live, ...]:
        """Return the attempts here that somebody follows."""
        return tuple(live for live in self._board.live() if live.attempt.id in self._followed)

    def is_here(self, attempt_id: str) -> bool:
        """Say whether the attempt is still in the hands of this agent."""
        return any(live.attempt.id == attempt_id for live in self._board.live())

    def relayed(self, by_broker: bool) -> None:
        """Learn whether followers hear at once what is told; as soon as they do not, pieces come sooner."""
        self._was_cut_off = self._was_cut_off or (self._is_relayed and not by_broker)
        self._is_relayed = by_broker

    def progress(self, live: Live) -> Progress:
        """Return what a followed attempt is at."""
        stream = self._streams.get(live.attempt.id)
        at, started = self._clock.time(), live.attempt.started_at
        if started is not None and live.attempt.ending is None:
            return Progress(live.step, at, max(0.0, at - started))
        if stream is None or stream.at_step != live.step:
            return Progress(live.step, at)
        return Progress(live.step, at, self._clock.boottime() - stream.since, stream.percent)

    def step(self, now: float) -> float:
        """Look who follows what when that is due, and tell what is new."""
        hurry, self._hurry = self._hurry, False
        cut_off, self._was_cut_off = self._was_cut_off, False
        here = {live.attempt.id: live for live in self._board.live()}
        for gone in self._streams.keys() - here.keys():
            del self._streams[gone]
        with self._lock:
            self._finished &= here.keys()
        for live in here.values():
            stream = self._streams.setdefault(live.attempt.id, _Stream(now + FIRST_LOOK))
            if cut_off:
                stream.send_at, stream.pause = min(stream.send_at, now + SOON), SOON
            try:
                self._turn(live, stream, now, hurry)
            except Unavailable as error:
                stream.send_at = stream.look_at = now + LOOK
                fields = {"event": "log-not-streamed", "attempt": live.attempt.id, "reason": str(error)}
                log.debug("what a job prints cannot be told now", extra=fields)
        self._followed = frozenset(each for each, stream in self._streams.items() if stream.is_followed)
        return now + 1.0

    def finish(self, attempt: Attempt) -> None:
        """Remove what was told of an attempt, whose log is saved. Raises StoreUnavailable: call it again."""
        mark = self._directory(attempt.id) / MARK
        with self._lock:
            self._finished.add(attempt.id)
            if mark.exists():
                self._logs(attempt.queue).clear(attempt.sid, attempt.n)
                mark.unlink()

    def _turn(self, live: Live, stream: _Stream, now: float, hurry: bool) -> None:
        attempt = live.attempt
        logs = self._logs(attempt.queue)
        if hurry or now >= stream.look_at:
            age = logs.watched(attempt.sid)
            followed = age is not None and age < FOLLOWED
            if followed and not stream.is_followed:
                stream.send_at, stream.pause = now, SOON
            stream.is_followed, stream.look_at = followed, now + LOOK
            if hurry:
                # Whoever rings may miss something, but nobody rings more pieces out of the host than one in 2 s.
                stream.send_at = min(stream.send_at, max(now, stream.sent_at + SOON))
        if stream.is_followed:
            self._note_step(live, stream, now)
        if not stream.is_followed or now < stream.send_at:
            return
        with self._lock:
            # Asked under the lock: nothing is told of an attempt after what was told of it has been removed.
            if attempt.id not in self._finished:
                self._tell(logs, live, stream, now)

    def _note_step(self, live: Live, stream: _Stream, now: float) -> None:
        if stream.at_step != live.step:
            stream.at_step, stream.since, stream.percent = live.step, now, None
        if live.step == STAGING:
            stream.percent = self._percent(live.attempt)

    def _tell(self, logs: LiveLogs, live: Live, stream: _Stream, now: float) -> None:
        attempt = live.attempt
        if not self._mark(attempt):
            return
        progress = self.progress(live)
        if stream.progress != (progress.step, progress.percent):
            logs.tell(attempt.sid, attempt.n, progress)
            stream.progress = (progress.step, progress.percent)
        if attempt.ending is None:
            self._send(logs, attempt, stream)
        stream.sent_at, stream.send_at = now, now + stream.pause
        stream.pause = min(RARELY if self._is_relayed else SELDOM, 2 * stream.pause)

    def _mark(self, attempt: Attempt) -> bool:
        """Leave a mark by which the end of the attempt finds what there is to remove; False before staging began."""
        try:
            (self._directory(attempt.id) / MARK).touch()
        except OSError:
            return False
        return True

    def _send(self, logs: LiveLogs, attempt: Attempt, stream: _Stream) -> None:
        sid, n = attempt.sid, attempt.n
        if stream.kept is None:
            stream.kept = _kept(logs, sid, n)
            stream.sent = sum(stream.kept[-1]) if stream.kept else 0
        piece = read_piece(self._directory(attempt.id) / "log", stream.sent)
        if piece is None:
            return
        logs.append(sid, n, piece)
        stream.kept.append((piece.offset, len(piece.data)))
        stream.sent = piece.offset + len(piece.data)
        while sum(size for _, size in stream.kept) > WINDOW:
            logs.forget(sid, n, stream.kept.pop(0)[0])


def _kept(logs: LiveLogs, sid: str, n: int) -> list[tuple[int, int]]:
    """Return what an earlier life of the agent has told."""
    found = (logs.piece(sid, n, offset) for offset in logs.offsets(sid, n))
    return [(piece.offset, len(piece.data)) for piece in found if piece is not None]


def log_size(path: Path) -> int:
    """Return the size of a log in bytes; 0 before there is one."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_piece(path: Path, sent: int, most: int = PIECE) -> Piece | None:
    """Return the next piece, of at most `most` bytes, of a log of which `sent` bytes were told; None = nothing is new.

    Of a log that is far ahead the older part is left out.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            offset = max(sent, size - WINDOW)
            file.seek(offset)
            data = file.read(most)
    except OSError:
        return None
    return Piece(offset, data) if data else None
