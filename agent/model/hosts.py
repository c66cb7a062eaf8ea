"""What a results store keeps of the hosts that use it: wishes of operators, and what the host says to them.

Keys, below the results store's root; no submission id begins with "@":

    @hosts/<host>/wishes/<n>     one wish, created once; the highest n counts, whatever any clock says
    @hosts/<host>/note           what the host does, rewritten by its agent
"""

from __future__ import annotations

from typing import Literal

from agent.model.records import Record

Wanted = Literal["paused", "draining", "ready"]


class Wish(Record, frozen=True):
    """What somebody wants of a host. at: seconds since the epoch, for people; by: who, as they say themselves."""

    want: Wanted
    at: float
    by: str | None = None
    note: str | None = None


class HostNote(Record, frozen=True):
    """What a host does. wish: the number of the newest wish that it knows, 0 = none.

    jobs: the jobs that are here, outbox included; None while new ones may come. state and reason as in its advert.
    """

    host: str
    state: str
    at: float
    wish: int = 0
    reason: str | None = None
    by: str | None = None
    jobs: tuple[str, ...] | None = None
    version: str | None = None
