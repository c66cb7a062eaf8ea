"""What goes wrong when, and which jobs come when: all of it drawn from one number, so that a run can be repeated. Pure.

A lane is what at most one fault at a time can be done to: the agent of a host, its links, its disk, a server.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Kind = Literal[
    "agent-kill", "agent-detach", "agent-freeze", "holder-kill", "waiter-kill",
    "link-cut", "link-slow", "link-silent", "store-away", "broker-away", "disk-full", "clock-jump",
]  # fmt: skip

LANES: dict[Kind, str] = {
    "agent-kill": "agent",
    "agent-detach": "agent",
    "agent-freeze": "agent",
    "holder-kill": "jobs",
    "waiter-kill": "jobs",
    "link-cut": "link",
    "link-slow": "link",
    "link-silent": "link",
    "disk-full": "disk",
    "clock-jump": "clock",
    "store-away": "store",
    "broker-away": "broker",
}
SERVERS = ("store", "broker")
REST = 0.5  # seconds between two faults of a lane
LONGEST_JUMP = 3 * 86400.0


class Fault(NamedTuple):
    """One fault: it begins `at` seconds after the start and is over `lasts` seconds later.

    host: the number of the host that it happens to, None = a server. size: seconds by which a clock jumps or a piece of
    data is late.
    """

    at: float
    lasts: float
    kind: Kind
    host: int | None
    size: float = 0.0

    @property
    def lane(self) -> tuple[str, int | None]:
        """What it is done to."""
        return LANES[self.kind], self.host

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.lasts

    def __str__(self) -> str:
        where = "server" if self.host is None else f"host {self.host}"
        size = f" {self.size:+.2f} s" if self.size else ""
        return f"{self.at:7.1f} s  {self.kind:<12} {where}{size}, for {self.lasts:.1f} s"


def faults(seed: int, kinds: Sequence[Kind], hosts: int, seconds: float, lease: float) -> tuple[Fault, ...]:
    """Return what goes wrong in a run of so many seconds, first to last.

    Each of the kinds comes at least once, and all come equally often; seconds may be exceeded by what a lane has too
    much of. lease: seconds after which others take over what a silent host has.
    """
    chance = random.Random(f"faults {seed}")
    count = max(len(kinds), round(seconds * hosts / 10))
    drawn = [_fault(chance, kinds[index % len(kinds)], hosts, seconds, lease) for index in range(count)]
    return tuple(sorted(_one_after_the_other(drawn)))


def _fault(chance: random.Random, kind: Kind, hosts: int, seconds: float, lease: float) -> Fault:
    host = None if LANES[kind] in SERVERS else chance.randrange(hosts)
    at = chance.uniform(0.05, 0.9) * seconds
    lasts, size = chance.uniform(0.5, 1.2) * lease, 0.0
    if kind in ("holder-kill", "waiter-kill"):
        lasts = 0.0
    elif kind == "agent-kill" and chance.random() < 0.5:
        lasts = 0.0  # it comes back at once
    elif kind == "agent-freeze":
        lasts = chance.uniform(1.2, 1.8) * lease
    elif kind == "link-slow":
        size = chance.uniform(0.02, 0.3)
    elif kind == "clock-jump":
        size = chance.choice((-1, 1)) * chance.choice((lease * 3, LONGEST_JUMP))
    return Fault(round(at, 2), round(lasts, 2), kind, host, round(size, 2))


def _one_after_the_other(drawn: Iterable[Fault]) -> list[Fault]:
    free: dict[tuple[str, int | None], float] = {}
    placed = []
    for fault in sorted(drawn):
        at = max(fault.at, free.get(fault.lane, 0.0))
        placed.append(fault._replace(at=round(at, 2)))
        free[fault.lane] = placed[-1].until + REST
    return placed


class Task(NamedTuple):
    """One job: what it is like, when it is submitted, and for how many seconds it works."""

    number: int
    kind: str
    at: float
    seconds: float
    priority: int
    cancel_after: float

    @property
    def sid(self) -> str:
        """Its submission id."""
        return f"chaos-{self.number:05d}"


def tasks(seed: int, kinds: dict[str, int], count: int, seconds: float) -> tuple[Task, ...]:
    """Return the jobs of a run, first to last. kinds: with their weights; the first jobs are one of each."""
    chance = random.Random(f"tasks {seed}")
    names = chance.sample(list(kinds), len(kinds))
    names += chance.choices(list(kinds), list(kinds.values()), k=max(0, count - len(names)))
    moments = sorted(chance.uniform(0.0, 0.9) * seconds for _ in range(count))
    return tuple(
        Task(
            number=number,
            kind=names[number],
            at=round(at, 2),
            seconds=round(chance.triangular(0.0, 3.0, 0.3), 2),
            priority=chance.choice((0, 0, 0, -5, 5)),
            cancel_after=round(chance.uniform(0.0, 4.0), 2),
        )
        for number, at in enumerate(moments)
    )
