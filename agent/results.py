"""The results store: what agent.model.records describes, read and written through a record store."""

from __future__ import annotations

import re
import threading
from datetime import datetime, timezone
from typing import NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from agent.errors import InvalidInput, StoreUnavailable
from agent.model.records import Artifact, AttemptRecord, Burial, Cancel, Commit, HostRefusal, Record, Submission
from agent.ports import RecordStore, Stored

T = TypeVar("T", bound=Record)
_SID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=@+-]{0,126}")

_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Newest(NamedTuple):
    """The highest attempt of a submission: its number, and the seconds since it was written or renewed."""

    n: int
    age: float


class Standing(NamedTuple):
    """Whether a new attempt may start, and its number.

    expires_in: seconds until the running attempt is void unless it is renewed; None when none is running.
    unreported: nobody has recorded how the attempt before it ended.
    """

    next_n: int
    expires_in: float | None
    unreported: bool = False


class Results:
    """One results store; the artifacts of its attempts lie below the URI `artifact_root`.

    All methods raise StoreUnavailable, also for a stored record that cannot be read. What comes as a sid has
    passed check_sid before.
    """

    def __init__(self, records: RecordStore, artifact_root: str) -> None:
        self._records = records
        self._artifact_root = artifact_root.rstrip("/")
        # A renewal reads and rewrites a record: an update in between would be undone.
        self._rewriting = threading.Lock()

    @property
    def records(self) -> RecordStore:
        """The bare records."""
        return self._records

    def submit(self, submission: Submission) -> bool:
        """Record what was submitted; False when this sid was submitted before."""
        return self._create(f"{submission.sid}/submission", submission)

    def submission(self, sid: str) -> Submission | None:
        """Return what was submitted."""
        return self._read(f"{sid}/submission", Submission)

    def submitted_ago(self, sid: str) -> float | None:
        """Return the seconds since the job was submitted, by the store's clock; None where nobody recorded that."""
        return self._records.list(f"{sid}/").records.get("submission")

    def names(self, sid: str) -> frozenset[str]:
        """Return what kinds of records there are of a job: one request. Who follows it does not count."""
        listing = self._records.list(f"{sid}/")
        return frozenset((*listing.records, *listing.prefixes)) - {"watch"}

    def sids(self) -> tuple[str, ...]:
        """Return the ids of all submissions, sorted."""
        return tuple(sid for sid in self._records.list("").prefixes if is_sid(sid))

    def claim(self, attempt: AttemptRecord) -> bool:
        """Record a new attempt; False when somebody else has this number."""
        return self._create(_attempt_key(attempt.sid, attempt.n), attempt)

    def attempt(self, sid: str, n: int) -> AttemptRecord | None:
        """Return one attempt."""
        return self._read(_attempt_key(sid, n), AttemptRecord)

    def attempts(self, sid: str) -> tuple[tuple[AttemptRecord, float], ...]:
        """Return all attempts with their age in seconds, first to last."""
        found = ((key, self._records.get(key)) for key in (_attempt_key(sid, n) for n in sorted(self._ages(sid))))
        return tuple((_decoded(key, stored, AttemptRecord), stored.age) for key, stored in found if stored)

    def newest(self, sid: str) -> Newest | None:
        """Return number and age of the highest attempt, or None before the first."""
        ages = self._ages(sid)
        return Newest(max(ages), ages[max(ages)]) if ages else None

    def standing(self, sid: str, lease: float) -> Standing:
        """Return what a new attempt would be: one runs until it has an outcome or is `lease` seconds old.

        Claiming `next_n` of one answer is safe: whoever came first in the meantime has that number.
        """
        newest = self.newest(sid)
        if newest is None:
            return Standing(1, None)
        attempt = self.attempt(sid, newest.n)
        if attempt is None or attempt.outcome is not None:
            return Standing(newest.n + 1, None)
        remaining = lease - newest.age
        return Standing(newest.n + 1, remaining if remaining >= 0 else None, unreported=True)

    def update(self, attempt: AttemptRecord) -> None:
        """Rewrite the record of an attempt of this process, which renews its lease, too."""
        with self._rewriting:
            self._records.put(_attempt_key(attempt.sid, attempt.n), msgspec.json.encode(attempt))

    def renew(self, sid: str, n: int, token: str) -> bool:
        """Renew an attempt's lease; False when it is lost: a higher one exists, or this is not ours."""
        with self._rewriting:
            newest = self.newest(sid)
            if newest is None or newest.n > n:
                return False
            key = _attempt_key(sid, n)
            stored = self._records.get(key)
            if stored is None or _decoded(key, stored, AttemptRecord).token != token:
                return False
            # The very bytes: a later release may have written keys that this one does not know.
            self._records.put(key, stored.body)
            return True

    def commit(self, commit: Commit) -> bool:
        """Record the one result; False when there is one already."""
        return self._create(f"{commit.sid}/commit", commit)

    def committed(self, sid: str) -> Commit | None:
        """Return the result, or None."""
        return self._read(f"{sid}/commit", Commit)

    def over_for(self, sid: str) -> float | None:
        """Return the seconds since the result was recorded, by the store's clock; None while there is none."""
        return self._records.list(f"{sid}/").records.get("commit")

    def cancel(self, sid: str, cancel: Cancel) -> bool:
        """Record the wish to end the job; False when it was recorded before."""
        return self._create(f"{sid}/cancel", cancel)

    def cancelled(self, sid: str) -> Cancel | None:
        """Return the wish to end the job, or None."""
        return self._read(f"{sid}/cancel", Cancel)

    def refuse(self, sid: str, refusal: HostRefusal) -> None:
        """Record why a host cannot run the job, in place of what it said before."""
        self._records.put(f"{sid}/refused/{key_part(refusal.host)}", msgspec.json.encode(refusal))

    def refusals(self, sid: str) -> tuple[HostRefusal, ...]:
        """Return what each host said, by the hosts' names."""
        names = sorted(self._records.list(f"{sid}/refused/").records)
        found = (self._read(f"{sid}/refused/{name}", HostRefusal) for name in names)
        return tuple(refusal for refusal in found if refusal is not None)

    def bury(self, sid: str, burial: Burial) -> bool:
        """Record that a message, of whatever id, lies among the dead letters; False when that was recorded before."""
        return self._create(_burial_key(sid), burial)

    def close_burial(self, sid: str, burial: Burial) -> None:
        """Record what became of a dead letter, in place of what was recorded before."""
        self._records.put(_burial_key(sid), msgspec.json.encode(burial))

    def burial(self, sid: str) -> Burial | None:
        """Return why and since when a message is dead, or None."""
        return self._read(_burial_key(sid), Burial)

    def artifact_key(self, sid: str, n: int, name: str) -> str:
        """Return the key of an artifact of an attempt, relative to the artifact root."""
        return f"{_attempt_key(sid, n)}/{name}"

    def artifact_uri(self, sid: str, n: int, name: str) -> str:
        """Return the URI of an artifact of an attempt; slashes in `name` stay."""
        return self._uri(self.artifact_key(sid, n, name))

    def uri_of(self, artifact: Artifact) -> str:
        """Return the URI of an artifact that a record names."""
        return self._uri(artifact.key)

    def _uri(self, key: str) -> str:
        return f"{self._artifact_root}/{quote(key)}"

    def _ages(self, sid: str) -> dict[int, float]:
        listed = self._records.list(f"{sid}/attempts/").records
        return {int(name): age for name, age in listed.items() if _NUMBER.fullmatch(name)}

    def _create(self, key: str, record: Record) -> bool:
        return self._records.put(key, msgspec.json.encode(record), create=True)

    def _read(self, key: str, kind: type[T]) -> T | None:
        stored = self._records.get(key)
        return None if stored is None else _decoded(key, stored, kind)


def _attempt_key(sid: str, n: int) -> str:
    return f"{sid}/attempts/{n}"


def _burial_key(sid: str) -> str:
    return f"{sid if is_sid(sid) else key_part(sid)}/dead"


def _decoded(key: str, stored: Stored, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(stored.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreUnavailable(
            f'record "{key}" of the results store cannot be read: {error}; restore it or remove it'
        ) from error


def is_sid(text: str) -> bool:
    """Say whether `text` can be a submission id: one safe part of a key in every kind of store."""
    return _SID.fullmatch(text) is not None and not text.endswith(".json")


def check_sid(text: str) -> str:
    """Return `text` when it can be a submission id; raises InvalidInput when it cannot."""
    if not is_sid(text):
        raise InvalidInput(
            f'"{text}" is no submission id',
            hint="at most 127 letters, digits and ._=@+-, none of .=@+- first, and not ending in .json",
        )
    return text


def new_sid(now: float, random_hex: str) -> str:
    """Return an id that sorts by time, such as 20261123-101502-3f9a1c2b. now: seconds since the epoch."""
    return f"{datetime.fromtimestamp(now, timezone.utc):%Y%m%d-%H%M%S}-{random_hex}"


def key_part(name: str) -> str:
    """Return a name from outside in a form that is safe as one part of a key."""
    quoted = quote(name, safe="")
    return "%2E" + quoted[1:] if quoted.startswith(".") else quoted
