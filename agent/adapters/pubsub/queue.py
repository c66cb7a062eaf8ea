"""Everything of one queue on Pub/Sub, over one connection."""

from __future__ import annotations

from collections.abc import Iterable

from agent.adapters.pubsub.admin import PubSubAdmin
from agent.adapters.pubsub.connection import Connection
from agent.adapters.pubsub.lane import PubSubLane
from agent.adapters.pubsub.letters import PubSubLetterBox
from agent.adapters.pubsub.senders import PubSubSenders
from agent.adapters.pubsub.sending import PubSubDeadLetters, PubSubSubmitter
from agent.foreign import NotedDeadLetters, NotedLetterBox
from agent.ports import Clock, DeadLetters, LetterBox
from agent.pubsub_plan import EMULATOR_RETENTION_DAYS, LANES, PLAIN, RETENTION_DAYS, Place, plan
from agent.results import Results


class PubSubQueue:
    """Makes the parts of the queue called `name`."""

    def __init__(self, name: str, place: Place, connection: Connection, results: Results, clock: Clock) -> None:
        self._name = name
        self._place = place
        self._connection = connection
        self._results = results
        self._clock = clock

    def lanes(self, names: Iterable[str], lease: float) -> dict[str, PubSubLane]:
        """Return a source for each lane, by name; ("*",) = all there are. A plain queue is one, whatever the names."""
        known = LANES if tuple(names) == ("*",) else tuple(names)
        return {each: self._lane(each, lease) for each in ((PLAIN,) if self._place.plain else known)}

    def _lane(self, lane: str, lease: float) -> PubSubLane:
        parts = (self._connection, self._results, self._clock)
        return PubSubLane(self._name, self._place, lane, *parts, lease=lease)

    def submitter(self) -> PubSubSubmitter:
        """Return where jobs are submitted."""
        return PubSubSubmitter(self._name, self._place, self._connection, self._results)

    def dead_letters(self) -> DeadLetters:
        """Return where messages go that nobody can run; whoever owns a plain queue has no place for them."""
        if self._place.plain:
            return NotedDeadLetters(self._results, self._clock)
        return PubSubDeadLetters(self._place, self._connection, self._results, self._clock)

    def letter_box(self) -> LetterBox:
        """Return the dead letters, as operators handle them."""
        if self._place.plain:
            return NotedLetterBox(self._name, self._results)
        return PubSubLetterBox(self._name, self._place, self._connection, self.submitter())

    def senders(self) -> PubSubSenders:
        """Return those who put jobs on the queue."""
        return PubSubSenders(self._place, self._connection)

    def admin(self, lanes: Iterable[str]) -> PubSubAdmin:
        """Return what makes the queue with these lanes."""
        days = EMULATOR_RETENTION_DAYS if self._connection.is_emulator else RETENTION_DAYS
        return PubSubAdmin(plan(self._place, lanes, days), self._connection)
