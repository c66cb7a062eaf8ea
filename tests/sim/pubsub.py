"""A queue on Pub/Sub: subscriptions that hand each message to any one of the pulls that wait there."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Literal, NamedTuple

from agent.adapters.pubsub.lane import SHORTEST_DELAY
from agent.lanes import has_room
from agent.policy import Case, refusal_delay
from agent.pulling import LOOK_AWAY, REFUSALS_IN_A_ROW, SURPLUS_EVERY, SURPLUS_PULL
from agent.spare import Terms

from tests.sim.agents import Agent, Answer
from tests.sim.engine import Tally, Timeline
from tests.sim.fleet import Host
from tests.sim.workload import Task

LATENCY = 0.05  # seconds between server and host
PULL_WAIT = 30.0  # seconds that a pull waits at the server
ONE_FOR_ALL = "all"  # the subscription of a queue that has no lanes


class Rules(NamedTuple):
    """What is tried.

    lanes: a subscription for each, or one for all. room: a lane is asked only while what its jobs want is free.
    held: what is held until there is room: "nothing", "surplus" that no worker is free for, or "all" that does not fit.
    """

    lanes: bool = True
    room: bool = True
    held: Literal["nothing", "surplus", "all"] = "surplus"


class _Pull(NamedTuple):
    puller: _Puller
    until: float


class _Subscription:
    """Messages first in, first out; each goes to any one of the pulls that wait."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self._timeline = timeline
        self._random = random
        self._ready: deque[Task] = deque()
        self._pulls: list[_Pull] = []

    def put(self, task: Task) -> None:
        while self._pulls:
            index = self._random.randrange(len(self._pulls))
            self._pulls[index], self._pulls[-1] = self._pulls[-1], self._pulls[index]
            pull = self._pulls.pop()
            if pull.until >= self._timeline.now:
                self._hand(task, pull.puller)
                return
        self._ready.append(task)

    def put_later(self, task: Task, seconds: float) -> None:
        self._timeline.after(seconds, lambda: self.put(task))

    def pull(self, puller: _Puller, seconds: float) -> float:
        """Wait for a message; return when the pull ends without one."""
        until = self._timeline.now + seconds
        if self._ready:
            self._hand(self._ready.popleft(), puller)
        else:
            self._pulls.append(_Pull(puller, until))
        return until

    def _hand(self, task: Task, puller: _Puller) -> None:
        self._timeline.after(LATENCY, lambda: puller.receive(task))


class _Held(NamedTuple):
    task: Task
    puller: _Puller


class _Host:
    """One agent with its pullers, and the job that it holds until there is room."""

    def __init__(self, agent: Agent, timeline: Timeline, rules: Rules) -> None:
        self.agent = agent
        self.rules = rules
        self.pullers: list[_Puller] = []
        self._timeline = timeline
        self._held: _Held | None = None

    def has_place(self, answer: Answer) -> bool:
        """Say whether a job that got this answer can be held."""
        if self._held is not None or answer in (Answer.ACCEPTED, Answer.REFUSED_HERE):
            return False
        return self.rules.held == "all" or (self.rules.held == "surplus" and answer is Answer.SURPLUS)

    def hold(self, task: Task, puller: _Puller) -> None:
        """Hold a job, for a while; its staging takes no time here."""
        held = self._held = _Held(task, puller)

        def over() -> None:
            if self._held is held:
                self._held = None
                puller.give_back(task, Case.REFUSED_NOW)

        self._timeline.after(Terms().hold, over)

    def ended(self) -> None:
        """Let the job that is held have what has become free, and ask for more."""
        if self._held is not None and self.agent.answer(self._held.task) is Answer.ACCEPTED:
            held, self._held = self._held, None
            self.agent.run(held.task, self.ended)
        for puller in self.pullers:
            puller.pull()


class _Puller:
    """What one agent does with one subscription: one pull at a time."""

    def __init__(
        self, host: _Host, lane: str, subscription: _Subscription, timeline: Timeline, tally: Tally, random: Random
    ) -> None:
        self._host = host
        self._lane = lane
        self._agent = host.agent
        self._subscription = subscription
        self._timeline = timeline
        self._tally = tally
        self._random = random
        self._waits_until: float | None = None

    def pull(self) -> None:
        """Pull unless a pull waits already, or there is no room for what may come."""
        if self._waits_until is None and not self._is_full:
            self._wait(PULL_WAIT)

    @property
    def _is_full(self) -> bool:
        return self._agent.workers == 0 or (self._host.rules.room and not has_room(self._agent.free, self._lane))

    def pull_surplus(self) -> None:
        """Ask for a job to hold, briefly, while there is no room."""
        if self._waits_until is None and self._is_full and self._host.has_place(Answer.SURPLUS):
            self._wait(SURPLUS_PULL)
        self._timeline.after(SURPLUS_EVERY, self.pull_surplus)

    def _wait(self, seconds: float) -> None:
        until = self._waits_until = self._timeline.now + seconds
        self._subscription.pull(self, seconds)

        def over() -> None:
            if self._waits_until == until:
                self._waits_until = None
                self.pull()

        self._timeline.at(until, over)

    def receive(self, task: Task) -> None:
        """Answer the delivery that a pull brought, and pull on."""
        self._waits_until = None
        answer = self._agent.answer(task)
        if answer is Answer.ACCEPTED:
            self._agent.run(task, self._host.ended)
        elif self._host.has_place(answer):
            self._host.hold(task, self)
            answer = Answer.ACCEPTED if answer is Answer.SURPLUS else answer
        elif answer is Answer.SURPLUS:
            self._subscription.put_later(task, SHORTEST_DELAY * (1 + self._random.random()))
        else:
            self.give_back(task, Case(answer.value.replace("-", " ")))
        self._tally.deliver(answer.value)
        pause = LOOK_AWAY * self._random.random() if self._agent.refusals >= REFUSALS_IN_A_ROW else 0.0
        self._timeline.after(pause, self.pull)

    def give_back(self, task: Task, case: Case) -> None:
        """Let the message come again."""
        self._subscription.put_later(task, refusal_delay(case, self._random.random(), shared=True))


class PubSub:
    """One queue, with a subscription for each lane, or one for all."""

    def __init__(self, hosts: Sequence[Host], timeline: Timeline, tally: Tally, random: Random, rules: Rules) -> None:
        self._timeline = timeline
        self._tally = tally
        self._random = random
        self._rules = rules
        self._subscriptions: dict[str, _Subscription] = {}
        for each in hosts:
            host = _Host(Agent(each, timeline, tally), timeline, rules)
            names = each.lanes if rules.lanes else (ONE_FOR_ALL,)
            host.pullers = [_Puller(host, name, self._subscription(name), timeline, tally, random) for name in names]
            for puller in host.pullers:
                timeline.at(random.random(), puller.pull)
                if rules.held != "nothing":
                    timeline.at(random.random() * SURPLUS_EVERY, puller.pull_surplus)

    def submit(self, task: Task) -> None:
        """Publish a job."""
        self._tally.submit(task)
        self._subscription(task.lane if self._rules.lanes else ONE_FOR_ALL).put(task)

    def _subscription(self, name: str) -> _Subscription:
        if name not in self._subscriptions:
            self._subscriptions[name] = _Subscription(self._timeline, self._random)
        return self._subscriptions[name]
