"""The hosts of one results store: what agent.model.hosts describes, read and written through a record store."""

from __future__ import annotations

import re
from typing import NamedTuple, TypeVar
from urllib.parse import unquote

import msgspec

from agent.errors import StoreUnavailable
from agent.model.hosts import HostNote, Wish
from agent.model.records import Record
from agent.ports import RecordStore
from agent.results import key_part

T = TypeVar("T", bound=Record)
ROOT = "@hosts/"
BELL = "@hosts"  # the bells of hosts, beside those of queues, whose names never begin so
KEPT = 10  # wishes that stay, for those who ask what was wanted of a host before
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Told(NamedTuple):
    """A host's note, and the seconds since it was written by the store's clock."""

    note: HostNote
    age: float


class Hosts:
    """Wishes and notes in one results store. All methods raise StoreUnavailable, also for what cannot be read."""

    def __init__(self, records: RecordStore) -> None:
        self._records = records

    def known(self) -> tuple[str, ...]:
        """Return the ids of all hosts that have used this store, sorted."""
        return tuple(sorted(unquote(name) for name in self._records.list(ROOT).prefixes))

    def newest(self, host: str) -> int:
        """Return the number of the newest wish, 0 when there was none: one request."""
        return max(self._numbers(host), default=0)

    def wish(self, host: str, wish: Wish) -> int:
        """Put a wish after all that are there; return its number."""
        while True:
            numbers = self._numbers(host)
            n = max(numbers, default=0) + 1
            # Whoever comes second with a number takes the next one: of two wishes one is the newer for everybody.
            if self._records.put(_wish_key(host, n), msgspec.json.encode(wish), create=True):
                for old in sorted(numbers)[: 1 - KEPT]:
                    self._records.delete(_wish_key(host, old))
                return n

    def wished(self, host: str, n: int) -> Wish | None:
        """Return a wish by its number."""
        found = self._read(_wish_key(host, n), Wish)
        return None if found is None else found[0]

    def tell(self, note: HostNote) -> None:
        """Write what the host does."""
        self._records.put(_note_key(note.host), msgspec.json.encode(note))

    def told(self, host: str) -> Told | None:
        """Return what the host wrote last."""
        found = self._read(_note_key(host), HostNote)
        return None if found is None else Told(*found)

    def _numbers(self, host: str) -> tuple[int, ...]:
        listed = self._records.list(f"{ROOT}{key_part(host)}/wishes/").records
        return tuple(int(name) for name in listed if _NUMBER.fullmatch(name))

    def _read(self, key: str, kind: type[T]) -> tuple[T, float] | None:
        stored = self._records.get(key)
        if stored is None:
            return None
        try:
            return msgspec.json.decode(stored.body, type=kind), stored.age
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StoreUnavailable(
                f'record "{key}" of the results store cannot be read: {error}; restore it or remove it'
            ) from error


def _wish_key(host: str, n: int) -> str:
    return f"{ROOT}{key_part(host)}/wishes/{n}"


def _note_key(host: str) -> str:
    return f"{ROOT}{key_part(host)}/note"
