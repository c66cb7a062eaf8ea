"""The operators' side: pause, drain and resume hosts from elsewhere. Needs the results stores only.

operator = Operator(stores.hosts(config.queues), bell)
asked = operator.ask("board-1", Wish("draining", time.time(), "eva@desk", "new fan"))
operator.look(asked).is_drained
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from agent.errors import BrokerUnavailable, NotFound, StoreUnavailable, nearest
from agent.hosts import Hosts, Told
from agent.model.hosts import Wish
from agent.ports import Bell

log = logging.getLogger(__name__)

OFFLINE = "offline"


class Asked(msgspec.Struct, frozen=True):
    """A wish that was put into a store (by its root) under the number n."""

    host: str
    store: str
    n: int
    wish: Wish


class Answer(msgspec.Struct, frozen=True):
    """How a host stands to a wish. state, reason, by, jobs: as it noted them itself, age seconds ago.

    has_seen: it knows this wish. overruled: it knows a newer one.
    """

    asked: Asked
    state: str | None = None
    reason: str | None = None
    by: str | None = None
    jobs: tuple[str, ...] | None = None
    age: float | None = None
    has_seen: bool = False
    overruled: bool = False

    @property
    def is_drained(self) -> bool:
        """True when no job is there and none will come before somebody wants it.

        A host whose agent ended without jobs looks for wishes before it takes a job again.
        """
        closed = self.state == OFFLINE or (self.has_seen and self.state in ("paused", "draining"))
        return closed and self.jobs == ()


class Operator:
    """Hosts as an operator sees them. Methods raise StoreUnavailable."""

    def __init__(self, stores: Mapping[str, Hosts], bell: Bell | None = None) -> None:
        """stores: by their roots. bell: of hosts, where there is a broker."""
        self._stores = stores
        self._bell = bell

    def hosts(self) -> tuple[str, ...]:
        """Return the ids of all hosts that have used one of the stores, sorted."""
        return tuple(sorted({host for store in self._stores.values() for host in store.known()}))

    def ask(self, host: str, wish: Wish) -> Asked:
        """Want something of a host: in one store that it uses, for it tells the others itself.

        Raises NotFound when it uses none.
        """
        failure: StoreUnavailable | None = None
        known: set[str] = set()
        for root, store in self._stores.items():
            try:
                known.update(store.known())
                if host in known:
                    asked = Asked(host, root, store.wish(host, wish), wish)
                    self._ring(host)
                    return asked
            except StoreUnavailable as error:
                failure = error
        if failure is not None:
            raise failure
        raise NotFound(f'no host "{host}" has used {", ".join(self._stores)} ({nearest(host, known) or "nobody has"})')

    def look(self, asked: Asked) -> Answer:
        """Return how the host stands to the wish now."""
        told = self._stores[asked.store].told(asked.host)
        return Answer(asked) if told is None else _answer(asked, told)

    def _ring(self, host: str) -> None:
        if self._bell is None:
            return
        try:
            self._bell.ring(host)
        except BrokerUnavailable as error:
            fields = {"event": "bell-not-rung", "reason": str(error)}
            log.warning("the bell could not be rung: the host sees it within half a minute", extra=fields)


def _answer(asked: Asked, told: Told) -> Answer:
    note = told.note
    return Answer(
        asked=asked,
        state=note.state,
        reason=note.reason,
        by=note.by,
        jobs=note.jobs,
        age=told.age,
        has_seen=note.wish >= asked.n,
        overruled=note.wish > asked.n,
    )
