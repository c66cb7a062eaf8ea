"""What the commands of the control socket do."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from agent import __version__
from agent.board import Mode
from agent.context import Context
from agent.control.protocol import (
    Answer,
    AnyCommand,
    Cancel,
    Drain,
    Log,
    LogPart,
    Pause,
    RefusedCommand,
    Resume,
    Snapshot,
    view,
)
from agent.model.hosts import Wanted, Wish
from agent.model.records import Cancel as CancelRecord
from agent.transfer.stream import CHUNK

LOOK = 0.5  # seconds between looks at a log that somebody follows


class Desk:
    """Answers commands for one running agent."""

    def __init__(
        self,
        context: Context,
        lanes: tuple[str, ...],
        closing: threading.Event,
        wanted: Callable[[Wish], None] | None = None,
    ) -> None:
        """wanted: does what an operator wants of the host; None = sets the mode, and nobody elsewhere is told."""
        self._context = context
        self._lanes = lanes
        self._closing = closing
        self._wanted = wanted or self._set_mode

    def handle(self, command: AnyCommand) -> Iterable[Answer]:
        """Carry out one command."""
        if isinstance(command, Log):
            return self._log(command)
        if isinstance(command, Cancel):
            return (self._cancel(command.sid),)
        if isinstance(command, Pause):
            self._want("paused", command.by, command.note)
        elif isinstance(command, Drain):
            self._want("draining", command.by, command.note)
        elif isinstance(command, Resume):
            self._want("ready", command.by)
        return (self.snapshot(),)

    def _want(self, want: Wanted, by: str | None, note: str | None = None) -> None:
        self._wanted(Wish(want, self._context.clock.time(), by, note))

    def _set_mode(self, wish: Wish) -> None:
        self._context.board.set_mode(Mode(wish.want, wish.note, wish.at, wish.by))

    def snapshot(self) -> Snapshot:
        """Return how things are."""
        board, ledger = self._context.board, self._context.ledger
        return Snapshot(
            version=__version__,
            host=self._context.host_id,
            pid=os.getpid(),
            mode=board.mode,
            share=ledger.share,
            free=ledger.free(),
            lanes=self._lanes,
            attempts=tuple(view(live, self._context.gpu_uses.of(live.attempt.id)) for live in board.live()),
            ended=tuple(view(live) for live in board.ended()),
            refused=board.refused(),
            problems=board.problems(),
            totals=board.totals(),
            queues=tuple(self._context.queues),
        )

    def _cancel(self, sid: str) -> Answer:
        live = self._context.board.find(sid)
        if live is None:
            return RefusedCommand(f"job {sid} does not run here")
        # The record makes it last: this attempt may be lost before it is stopped, and the next one must not run.
        results = self._context.queue(live.attempt).results
        results.cancel(sid, CancelRecord(self._context.clock.time(), "control socket"))
        if not self._context.board.ask_stop(live.attempt.id, "cancelled"):
            return RefusedCommand(f"job {sid} has finished already; its results are being saved")
        return self.snapshot()

    def _log(self, command: Log) -> Iterator[Answer]:
        live = self._context.board.find(command.sid)
        if live is None:
            yield RefusedCommand(f"job {command.sid} does not run here")
            return
        yield from self._log_parts(live.attempt.id, command)

    def _log_parts(self, attempt_id: str, command: Log) -> Iterator[LogPart]:
        path, offset = self._context.directory(attempt_id) / "log", command.offset
        while True:
            # Asked before reading: what the job wrote before its end is read after it.
            over = not command.follow or not self._runs(attempt_id) or self._closing.wait(LOOK)
            before = offset
            for data in _pieces(path, offset):
                yield LogPart(data, offset)
                offset += len(data)
            if offset == before and not over:
                yield LogPart(b"", offset)  # shows whether somebody still listens: the job may be silent for days
            if over:
                yield LogPart(b"", offset, end=True)
                return

    def _runs(self, attempt_id: str) -> bool:
        return any(live.attempt.id == attempt_id and live.attempt.ending is None for live in self._context.board.live())


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            while piece := file.read(CHUNK):
                yield piece
    except FileNotFoundError:
        return
