"""What a monitoring system is told: numbers out of one Snapshot, by the names that Prometheus wants. Pure.

No label has the name of a job or of anything that a job brings along: their values are few, and the operator's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from agent.attempt import State
from agent.board import ModeName
from agent.control.protocol import Snapshot
from agent.model.records import Outcome
from agent.model.verdict import Reason


class Family(NamedTuple):
    """Values of one kind. values: by the value of the label `label`; of a family without label by ""."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    values: Mapping[str, float]
    label: str = ""


def families(snapshot: Snapshot, now: float) -> Iterator[Family]:
    """Yield everything that is told; `now` in seconds since the epoch."""
    yield _gauge("edge_agent_build_info", "Always 1; the release of the agent.", {snapshot.version: 1}, "version")
    states = {name: float(name == snapshot.mode.name) for name in get_args(ModeName)}
    yield _gauge("edge_agent_state", "1 for the state that the host is in.", states, "state")
    yield from _ends(snapshot)
    yield from _work(snapshot, now)
    yield from _share(snapshot)
    yield from _troubles(snapshot)


def _ends(snapshot: Snapshot) -> Iterator[Family]:
    """What is counted since the agent started."""
    totals = snapshot.totals
    ended = _complete(totals.jobs_total, (each.value for each in Outcome))
    yield _counter("edge_agent_attempts_ended_total", "Attempts at jobs that ended.", ended, "outcome")
    refusals = _complete(totals.refusals_total, (each.value for each in Reason))
    yield _counter("edge_agent_refusals_total", "Refused jobs, again when their reasons change.", refusals, "reason")
    lost = {"": float(totals.leases_lost_total)}
    yield _counter("edge_agent_leases_lost_total", "Attempts whose job another host took over.", lost)
    cpu = {"": totals.cpu_seconds_total}
    yield _counter("edge_agent_job_cpu_seconds_total", "CPU time of attempts that ended.", cpu)
    gpu = {"": totals.gpu_seconds_total}
    yield _counter("edge_agent_job_gpu_seconds_total", "Time of ended attempts with a GPU, for each GPU.", gpu)
    moved = {"in": float(totals.bytes_in_total), "out": float(totals.bytes_out_total)}
    yield _counter("edge_agent_moved_bytes_total", "Bytes fetched and stored for ended attempts.", moved, "direction")


def _work(snapshot: Snapshot, now: float) -> Iterator[Family]:
    states = [attempt.state.value for attempt in snapshot.attempts]
    live = {state.value: float(states.count(state.value)) for state in State if not state.is_end}
    yield _gauge("edge_agent_attempts", "Attempts that are here now.", live, "state")
    waiting = [attempt.ended_at or now for attempt in snapshot.attempts if attempt.waiting is not None]
    yield _gauge("edge_agent_outbox_attempts", "Ended attempts whose results cannot leave.", {"": len(waiting)})
    oldest = max([0.0, *(now - ended_at for ended_at in waiting)])
    yield _gauge("edge_agent_outbox_oldest_seconds", "Time since the end of the oldest of them.", {"": oldest})


def _share(snapshot: Snapshot) -> Iterator[Family]:
    share, free = snapshot.share, snapshot.free
    for unit, what, of_all, left in (
        ("cpus", "CPUs", share.cpus, free.cpus),
        ("memory_bytes", "Memory", share.memory, free.memory),
        ("disk_bytes", "Disk", share.disk, free.disk),
    ):
        yield _gauge(f"edge_agent_{unit}", f"{what} for jobs.", {"": float(of_all)})
        yield _gauge(f"edge_agent_free_{unit}", f"{what} that no job has reserved.", {"": max(0.0, float(left))})
    units = {"free": float(len(free.gpus)), "granted": float(len(set(share.gpus) - set(free.gpus)))}
    yield _gauge("edge_agent_gpu_units", "GPUs, or parts of them, for jobs.", units, "state")
    withdrawn = sum(part.startswith("gpu ") for part in snapshot.problems)
    yield _gauge("edge_agent_withdrawn_gpus", "GPUs that could be given out before.", {"": float(withdrawn)})


def _troubles(snapshot: Snapshot) -> Iterator[Family]:
    queues = {name: float(f"queue {name}" not in snapshot.problems) for name in snapshot.queues}
    yield _gauge("edge_agent_queue_up", "1 for a queue that answers.", queues, "queue")
    yield _gauge("edge_agent_problems", "Problems that `edge-agent status` shows.", {"": len(snapshot.problems)})


def _gauge(name: str, help: str, values: Mapping[str, float], label: str = "") -> Family:
    return Family(name, "gauge", help, values, label)


def _counter(name: str, help: str, values: Mapping[str, float], label: str = "") -> Family:
    return Family(name, "counter", help, values, label)


def _complete(counted: Mapping[str, int], names: Iterable[str]) -> dict[str, float]:
    """Return the numbers with 0 for what has not been yet: a rate needs a value before the first one."""
    return {**dict.fromkeys(names, 0.0), **{name: float(number) for name, number in counted.items()}}
