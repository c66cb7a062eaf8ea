"""One run: a fleet, its jobs, a queue; and what came of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from agent.config.sections import AgentSection

from tests.sim.engine import Tally, Timeline
from tests.sim.fleet import fleet
from tests.sim.pubsub import PubSub, Rules
from tests.sim.store import StoreQueue, Terms
from tests.sim.workload import MIXED_JOBS, SUBMITTERS, JobKind, Task, workload

STARVE_AFTER = AgentSection(state_dir="/").starve_after
JOBS_PER_HOST = 0.0516  # jobs each second that keep all CPUs of one host of the mixed fleet busy, on average


class Scenario(NamedTuple):
    """What is simulated. load: part of the fleet's CPUs that the jobs ask for; minutes: measured after as many again.

    store: a store queue in place of Pub/Sub.
    """

    name: str
    hosts: int
    load: float
    minutes: float
    rules: Rules = Rules()
    store: Terms | None = None
    jobs: tuple[JobKind, ...] = MIXED_JOBS
    seed: int = 1


class Outcome(NamedTuple):
    """What came of a run. Shares are parts of 1, times are seconds.

    refused: deliveries that no job came of, by reason, as parts of all; starved: jobs that waited for longer than
    starve_after; fairness: Jain's index of the submitters' mean waiting times, 1 = all alike; requests: to the store,
    each hour, by kind, of all hosts.
    """

    scenario: Scenario
    jobs: int
    deliveries: int
    refused: Mapping[str, float]
    waits: Sequence[float]
    by_kind: Mapping[str, Sequence[float]]
    starved: int
    fairness: float
    requests: Mapping[str, float]

    @property
    def refused_in_all(self) -> float:
        """The part of the deliveries that no job came of."""
        return sum(self.refused.values())

    def wait(self, part: float) -> float:
        """Return the waiting time that `part` of the jobs do not exceed."""
        return quantile(self.waits, part)


def quantile(ordered: Sequence[float], part: float) -> float:
    """Return the value that `part` of the ordered values do not exceed; 0 of none."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario."""
    random = Random(scenario.seed)
    timeline = Timeline()
    until = scenario.minutes * 120.0
    tally = Tally(timeline, until / 2)
    hosts = fleet(scenario.hosts, random)
    tasks = workload(scenario.load * JOBS_PER_HOST * scenario.hosts, until, random, scenario.jobs)
    if scenario.store is None:
        queue: PubSub | StoreQueue = PubSub(hosts, timeline, tally, random, scenario.rules)
    else:
        queue = StoreQueue(hosts, timeline, tally, random, scenario.store)
    for task in tasks:
        timeline.at(task.at, partial(queue.submit, task))
    timeline.run(until)
    return _outcome(scenario, tally, until)


def _outcome(scenario: Scenario, tally: Tally, until: float) -> Outcome:
    # A job that still waits at the end has waited so long at least.
    waits = {sid: tally.waits.get(sid, until - task.at) for sid, task in tally.submitted.items()}
    by_kind: dict[str, list[float]] = defaultdict(list)
    for sid, wait in waits.items():
        by_kind[tally.submitted[sid].kind].append(wait)
    deliveries = sum(tally.deliveries.values())
    return Outcome(
        scenario,
        len(tally.submitted),
        deliveries,
        {name: count / deliveries for name, count in sorted(tally.deliveries.items()) if name != "accepted"},
        sorted(waits.values()),
        {kind: sorted(each) for kind, each in sorted(by_kind.items())},
        sum(wait > STARVE_AFTER for wait in waits.values()),
        _fairness(waits, tally.submitted),
        {kind: count * 7200.0 / until for kind, count in tally.requests.items()},
    )


def _fairness(waits: Mapping[str, float], tasks: Mapping[str, Task]) -> float:
    """Return Jain's index, (sum x)^2 / (n sum x^2), of one second more than each submitter's mean waiting time."""
    of = [[wait for sid, wait in waits.items() if tasks[sid].submitter == each] for each in range(SUBMITTERS)]
    means = [1 + sum(each) / len(each) for each in of if each]
    return sum(means) ** 2 / (len(means) * sum(mean**2 for mean in means)) if means else 1.0
