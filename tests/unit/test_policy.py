from __future__ import annotations

from typing import Any

import msgspec
import pytest
from agent.attempt import Ending
from agent.model.job import Job, parse_job
from agent.model.records import AttemptRecord, Outcome
from agent.model.run import Exit
from agent.model.usage import Usage
from agent.policy import (
    RING_SPREAD,
    SETTLING,
    BackOff,
    Case,
    Message,
    Pause,
    counted,
    ending_of,
    give_back_delay,
    hopeless,
    refusal_delay,
    ring_delay,
    settle,
)

HOST = "host-a"
END, AGAIN = Case.FAILED, Case.FAILED_RETRY
FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.OUT_OF_MEMORY)


def job(**keys: Any) -> Job:
    return parse_job({"image": "file:///a.sif", **keys})


def ended(outcome: Outcome, exit_code: int | None = None) -> Ending:
    return Ending(outcome, None, exit_code)


def record(outcome: Outcome | None, host: str = HOST, *, n: int = 1, took_over: bool = False) -> AttemptRecord:
    return AttemptRecord("job-1", n, host, "token", 0.0, outcome=outcome, took_over=took_over)


# --- settling ---


FIRST_ATTEMPT = {
    Outcome.SUCCEEDED: Case.SUCCEEDED,
    Outcome.FAILED: Case.FAILED,
    Outcome.TIMED_OUT: Case.FAILED,
    Outcome.OUT_OF_MEMORY: Case.FAILED,
    Outcome.CANCELLED: Case.CANCELLED,
    Outcome.EXPIRED: Case.EXPIRED,
    Outcome.STOPPED: Case.STOPPED,
    Outcome.SETUP_FAILED: Case.SETUP_FAILED,
    Outcome.DEFERRED: Case.DEFERRED,
    Outcome.LOST: Case.LOST,
    Outcome.SUPERSEDED: Case.SUPERSEDED,
}


@pytest.mark.parametrize("outcome", Outcome)
def test_a_first_attempt_without_retries_settles_by_its_outcome(outcome: Outcome) -> None:
    assert settle(ended(outcome), job(), []) is FIRST_ATTEMPT[outcome]


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize(
    ("retries", "used", "becomes"),
    [(0, 0, END), (1, 0, AGAIN), (1, 1, END), (2, 1, AGAIN), (2, 2, END), (2, 5, END)],
)
def test_failures_of_the_job_are_retried_as_often_as_it_says(
    outcome: Outcome, retries: int, used: int, becomes: Case
) -> None:
    assert settle(ended(outcome, 1), job(retries=retries), [record(Outcome.FAILED)] * used) is becomes


@pytest.mark.parametrize(
    ("retry_on", "exit_code", "becomes"),
    [
        ((), 3, AGAIN),
        ((3,), 3, AGAIN),
        ((4, 3), 3, AGAIN),
        ((4,), 3, END),
        ((4,), None, END),
        ((), None, AGAIN),
    ],
)
def test_only_the_exit_codes_that_the_job_names_are_retried(
    retry_on: tuple[int, ...], exit_code: int | None, becomes: Case
) -> None:
    assert settle(ended(Outcome.FAILED, exit_code), job(retries=1, retry_on=retry_on), []) is becomes


@pytest.mark.parametrize("outcome", [*sorted(set(Outcome) - set(FAILURES)), None])
def test_what_is_not_the_fault_of_the_job_uses_up_no_retry(outcome: Outcome | None) -> None:
    assert settle(ended(Outcome.FAILED, 1), job(retries=1), [record(outcome)] * 9) is AGAIN


def test_the_end_of_an_attempt_that_was_taken_over_counts_no_more() -> None:
    ends = [record(Outcome.FAILED, n=1), record(Outcome.FAILED, n=2, took_over=True), record(None, n=3)]
    assert [each.n for each in counted(ends)] == [2, 3]


@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.EXPIRED])
def test_results_are_committed_whatever_retries_are_left(outcome: Outcome) -> None:
    assert SETTLING[settle(ended(outcome), job(retries=9), [])].commits


@pytest.mark.parametrize(
    ("hosts", "is_hopeless"),
    [
        ([], False),
        (["a", "b"], False),
        ([HOST, HOST, HOST], False),
        (["a", "b", "b", "b"], False),
        (["a", "b", "c"], True),
        (["a", "b", "a", "c"], True),
    ],
)
def test_a_job_that_three_hosts_cannot_set_up_is_hopeless(hosts: list[str], is_hopeless: bool) -> None:
    assert hopeless(record(Outcome.SETUP_FAILED, host) for host in hosts) == ("setup-failed" if is_hopeless else None)


def test_a_hopeless_job_is_given_up_for_the_reason_of_the_last_host() -> None:
    failed = [msgspec.structs.replace(record(Outcome.SETUP_FAILED, host), reason=host * 2) for host in "abc"]
    assert hopeless([*failed, record(Outcome.LOST, "d")]) == "cc"


def test_other_ends_on_other_hosts_do_not_make_a_job_hopeless() -> None:
    others = [record(outcome, f"host-{outcome.value}") for outcome in Outcome if outcome is not Outcome.SETUP_FAILED]
    assert hopeless([*others, record(Outcome.SETUP_FAILED), record(Outcome.SETUP_FAILED, "b")]) is None


def test_the_table_has_a_row_for_every_case_and_each_row_makes_sense() -> None:
    assert set(SETTLING) == set(Case)
    for case, row in SETTLING.items():
        assert (row.pause is Pause.NONE) == (row.message is not Message.BACK), case
        assert not row.letter or row.message is Message.OFF, case
        assert not (row.commits and row.letter), case
        assert not row.commits or row.message is Message.OFF, case


@pytest.mark.parametrize(
    ("case", "shared", "delay"),
    [
        (Case.REFUSED_NOW, False, 6.0),
        (Case.REFUSED_NOW, True, 6.0),
        (Case.REFUSED_HERE, False, 750.0),
        (Case.REFUSED_HERE, True, 6.0),
    ],
)
def test_what_is_refused_is_left_alone_for_long_only_where_others_see_it(
    case: Case, shared: bool, delay: float
) -> None:
    assert refusal_delay(case, 0.5, shared=shared) == delay


# --- what an exit means ---


def exit_of(why: str = "exited", code: int | None = 0, *, signal: int | None = None, started: bool = True) -> Exit:
    return Exit(code, signal, why, started, 1.0 if started else None, 2.0)


@pytest.mark.parametrize(
    ("exit", "outcome", "reason"),
    [
        (exit_of(), Outcome.SUCCEEDED, None),
        (exit_of(code=3), Outcome.FAILED, "exit code 3"),
        (exit_of(code=None, signal=9), Outcome.FAILED, "killed by signal 9"),
        (exit_of("timeout", 143), Outcome.TIMED_OUT, "ran longer than its timeout of 5 s"),
        (exit_of("memory", 137), Outcome.OUT_OF_MEMORY, "used more than its 1048576 bytes of memory"),
        (exit_of("disk", 0), Outcome.FAILED, "left more on disk than its 2097152 bytes of requires.disk"),
        (
            exit_of("pids", 137),
            Outcome.FAILED,
            "had more processes and threads than [limits] pids of its host allows",
        ),
        (exit_of("cancelled", 143), Outcome.CANCELLED, "cancelled"),
        (exit_of("lease-lost", 143), Outcome.SUPERSEDED, "another attempt took over"),
        (
            exit_of("disk-low"),
            Outcome.DEFERRED,
            "the disk of its host was nearly full, and it grew the fastest of the jobs there",
        ),
        (
            exit_of("disk-low", None, started=False),
            Outcome.DEFERRED,
            "the disk of its host was nearly full, and it grew the fastest of the jobs there",
        ),
        (exit_of("stopped", 143), Outcome.STOPPED, "stopped by its host"),
        (exit_of("holder-ended", 143), Outcome.STOPPED, "stopped by its host (holder-ended)"),
        (exit_of("cancelled", None, started=False), Outcome.CANCELLED, "cancelled"),
    ],
)
def test_the_end_of_a_container_becomes_the_end_of_its_attempt(
    exit: Exit, outcome: Outcome, reason: str | None
) -> None:
    ending = ending_of(exit, job(timeout=5, requires={"memory": "1MiB", "disk": "2MiB"}))
    assert (ending.outcome, ending.reason, ending.exit_code) == (outcome, reason, exit.exit_code)
    assert (ending.started_at, ending.ended_at) == (exit.started_at, exit.ended_at)


def test_a_container_that_never_ran_is_a_failed_set_up_with_the_words_of_the_runtime() -> None:
    silent = ending_of(exit_of(code=255, started=False), job())
    assert silent.outcome is Outcome.SETUP_FAILED
    assert "log" in (silent.reason or "")
    told = ending_of(Exit(None, None, "exited", False, None, 2.0, "no such image"), job())
    assert (told.outcome, told.reason) == (Outcome.SETUP_FAILED, "no such image")


@pytest.mark.parametrize(("why", "words"), [("timeout", "ran longer than"), ("memory", "used more than")])
def test_a_limit_reached_before_the_payload_ran_is_a_failed_set_up(why: str, words: str) -> None:
    ending = ending_of(exit_of(why, None, started=False), job(timeout=5))
    assert ending.outcome is Outcome.SETUP_FAILED
    assert f"never set up: it {words}" in (ending.reason or "")


@pytest.mark.parametrize(("why", "by"), [("exited", "itself"), ("timeout", "timeout"), ("cancelled", "cancelled")])
def test_the_use_says_who_ended_the_job(why: str, by: str) -> None:
    used = Usage(cpu_s=1.5, peak_memory_bytes=7, wall_s=2.0)
    exit = msgspec.structs.replace(exit_of(why), usage=used)
    assert ending_of(exit, job(timeout=5)).usage == msgspec.structs.replace(used, ended_by=by)
    assert ending_of(exit_of(why), job(timeout=5)).usage == Usage(ended_by=by)


# --- pauses ---

BACK_OFF = BackOff(10.0, 100.0)


def test_pauses_double_up_to_the_longest() -> None:
    assert [BACK_OFF.delay(failures, 0.0) for failures in range(1, 7)] == [10.0, 20.0, 40.0, 80.0, 100.0, 100.0]


@pytest.mark.parametrize("failures", [1, 4, 5000, 10**9])
def test_pauses_stay_within_half_and_the_whole_however_many_failures(failures: int) -> None:
    whole = BACK_OFF.delay(failures, 0.0)
    assert whole <= 100.0
    assert BACK_OFF.delay(failures, 0.5) == 0.75 * whole
    assert whole / 2 < BACK_OFF.delay(failures, 0.999999) < whole


def test_a_stopped_job_is_given_back_at_once() -> None:
    assert give_back_delay(Case.STOPPED, [record(Outcome.FAILED)] * 3, BACK_OFF, 0.0) == 0.0


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        (Case.FAILED_RETRY, Outcome.FAILED),
        (Case.SETUP_FAILED, Outcome.SETUP_FAILED),
        (Case.DEFERRED, Outcome.DEFERRED),
        (Case.LOST, Outcome.LOST),
    ],
)
def test_the_pause_grows_with_every_attempt_that_did_not_just_stop(case: Case, outcome: Outcome) -> None:
    earlier = [record(Outcome.STOPPED), record(outcome), record(None), record(outcome, "b")]
    assert give_back_delay(case, [], BACK_OFF, 0.0) == 10.0
    assert give_back_delay(case, earlier, BACK_OFF, 0.0) == 40.0


def test_hosts_spread_after_a_ring_the_wider_the_more_often_they_come_too_late() -> None:
    assert ring_delay(0, 0.5, 30.0) == 0.5 * RING_SPREAD
    assert ring_delay(3, 0.5, 30.0) == 8 * ring_delay(0, 0.5, 30.0)
    assert ring_delay(1000, 0.5, 30.0) == 15.0
    assert ring_delay(1000, 0.0, 30.0) == 0.0
