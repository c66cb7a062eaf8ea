"""The agents: what they have free, and what they answer to a delivery. The decisions are the product's own."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec
from agent.lanes import has_room
from agent.matching import MatchPolicy, candidate_archs, chosen_units, match, need
from agent.model.image import ImageFacts
from agent.model.share import Share
from agent.model.verdict import Standing

from tests.sim.engine import Tally, Timeline
from tests.sim.fleet import Host
from tests.sim.workload import Task

POLICY = MatchPolicy(image_prefixes=("docker://tools",))


class Answer(str, Enum):
    """What an agent does with a delivery. surplus: nothing is free for it."""

    ACCEPTED = "accepted"
    REFUSED_NOW = "refused-now"
    REFUSED_HERE = "refused-here"
    SURPLUS = "surplus"


_ANSWERS = {
    Standing.ACCEPTED: Answer.ACCEPTED,
    Standing.REFUSED_NOW: Answer.REFUSED_NOW,
    Standing.REFUSED_HERE: Answer.REFUSED_HERE,
}


class Agent:
    """One host at work. refusals: in a row."""

    def __init__(self, host: Host, timeline: Timeline, tally: Tally) -> None:
        self.host = host
        self.free = host.share
        self.workers = max(1, int(host.share.cpus))
        self.refusals = 0
        self._timeline = timeline
        self._tally = tally

    def answer(self, task: Task) -> Answer:
        """Say what to do with a delivery."""
        verdict = self._match(task)
        full = self.workers == 0 or not has_room(self.free)
        answer = Answer.SURPLUS if full and verdict is not Answer.REFUSED_HERE else verdict
        self.refusals = self.refusals + 1 if answer in (Answer.REFUSED_NOW, Answer.REFUSED_HERE) else 0
        return answer

    def _match(self, task: Task) -> Answer:
        images = {arch: ImageFacts(arch, 0) for arch in candidate_archs(task.job, self.host.profile, POLICY)}
        return _ANSWERS[match(task.job, self.host.profile, self.host.share, self.free, images, POLICY).standing]

    def run(self, task: Task, when_done: Callable[[], None]) -> None:
        """Run a job that was accepted, and call `when_done` at its end."""
        reserved = need(task.job, chosen_units(task.job, self.host.profile, self.free.gpus) or ())
        self.workers -= 1
        self.free = self.free.minus(reserved)
        self._tally.start(task)

        def end() -> None:
            self.workers += 1
            left = self.free.minus(Share(-reserved.cpus, -reserved.memory, -reserved.disk))
            self.free = msgspec.structs.replace(left, gpus=(*left.gpus, *reserved.gpus))
            when_done()

        self._timeline.after(task.seconds, end)
