"""Logs of running jobs in one results store: what agent.model.live describes, written and read."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from agent.errors import StoreUnavailable
from agent.model.live import Piece, Progress, Watch
from agent.model.records import Record
from agent.ports import RecordStore

T = TypeVar("T", bound=Record)
_OFFSET = re.compile(r"[0-9]{15}")


class LiveLogs:
    """All methods raise StoreUnavailable, also for what cannot be read. `n` is the number of an attempt."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    def watch(self, sid: str, watch: Watch) -> None:
        """Say that somebody follows the job."""
        self._put(f"{sid}/watch", watch)

    def watched(self, sid: str) -> float | None:
        """Return the seconds since somebody said so, None when nobody ever did: one request."""
        stored = self._records.get(f"{sid}/watch")
        return None if stored is None else stored.age

    def offsets(self, sid: str, n: int) -> tuple[int, ...]:
        """Return where the pieces begin that are there, sorted: one request."""
        names = self._records.list(_below(sid, n)).records
        return tuple(sorted(int(name) for name in names if _OFFSET.fullmatch(name)))

    def piece(self, sid: str, n: int, offset: int) -> Piece | None:
        """Return the piece that begins at the offset."""
        return self._read(_key(sid, n, offset), Piece)

    def append(self, sid: str, n: int, piece: Piece) -> None:
        """Add a piece."""
        self._put(_key(sid, n, piece.offset), piece)

    def forget(self, sid: str, n: int, offset: int) -> None:
        """Remove a piece."""
        self._records.delete(_key(sid, n, offset))

    def tell(self, sid: str, n: int, progress: Progress) -> None:
        """Write what the attempt is at."""
        self._put(f"{_below(sid, n)}progress", progress)

    def progress(self, sid: str, n: int) -> Progress | None:
        """Return what the attempt is at, as far as it was told; `lasted` until now, by the store's clock."""
        key = f"{_below(sid, n)}progress"
        stored = self._records.get(key)
        if stored is None:
            return None
        told = _decoded(key, stored.body, Progress)
        return msgspec.structs.replace(told, lasted=told.lasted + stored.age)

    def clear(self, sid: str, n: int) -> None:
        """Remove all of an attempt."""
        for name in self._records.list(_below(sid, n)).records:
            self._records.delete(f"{_below(sid, n)}{name}")

    def _put(self, key: str, record: Record) -> None:
        self._records.put(key, msgspec.json.encode(record))

    def _read(self, key: str, kind: type[T]) -> T | None:
        stored = self._records.get(key)
        return None if stored is None else _decoded(key, stored.body, kind)


def _decoded(key: str, body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreUnavailable(
            f'record "{key}" of the results store cannot be read: {error}; restore it or remove it'
        ) from error


def _below(sid: str, n: int) -> str:
    return f"{sid}/attempts/{n}/live/"


def _key(sid: str, n: int, offset: int) -> str:
    return f"{_below(sid, n)}{offset:015d}"
