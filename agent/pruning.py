"""Retention: what has been over for long is removed from a results store.

The commit goes last: as long as it is there, a message that comes again finds it, and what was begun can be completed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from agent.ports import Clearing
from agent.results import Results

# An attempt that goes on writes its record anew within each lease; none is renewed as seldom as this, in seconds.
_GOES_ON = 86400.0


class Overdue(msgspec.Struct, frozen=True):
    """A job that has been over for `age` seconds by the store's clock. size: the bytes of its result's artifacts."""

    sid: str
    state: str
    age: float
    size: int


def overdue(results: Results, queued: Collection[str], older_than: float) -> Iterator[Overdue]:
    """Yield the jobs whose result is older than `older_than` seconds, but for those that are still on their queue.

    Whoever settles such a job later finds its result, and so does a late attempt that still goes on. Jobs without a
    result are never among them: what waits, runs, or lies among the dead letters stays.
    """
    for sid in results.sids():
        if sid in queued:
            continue
        age = results.over_for(sid)
        commit = results.committed(sid) if age is not None and age >= older_than else None
        if age is not None and commit is not None and not _goes_on(results, sid):
            yield Overdue(sid, commit.outcome.value, age, sum(each.size for each in commit.artifacts))


def _goes_on(results: Results, sid: str) -> bool:
    """Say whether a late attempt may still be running: without the commit it would make one of its own."""
    return any(record.outcome is None and age < _GOES_ON for record, age in results.attempts(sid))


def remove(results: Results, clearing: Clearing, sid: str) -> None:
    """Remove a job that is over from the results store `clearing` is of. The same call again completes a broken one."""
    listing = results.records.list(f"{sid}/")
    for prefix in listing.prefixes:
        clearing.clear(f"{sid}/{prefix}/")
    for name in (*(each for each in listing.records if each != "commit"), "commit"):
        results.records.delete(f"{sid}/{name}")
    clearing.clear(f"{sid}/")
