"""The numbers that a monitoring system reads: right, all on their page, and nothing of a job's own in them."""

from __future__ import annotations

import re
from pathlib import Path

from agent.attempt import State
from agent.board import Board, Mode, Refused
from agent.control.protocol import AttemptView, Snapshot
from agent.metrics import families
from agent.model.records import Outcome
from agent.model.share import Share
from agent.model.usage import Totals, Usage
from agent.model.verdict import Reason, Refusal

GIB = 1024**3
NOW = 1000.0
_PAGES = Path(__file__).parents[2] / "agent/docs"
PAGE = (_PAGES / "operations.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]


def attempt(sid: str, state: State, ended_at: float | None = None, waiting: str | None = None) -> AttemptView:
    return AttemptView(
        sid=sid,
        n=1,
        name="secret-project",
        queue="lab",
        state=state,
        step="",
        arch="amd64",
        emulated=False,
        reserved=Share(),
        claimed_at=1.0,
        ended_at=ended_at,
        waiting=waiting,
        reason="token hunter2 was refused",
    )


SNAPSHOT = Snapshot(
    version="1.2.3",
    host="host-a",
    pid=1,
    mode=Mode("draining", "for hunter2"),
    share=Share(4.0, 8 * GIB, 100 * GIB, ("GPU-1", "GPU-2", "GPU-3")),
    free=Share(1.5, 2 * GIB, -5, ("GPU-2",)),
    lanes=("amd64-none",),
    attempts=(
        attempt("sid-a", State.STARTED),
        attempt("sid-b", State.STARTED),
        attempt("sid-c", State.FINISHED, ended_at=NOW - 60, waiting="the store is full"),
        attempt("sid-d", State.COMMITTED, ended_at=NOW - 90, waiting="the store is full"),
        attempt("sid-e", State.FINISHED, ended_at=NOW - 300),
    ),
    ended=(),
    refused=(),
    problems={"queue lab": "gone", "gpu 0000:01:00.0": "lost", "broker": "gone"},
    totals=Totals({"succeeded": 3, "failed": 1}, 12.5, 100, 200, 30.0, {"gpus": 2}, 1),
    queues=("lab", "other"),
)
SAMPLES = {
    'edge_agent_build_info{version="1.2.3"}': 1,
    'edge_agent_state{state="draining"}': 1,
    'edge_agent_state{state="ready"}': 0,
    'edge_agent_attempts_ended_total{outcome="succeeded"}': 3,
    'edge_agent_attempts_ended_total{outcome="lost"}': 0,
    'edge_agent_refusals_total{reason="gpus"}': 2,
    'edge_agent_refusals_total{reason="memory"}': 0,
    "edge_agent_leases_lost_total": 1,
    "edge_agent_job_cpu_seconds_total": 12.5,
    "edge_agent_job_gpu_seconds_total": 30,
    'edge_agent_moved_bytes_total{direction="in"}': 100,
    'edge_agent_moved_bytes_total{direction="out"}': 200,
    'edge_agent_attempts{state="started"}': 2,
    'edge_agent_attempts{state="claimed"}': 0,
    "edge_agent_outbox_attempts": 2,
    "edge_agent_outbox_oldest_seconds": 90,
    "edge_agent_cpus": 4,
    "edge_agent_free_cpus": 1.5,
    "edge_agent_memory_bytes": 8 * GIB,
    "edge_agent_free_memory_bytes": 2 * GIB,
    "edge_agent_disk_bytes": 100 * GIB,
    "edge_agent_free_disk_bytes": 0,
    'edge_agent_gpu_units{state="free"}': 1,
    'edge_agent_gpu_units{state="granted"}': 2,
    "edge_agent_withdrawn_gpus": 1,
    'edge_agent_queue_up{queue="lab"}': 0,
    'edge_agent_queue_up{queue="other"}': 1,
    "edge_agent_problems": 3,
}


def values() -> dict[str, float]:
    """Return the numbers by name and label, as a monitoring system names them."""
    return {
        f'{family.name}{{{family.label}="{value}"}}' if family.label else family.name: number
        for family in families(SNAPSHOT, NOW)
        for value, number in family.values.items()
    }


def test_the_numbers_are_those_of_the_snapshot() -> None:
    found = values()
    assert {name: found.get(name) for name in SAMPLES} == SAMPLES


def test_the_page_has_every_metric_with_its_type_and_its_label_and_no_other() -> None:
    rows = re.findall(r"(?m)^\| `([a-z_]+)(?:\{([a-z]+)\})?` \| (\w+) \|", PAGE)
    assert sorted(rows) == sorted((family.name, family.label, family.kind) for family in families(SNAPSHOT, NOW))


def test_names_follow_the_conventions() -> None:
    for family in families(SNAPSHOT, NOW):
        assert re.fullmatch(r"edge_agent_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter"), family.name
        assert family.help.endswith(".")


def test_nothing_of_a_job_is_told() -> None:
    text = repr(list(families(SNAPSHOT, NOW)))
    assert [word for word in ("secret-project", "hunter2", "sid-", "the store is full") if word in text] == []


def test_without_jobs_the_outbox_has_no_age() -> None:
    empty = Snapshot("1", "h", 1, Mode(), Share(), Share(), (), (), (), ())
    told = {family.name: family.values for family in families(empty, NOW)}
    assert told["edge_agent_outbox_oldest_seconds"] == {"": 0.0}
    assert told["edge_agent_queue_up"] == {}


# --- the sums ---


def refused(*reasons: Reason) -> Refused:
    return Refused("a", "a", "lab", "refused-now", tuple(Refusal(reason, "1", "0") for reason in reasons))


def test_a_refusal_counts_once_for_each_reason_and_again_when_they_change() -> None:
    board = Board()
    for reasons in ((Reason.GPUS, Reason.GPUS, Reason.CPUS), (Reason.GPUS, Reason.GPUS, Reason.CPUS), (Reason.CPUS,)):
        board.refuse(refused(*reasons))
    assert board.totals().refusals_total == {"gpus": 1, "cpus": 2}


def test_each_gpu_of_an_attempt_counts_the_time_that_it_ran() -> None:
    totals = Totals().plus(Outcome.SUCCEEDED.value, Usage(wall_s=10.0), 2).plus(Outcome.LOST.value, Usage(), 1)
    assert totals.gpu_seconds_total == 20.0
    assert totals.jobs_total == {"succeeded": 1, "lost": 1}
