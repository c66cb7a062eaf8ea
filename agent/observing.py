"""Telling the observer of an attempt what happens to it, in a thread of its own: no slow server delays the watching."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from agent.attempt import Attempt
from agent.context import Context
from agent.guard import kept_apart
from agent.ports import Observer, Watched

TICK = 1.0  # seconds between looks at the log
ASK_EVERY = 10.0  # seconds between questions whether the attempt shall end
LONGEST_LINE = 256 * 1024  # bytes; the rest of a longer one counts as another line
_CHUNK = 64 * 1024
_CHUNKS_AT_ONCE = 32


class Observation:
    """A running attempt with its observer, for as long as the `with` block lasts; nothing where nobody observes."""

    def __init__(self, context: Context, attempt: Attempt) -> None:
        self._context = context
        self._attempt = attempt
        self._observer = context.observers.of(context.watched(attempt))
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if self._observer is not None:
            name = f"observe-{self._attempt.sid}"
            observe = partial(kept_apart, self._attempt.sid, partial(self._observe, self._observer))
            self._thread = threading.Thread(target=observe, name=name, daemon=True)
            self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _observe(self, observer: Observer) -> None:
        watched = self._context.watched(self._attempt)
        clock = self._context.clock
        observer.started(watched)
        every = observer.checkpoint_every
        ask_at, save_at = clock.boottime() + ASK_EVERY, clock.boottime() + (every or 0.0)
        with _Tail(watched.directory / "log") as tail:
            while not self._over.wait(TICK):
                for line in tail.lines():
                    observer.line(line)
                now = clock.boottime()
                if every is not None and now >= save_at:
                    observer.checkpoint(watched)
                    save_at = now + every
                if now >= ask_at:
                    self._pass_on(observer.wish())
                    ask_at = now + ASK_EVERY

    def _pass_on(self, wish: str | None) -> None:
        if wish is not None:
            self._context.board.ask_stop(self._attempt.id, wish)


def wish_before_launch(context: Context, attempt: Attempt) -> str | None:
    """Return why a staged attempt shall not even start, or None."""
    observer = context.observers.of(context.watched(attempt))
    return None if observer is None else observer.wish()


def tell_end(context: Context, attempt: Attempt, final: bool) -> None:
    """Tell the observer how the attempt ended; `final`: its end is the job's. Raises Unavailable: tell it again."""
    watched = context.watched(attempt)
    observer = context.observers.of(watched)
    if observer is not None:
        kept_apart(attempt.sid, partial(_tell_end, observer, watched, final))


def _tell_end(observer: Observer, watched: Watched, final: bool) -> None:
    # All lines once more: whoever observed the run may have been another life of the agent.
    with _Tail(watched.directory / "log") as tail:
        for line in tail.all_lines():
            observer.line(line)
    observer.finished(watched, final)


class _Tail:
    """The lines of a log that grows. A log that is not there has none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""

    def __enter__(self) -> _Tail:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def lines(self) -> Iterator[str]:
        """Yield the lines that are complete by now, of so many bytes that something else gets its turn."""
        for _ in range(_CHUNKS_AT_ONCE):
            chunk = self._read()
            if not chunk:
                return
            yield from self._lines_with(chunk)

    def all_lines(self) -> Iterator[str]:
        """Yield the lines up to the end of the log, the last one complete or not."""
        while chunk := self._read():
            yield from self._lines_with(chunk)
        if self._rest:
            yield _text(self._rest)
            self._rest = b""

    def _lines_with(self, chunk: bytes) -> Iterator[str]:
        *complete, self._rest = (self._rest + chunk).split(b"\n")
        for line in complete:
            yield from map(_text, _pieces(line))
        *cut, self._rest = _pieces(self._rest)
        yield from map(_text, cut)

    def _read(self) -> bytes:
        if self._file is None:
            try:
                self._file = self._path.open("rb")
            except OSError:
                return b""
        return self._file.read(_CHUNK)


def _pieces(line: bytes) -> list[bytes]:
    """Cut a line where any other reader of the log cuts it, whatever was there when it was read."""
    return [line[start : start + LONGEST_LINE] for start in range(0, len(line), LONGEST_LINE)] or [line]


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r")
