"""Whose turn it is: among the submitters of one queue, and among the queues of one host. Pure.

Nobody's many jobs keep somebody else's one waiting for longer than one job takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Wish(NamedTuple):
    """A waiting job. by: its submitter; age: seconds since it was submitted."""

    sid: str
    by: str
    priority: int
    age: float


def in_turn(wishes: Iterable[Wish], running: Mapping[str, int], served: Mapping[str, int]) -> Sequence[Wish]:
    """Return the jobs in the order in which they should start: by priority; among equals in turns; then the oldest.

    The turn is that of the submitter with the fewest jobs before this one, those that run included (`running`, by
    submitter); among these, of the one that was served longest ago (`served`: numbers that grow, none = never).
    """
    before = Counter(running)
    places: dict[str, tuple[int, int, int, float]] = {}
    wishes = sorted(wishes, key=lambda wish: (-wish.priority, -wish.age))
    for wish in wishes:
        places[wish.sid] = (-wish.priority, before[wish.by], served.get(wish.by, 0), -wish.age)
        before[wish.by] += 1
    return sorted(wishes, key=lambda wish: places[wish.sid])


class Line:
    """The queues of a host by when each was served last; those that have jobs go before those served since.

    A queue has jobs when the last pull by one of its `ways` gave one, or gave one in vain. Whoever uses it locks it.
    """

    def __init__(self) -> None:
        self._served: dict[str, int] = {}
        self._has_jobs: set[tuple[str, int]] = set()
        self._turns = 0

    def join(self, name: str) -> None:
        """Let a queue take part."""
        self._served.setdefault(name, 0)

    def leave(self, name: str) -> None:
        """Let a queue take no more part, whatever is noted of it from now on."""
        self._served.pop(name, None)
        self._has_jobs = {each for each in self._has_jobs if each[0] != name}

    @property
    def is_shared(self) -> bool:
        """Say whether there is more than one queue."""
        return len(self._served) > 1

    def served(self, name: str, way: int) -> None:
        """Note that the queue gave a job to this host."""
        if name in self._served:
            self._turns += 1
            self._served[name] = self._turns
            self._has_jobs.add((name, way))

    def in_vain(self, name: str, way: int) -> None:
        """Note that the queue gave a job for which there was no place: it stays where it is in the line."""
        if name in self._served:
            self._has_jobs.add((name, way))

    def empty(self, name: str, way: int) -> None:
        """Note that the queue gave nothing, or does not answer."""
        self._has_jobs.discard((name, way))

    def may_ask(self, name: str, places: int) -> bool:
        """Say whether so many places leave one for this queue, after those that go before it."""
        own = self._served.get(name, 0)
        before = {each for each, _ in self._has_jobs if each != name and self._served.get(each, 0) < own}
        return places > len(before)
