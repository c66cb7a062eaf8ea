"""Dead letters as records: dead/<sid>, with the message as it came and the reason why nobody can run it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import unquote

import msgspec

from agent.ports import Burial, Clock, Delivery, RecordStore
from agent.results import key_part


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A buried message: `body` when it is text, else `body_base64`. at: seconds since the epoch."""

    sid: str
    queue: str
    reason: str
    host: str
    at: float
    attributes: Mapping[str, str]
    body: str | None = None
    body_base64: str | None = None


class StoreDeadLetters:
    """A DeadLetters port over a record store."""

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    def bury(self, delivery: Delivery, reason: str, host: str) -> None:
        """Store the message with the reason; the first reason for a message stays."""
        letter = dead_letter(delivery, reason, host, self._clock.time())
        self._records.put(f"dead/{key_part(delivery.sid)}", msgspec.json.encode(letter), create=True)

    def find(self, sid: str) -> Burial | None:
        """Return why and when a message was buried, or None."""
        letter = find_dead_letter(self._records, sid)
        return None if letter is None else Burial(letter.reason, letter.host, letter.at)

    def sids(self) -> tuple[str, ...]:
        """Return the ids of what was buried."""
        return buried(self._records)


def dead_letter(delivery: Delivery, reason: str, host: str, at: float) -> DeadLetter:
    """Return the record of a message that nobody can run."""
    text, coded = _readable(delivery.body)
    return DeadLetter(delivery.sid, delivery.queue, reason, host, at, dict(delivery.attributes), text, coded)


def _readable(body: bytes) -> tuple[str | None, str | None]:
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()


def buried(records: RecordStore) -> tuple[str, ...]:
    """Return the ids of all dead letters, sorted by their keys."""
    return tuple(unquote(name) for name in records.list("dead/").records)


def find_dead_letter(records: RecordStore, sid: str) -> DeadLetter | None:
    """Return the dead letter of a message, or None."""
    stored = records.get(f"dead/{key_part(sid)}")
    return None if stored is None else msgspec.json.decode(stored.body, type=DeadLetter)
