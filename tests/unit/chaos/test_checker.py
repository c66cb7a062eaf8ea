from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent.model.records import AttemptRecord, Commit, Outcome

from tests.chaos.checker import NOTHING, JobFacts, violations
from tests.chaos.jobs import EXPECTED
from tests.chaos.schedule import Task

TOLD = {("chaos-00000", 1, "start"), ("chaos-00000", 1, "end")}


def task(kind: str = "plain") -> Task:
    return Task(0, kind, 0.0, 1.0, 0, 0.0)


def attempt(n: int = 1, **keys: Any) -> AttemptRecord:
    record = AttemptRecord("chaos-00000", n, "host-0", f"token-{n}", 1.0, "committed", outcome=Outcome.SUCCEEDED)
    return msgspec.structs.replace(record, **keys)


def commit(**keys: Any) -> Commit:
    record = Commit("chaos-00000", 1, "host-0", "token-1", Outcome.SUCCEEDED, 2.0, exit_code=0)
    return msgspec.structs.replace(record, **keys)


GOOD = JobFacts(commit=commit(), tokens=("token-1",), attempts=(attempt(),), outputs={"out": ("chaos-00000 1\n",)})
FAILED = attempt(state="released", outcome=Outcome.FAILED)


def found(facts: JobFacts, kind: str = "plain", told: set[tuple[str, int, str]] = TOLD) -> str:
    return "; ".join(violations([task(kind)], {"chaos-00000": facts}, told, ()))


def but(**keys: Any) -> JobFacts:
    return msgspec.structs.replace(GOOD, **keys)


def test_a_job_that_ran_and_was_committed_once_is_right() -> None:
    assert found(GOOD) == ""


def test_every_kind_of_job_must_be_somewhere() -> None:
    for kind in EXPECTED:
        assert "lost" in found(NOTHING, kind, set())


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        (but(waiting=True), "it is in the queue"),
        (but(dead="not JSON"), "it is in the dead"),
        (but(commit=None, attempts=(), waiting=True), "it is not in the results"),
        (but(commit=commit(outcome=Outcome.FAILED)), "its result is failed"),
        (but(commit=commit(exit_code=4)), "its exit code is 4"),
        (but(tokens=("token-0",)), "committed twice: tokens"),
        (but(attempts=(attempt(), attempt(2))), "committed twice: by attempts 1, 2"),
        (but(attempts=()), "of which there is no record"),
        (but(attempts=(attempt(token="other"),)), "of which there is no record"),
        (but(attempts=(attempt(outcome=Outcome.LOST),)), "attempt 1 says lost"),
        (but(attempts=(attempt(), attempt(2, state="started", outcome=None))), "attempt 2 on host-0 still holds"),
        (but(outputs={}), "its output out is missing"),
        (but(outputs={"out": ("chaos-00000 2\n",)}), "its output out is wrong"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_violation_is_found(facts: JobFacts, sentence: str) -> None:
    assert sentence in found(facts)


def test_a_commit_of_what_never_ran_is_found() -> None:
    assert "committed and never ran" in found(GOOD, told=set())
    assert "never did its work" in found(GOOD, told={("chaos-00000", 1, "start")})
    assert "committed and never ran" in found(GOOD, told={("chaos-00000", 2, "start"), ("chaos-00000", 2, "end")})


def test_an_output_that_was_not_published_is_found() -> None:
    assert "missing at the place" in found(GOOD, "published")
    assert "what is published is wrong" in found(but(published="?"), "published")
    assert found(but(published="chaos-00000 1\n"), "published") == ""


def test_a_failing_job_has_as_many_failures_as_its_retries_allow() -> None:
    last = attempt(2, outcome=Outcome.FAILED)
    result = commit(n=2, token="token-2", outcome=Outcome.FAILED, exit_code=7)
    told = {("chaos-00000", 2, "start"), ("chaos-00000", 2, "end")}
    right = JobFacts(commit=result, attempts=(FAILED, last))
    assert found(right, "failing", told) == ""
    assert "attempts [2] failed" in found(msgspec.structs.replace(right, attempts=(last,)), "failing", told)
    late = attempt(3, state="superseded", took_over=True, outcome=Outcome.SUPERSEDED)
    assert found(msgspec.structs.replace(right, attempts=(FAILED, last, late)), "failing", told) == "", "it won"
    over = msgspec.structs.replace(last, took_over=True)
    assert "attempts [2] failed" in found(msgspec.structs.replace(right, attempts=(FAILED, over)), "failing", told)


def test_what_never_may_run_did_not() -> None:
    assert found(JobFacts(waiting=True), "huge", set()) == ""
    assert found(JobFacts(dead="not JSON"), "undecodable", set()) == ""
    assert "it must never run" in found(JobFacts(waiting=True), "huge")
    assert "it must never run" in found(JobFacts(waiting=True, attempts=(FAILED,)), "huge", set())
    assert "it is not in the dead" in found(JobFacts(waiting=True), "undecodable", set())


def test_a_cancelled_job_has_a_result_without_a_run() -> None:
    result = commit(n=0, token="submitter", outcome=Outcome.CANCELLED, exit_code=None)
    assert found(JobFacts(commit=result), "cancelled", set()) == ""
    assert "the result is not its own" in found(JobFacts(commit=result, attempts=(attempt(),)), "cancelled", set())


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("1 1\n2 1\n3 1\n4 2\n5 2\n", True),
        ("1 1\n2 1\n2 2\n3 2\n4 2\n5 2\n", False),
        ("1 1\n2 1\n4 2\n5 2\n", False),
        ("1 2\n2 1\n3 1\n4 2\n5 2\n", False),
        ("", False),
    ],
)
def test_a_job_with_a_checkpoint_did_each_step_once_and_went_on_where_it_was(text: str, right: bool) -> None:
    facts = JobFacts(
        commit=commit(n=2, token="token-2"),
        attempts=(attempt(outcome=Outcome.LOST, state="released"), attempt(2)),
        outputs={"out": (text,)},
    )
    told = {("chaos-00000", 2, "start"), ("chaos-00000", 2, "end")}
    assert (found(facts, "checkpoint", told) == "") is right


def test_jobs_that_nobody_submitted_and_what_is_left_on_hosts_are_named() -> None:
    said = violations([task()], {"chaos-00000": GOOD, "ghost": NOTHING}, TOLD, ["host-0: 17 sleep", "host-0: mount"])
    assert said == (
        "ghost: in the stores, and nobody submitted it",
        "left over: host-0: 17 sleep",
        "left over: host-0: mount",
    )
