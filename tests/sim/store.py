"""A queue in a store: agents list what waits, check the first of it, and claim. Counts the requests that this takes."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from random import Random
from typing import NamedTuple

from agent.claims import CHECKS_PER_LOOK
from agent.lanes import has_room
from agent.policy import Case, refusal_delay, ring_delay

from tests.sim.agents import Agent, Answer
from tests.sim.engine import Tally, Timeline
from tests.sim.fleet import Host
from tests.sim.workload import Task

REQUEST = 0.005  # seconds that one request takes
PAGE = 1000  # keys in one answer to a listing
LEASE = 120.0
# Requests for one job, see agent.results: to check whether it is free, or what runs it; to read and claim it; a
# renewal, with a look for a wish to end it; the end of an attempt, with a log and one output; a submission; a mark,
# wherever one is set, renewed and removed.
CHECK_FREE, CHECK_TAKEN, CLAIM, RENEWAL, END, SUBMISSION, MARK = 1, 3, 7, 4, 9, 2, 1


class Terms(NamedTuple):
    """How agents look. look_every: seconds between looks that find nothing.

    bell: submitters ring. marks: whoever takes a job marks it in the listing. spread: hosts that come late look later.
    """

    look_every: float
    bell: bool
    marks: bool = True
    spread: bool = True


@dataclass(eq=False)
class Waiting:
    """A job in the queue, until it is settled; by: the agent that runs it, since claimed_at."""

    task: Task
    by: Agent | None = None
    claimed_at: float = 0.0
    marked: bool = False


class StoreQueue:
    """One queue: what waits in each lane, oldest first, and who looks there."""

    def __init__(self, hosts: Sequence[Host], timeline: Timeline, tally: Tally, random: Random, terms: Terms) -> None:
        self.terms = terms
        self.tally = tally
        self.lanes: dict[str, dict[str, Waiting]] = defaultdict(dict)
        self._lookers: dict[str, list[_Looker]] = defaultdict(list)
        for host in hosts:
            looker = _Looker(Agent(host, timeline, tally), self, timeline, random)
            for lane in host.lanes:
                self._lookers[lane].append(looker)
            timeline.at(random.random() * terms.look_every, looker.wake)

    def submit(self, task: Task) -> None:
        """Put a job into the queue, and ring."""
        self.tally.submit(task)
        self.tally.request("submit", SUBMISSION)
        self.lanes[task.lane][task.sid] = Waiting(task)
        if self.terms.bell:
            for looker in self._lookers[task.lane]:
                looker.ring()

    def settle(self, task: Task) -> None:
        """Take a job off the queue."""
        del self.lanes[task.lane][task.sid]
        mark = MARK if self.terms.marks else 0
        self.tally.request("renew", (RENEWAL + mark) * int(task.seconds / (LEASE / 3)))
        self.tally.request("end", END + mark)


class _Looker:
    """What one agent does with the queue: one look at a time, while a worker is free."""

    def __init__(self, agent: Agent, queue: StoreQueue, timeline: Timeline, random: Random) -> None:
        self._agent = agent
        self._queue = queue
        self._timeline = timeline
        self._random = random
        self._due = math.inf
        self._rung = False
        self._late = 0  # rings in a row after which others were sooner
        self._others: dict[str, float] = {}  # jobs that others run: until when they need no check
        self._put_off: dict[str, float] = {}

    def wake(self) -> None:
        """Look now, unless that is about to happen."""
        self._look_in(0.0)

    def ring(self) -> None:
        """Hear the bell."""
        if not self._may_look:
            return
        terms = self._queue.terms
        self._rung = True
        self._look_in(ring_delay(self._late, self._random.random(), terms.look_every) if terms.spread else REQUEST)

    @property
    def _may_look(self) -> bool:
        return self._agent.workers > 0 and has_room(self._agent.free)

    def _look_in(self, seconds: float) -> None:
        at = self._timeline.now + seconds
        if at < self._due:
            self._due = at
            self._timeline.at(at, lambda: self._look() if self._due == at else None)

    def _look(self) -> None:
        self._due = math.inf
        if not self._may_look:
            return
        checked = self._check()
        rung, self._rung = self._rung, False
        if rung:
            self._late = self._late + 1 if checked.found is None else 0
        if checked.found is None:
            self._look_in(self._queue.terms.look_every)
        else:
            found = checked.found
            self._timeline.after(checked.requests * REQUEST, lambda: self._claim(found))

    def _check(self) -> _Checked:
        """List, and check one job after the other until one is free."""
        queue, now, requests = self._queue, self._timeline.now, 0
        for lane in self._agent.host.lanes:
            pages = max(1, math.ceil(len(queue.lanes[lane]) / PAGE))
            queue.tally.request("look", pages)
            requests += pages
        for waiting in islice(self._worth_a_check(now), CHECKS_PER_LOOK):
            if waiting.by is None:
                queue.tally.request("check", CHECK_FREE)
                waiting.marked = queue.terms.marks
                return _Checked(waiting, requests + CHECK_FREE + 1)
            queue.tally.request("check", CHECK_TAKEN)
            requests += CHECK_TAKEN
            renewed = (now - waiting.claimed_at) % (LEASE / 3)
            self._others[waiting.task.sid] = now + LEASE - renewed
        return _Checked(None, requests)

    def _worth_a_check(self, now: float) -> Iterator[Waiting]:
        lanes = [self._queue.lanes[lane].values() for lane in self._agent.host.lanes]
        for waiting in merge(*lanes, key=lambda each: each.task.at):
            sid = waiting.task.sid
            if waiting.marked or waiting.by is self._agent:
                continue
            if self._others.get(sid, 0.0) <= now and self._put_off.get(sid, 0.0) <= now:
                yield waiting

    def _claim(self, waiting: Waiting) -> None:
        queue, task, now = self._queue, waiting.task, self._timeline.now
        queue.tally.request("claim", CLAIM + (MARK if queue.terms.marks else 0))
        if waiting.by is not None or task.sid not in queue.lanes[task.lane]:
            queue.tally.deliver("too-late")
            self._put_off[task.sid] = now + refusal_delay(Case.REFUSED_NOW, self._random.random(), shared=False)
        else:
            answer = self._agent.answer(task)
            queue.tally.deliver(answer.value)
            if answer is Answer.ACCEPTED:
                waiting.by, waiting.claimed_at = self._agent, now
                self._agent.run(task, lambda: self._done(task))
            else:
                waiting.marked = False
                case = Case.REFUSED_HERE if answer is Answer.REFUSED_HERE else Case.REFUSED_NOW
                self._put_off[task.sid] = now + refusal_delay(case, self._random.random(), shared=False)
        self._forget(now)
        self._look_in(REQUEST)

    def _done(self, task: Task) -> None:
        self._queue.settle(task)
        self._look_in(REQUEST)

    def _forget(self, now: float) -> None:
        self._others = {sid: until for sid, until in self._others.items() if until > now}
        self._put_off = {sid: until for sid, until in self._put_off.items() if until > now}


class _Checked(NamedTuple):
    found: Waiting | None
    requests: int
