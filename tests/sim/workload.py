"""Jobs of a mixed fleet: kinds in shares, arriving at random, running for log-normal times."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

from agent.lanes import lane_name
from agent.model.job import Job, parse_job

MIB, GIB = 1024**2, 1024**3


class JobKind(NamedTuple):
    """One kind of job: parts of all jobs, what it requires, and how long it runs (seconds: median, longest)."""

    name: str
    weight: float
    requires: dict[str, object]
    median: float
    longest: float


# Of a thousand jobs. At full load no kind of host is asked for more than it has.
MIXED_JOBS = (
    JobKind("anywhere", 422, {"cpus": 1, "memory": 256 * MIB}, 60, 1800),
    JobKind("arm64", 350, {"arch": ["arm64"], "cpus": 1, "memory": 512 * MIB}, 60, 1800),
    JobKind("amd64", 190, {"arch": ["amd64"], "cpus": 1, "memory": GIB}, 90, 3600),
    JobKind("arm-32", 20, {"arch": ["arm"], "cpus": 1, "memory": 128 * MIB}, 30, 600),
    JobKind("jetson", 8, {"arch": ["arm64"], "accel": "jetson", "gpus": 1, "cpus": 2, "memory": 2 * GIB}, 180, 3600),
    JobKind("nvidia", 8, {"arch": ["amd64"], "gpus": 1, "cpus": 2, "memory": 8 * GIB}, 300, 7200),
    JobKind("four-cpus", 1, {"arch": ["arm64"], "cpus": 4, "memory": GIB}, 120, 1800),
    JobKind("large", 1, {"arch": ["amd64"], "cpus": 4, "memory": 12 * GIB}, 300, 7200),
)
# The same with thirty jobs of four CPUs instead of one.
ODD_SIZES = tuple(kind._replace(weight=30 if kind.name == "four-cpus" else kind.weight) for kind in MIXED_JOBS)
SUBMITTERS = 20  # the k-th of them submits in proportion to 1 / k
SPREAD = 0.8  # of the logarithm of a job's time


class Task(NamedTuple):
    """One submitted job. at, seconds: when it is submitted, and for how long it runs."""

    sid: str
    kind: str
    job: Job
    lane: str
    submitter: int
    at: float
    seconds: float


def workload(rate: float, until: float, random: Random, kinds: tuple[JobKind, ...] = MIXED_JOBS) -> list[Task]:
    """Return the jobs that are submitted in `until` seconds, `rate` of them each second on average, in their order."""
    jobs = [parse_job({"image": "docker://tools", "name": kind.name, "requires": kind.requires}) for kind in kinds]
    weights = [kind.weight for kind in kinds]
    submitters = [1 / (k + 1) for k in range(SUBMITTERS)]
    tasks: list[Task] = []
    at = random.expovariate(rate)
    while at < until:
        (index,) = random.choices(range(len(kinds)), weights)
        (submitter,) = random.choices(range(SUBMITTERS), submitters)
        kind, job = kinds[index], jobs[index]
        seconds = min(kind.longest, random.lognormvariate(math.log(kind.median), SPREAD))
        tasks.append(Task(f"j{len(tasks)}", kind.name, job, lane_name(*job.lane), submitter, at, seconds))
        at += random.expovariate(rate)
    return tasks
