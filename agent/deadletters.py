"""Dead letters as records: dead/<sid>, with the message as it came and the reason why nobody can run it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

import msgspec

from agent.claims import Waiting
from agent.errors import StoreUnavailable
from agent.model.job import Job
from agent.model.records import Submission
from agent.ports import Bell, Burial, Clock, Delivery, Letter, LetterBox, RecordStore
from agent.pubsub_plan import ACCEL_ATTRIBUTE, ARCH_ATTRIBUTE, LANES
from agent.results import Results, is_sid, key_part
from agent.submitting import ring
from agent.wire import plain

ANY_LANE = "any-none"
_NUMBERED = re.compile(r"(.+)\+([1-9][0-9]{0,5})")


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


class StoreLetterBox:
    """A LetterBox over the records of a store queue, with a bell where there is one."""

    def __init__(self, records: RecordStore, bell: Bell | None = None) -> None:
        self._records = records
        self._bell = bell

    def letters(self) -> Iterator[Letter]:
        """Yield the dead letters by their keys. Raises StoreUnavailable, also for one that cannot be read."""
        for name in self._records.list("dead/").records:
            key = f"dead/{name}"
            stored = self._records.get(key)
            if stored is not None:
                yield _as_letter(key, stored.body)

    def send(self, letter: Letter, sid: str) -> None:
        """Let the message wait in its lane, and ring."""
        lane = lane_of(letter) or ANY_LANE
        self._records.put(Waiting(sid, lane, 0.0).key, letter.body or b"", create=True)
        if self._bell is not None:
            ring(self._bell, lane)

    def remove(self, letter: Letter) -> None:
        """Delete the record."""
        self._records.delete(letter.handle)

    def close(self) -> None:
        """Nothing is held: records can be looked at by everybody."""


def _as_letter(key: str, body: bytes) -> Letter:
    try:
        found = msgspec.json.decode(body, type=DeadLetter)
        message = base64.b64decode(found.body_base64 or "") if found.body is None else found.body.encode()
    except (ValueError, msgspec.DecodeError) as error:
        raise StoreUnavailable(f'dead letter "{key}" cannot be read: {error}; restore it or remove it') from error
    return Letter(found.sid, found.queue, found.reason, found.host, found.at, found.attributes, message, key)


def lane_of(letter: Letter) -> str | None:
    """Return the lane that the attributes of a dead letter name; None where they name none that there is."""
    lane = f"{letter.attributes.get(ARCH_ATTRIBUTE)}-{letter.attributes.get(ACCEL_ATTRIBUTE)}"
    return lane if lane in LANES else None


def next_sid(sid: str) -> str:
    """Return the submission id under which a dead letter is put on its queue again: the same each time it is asked for.

    "job-1" becomes "job-1+1", and that one "job-1+2".
    """
    numbered = _NUMBERED.fullmatch(sid)
    stem, number = (numbered[1], int(numbered[2])) if numbered else (sid, 0)
    again = f"{stem}+{number + 1}"
    return again if is_sid(again) else f"requeued-{hashlib.sha256(sid.encode()).hexdigest()[:32]}+1"


def requeue(letter: Letter, job: Job | None, box: LetterBox, results: Results, now: float, by: str | None) -> str:
    """Put a dead letter on its queue again under a new submission id, which is returned.

    job: the native job that the message is, to be recorded with it; None for any other message. now: seconds since the
    epoch; by: who wants it. The letter is removed last, and the id follows from the letter: after a crash in between,
    the same call again ends what was begun, and no job runs twice. Raises Unavailable, InvalidInput.
    """
    sid = next_sid(letter.sid)
    if job is not None:
        results.submit(Submission(sid, plain(job), letter.queue, "-".join(job.lane), now, by))
    box.send(letter, sid)
    _close(letter, f"requeued as {sid}", box, results)
    return sid


def drop(letter: Letter, box: LetterBox, results: Results) -> None:
    """Remove a dead letter for good. Raises Unavailable."""
    _close(letter, "dropped", box, results)


def _close(letter: Letter, became: str, box: LetterBox, results: Results) -> None:
    # First what its submitter sees: without it a job would seem to wait for ever.
    results.close_burial(letter.sid, Burial(letter.reason, letter.host, letter.at, became))
    box.remove(letter)


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
