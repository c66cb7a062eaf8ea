"""Queues that clients make and delete in a project, found by listing its subscriptions again and again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

from agent.context import Context, Queue
from agent.errors import Unavailable
from agent.ports import Delivery
from agent.pubsub_choice import MOST, Choice, Found, Rules, choose
from agent.pulling import Health, Puller, Turns, Workers

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0  # seconds between two looks at the list
_LISTING = 0  # the number of the list among the ways that may fail


@dataclass(frozen=True)
class Project:
    """A project whose queues are served. name: what the configuration calls them together.

    look: lists its subscriptions; raises Unavailable. make: the queue of a subscription, by its short name.
    wait: seconds that one pull may block.
    """

    name: str
    rules: Rules
    look: Callable[[], Sequence[Found]]
    make: Callable[[str], Queue]
    wait: float


class Discovery:
    """Lets the queues of one project take turns for as long as they are there."""

    def __init__(self, context: Context, project: Project, workers: Workers, turns: Turns) -> None:
        self._context = context
        self._project = project
        self._workers = workers
        self._turns = turns
        self._health = Health(context, project.name)
        self._numbers = count(_LISTING + 1)
        self._lock = threading.Lock()
        self._served: dict[str, tuple[int, Puller]] = {}
        self._failures = 0
        self.has_looked = False

    def step(self, now: float) -> float:
        """Look at the list, begin with new queues and end with those that are gone; return when to come again."""
        try:
            found = self._project.look()
        except Unavailable as error:
            self._failures += 1
            self._health.failed(_LISTING, str(error))
            pause = self._context.back_off.delay(self._failures, self._context.random())
            return self._context.clock.boottime() + min(LOOK_EVERY, pause)
        self._failures = 0
        self._health.answered(_LISTING)
        self._follow(choose(found, self.served(), self._project.rules))
        self.has_looked = True
        return now + LOOK_EVERY

    def served(self) -> tuple[str, ...]:
        """Return the subscriptions that are served, in the order in which they were found."""
        with self._lock:
            return tuple(self._served)

    def _follow(self, choice: Choice) -> None:
        served = self.served()
        for name in served:
            if name not in choice.names:
                self._end(name)
        for name in choice.names:
            if name not in served:
                self._begin(name)
        self._context.board.problem(f"queues of {self._project.name}", _too_many(choice))

    def _begin(self, name: str) -> None:
        queue, number = self._project.make(name), next(self._numbers)
        way = (number, "", partial(self._pull, name, queue))
        puller = Puller(self._context, queue, self._workers, self._project.wait, way, self._health)
        with self._lock:
            self._served[name] = (number, puller)
        self._turns.join(puller)
        log.info("queue found", extra={"event": "queue-found", "queue": queue.name})

    def _end(self, name: str) -> None:
        """Pull from it no more. Its jobs that run here go on to their end."""
        with self._lock:
            number, puller = self._served.pop(name, (None, None))
        if number is None or puller is None:
            return
        self._turns.leave(puller)
        self._health.forget(number)
        log.info("queue is gone", extra={"event": "queue-gone", "queue": f"{self._project.name}:{name}"})

    def _pull(self, name: str, queue: Queue, timeout: float) -> Delivery | None:
        """Pull as the queue's source does; a queue that fails because it was deleted is not in trouble, but gone."""
        try:
            return queue.source.pull(timeout)
        except Unavailable:
            if not _is_gone(queue):
                raise
            self._end(name)
            return None


def _is_gone(queue: Queue) -> bool:
    try:
        return queue.senders is not None and queue.senders.gone()
    except Unavailable:
        return False


def _too_many(choice: Choice) -> str | None:
    if not choice.left_out:
        return None
    remedy = "narrow queues.match or queues.mismatch"
    return f"{choice.left_out} more queues match than the {MOST} that are served; {remedy}"
