from __future__ import annotations

from collections import Counter

import pytest
from agent.fairness import Line, Wish, in_turn


def wishes(by: str, count: int, *, priority: int = 0, age: float = 100.0) -> list[Wish]:
    """Return jobs of one submitter, oldest first."""
    return [Wish(f"{by}-{number}", by, priority, age - number / 1000) for number in range(count)]


def order(
    *groups: list[Wish], running: dict[str, int] | None = None, served: dict[str, int] | None = None
) -> list[str]:
    found = in_turn([wish for group in groups for wish in group], running or {}, served or {})
    return [wish.sid for wish in found]


def test_one_submitters_jobs_start_oldest_first() -> None:
    assert order(wishes("eva", 3)[::-1]) == ["eva-0", "eva-1", "eva-2"]


def test_submitters_take_turns_whoever_came_first() -> None:
    assert order(wishes("eva", 3), wishes("ken", 2, age=10)) == ["eva-0", "ken-0", "eva-1", "ken-1", "eva-2"]


def test_priority_goes_before_turns() -> None:
    assert order(wishes("eva", 2, priority=1), wishes("ken", 1)) == ["eva-0", "eva-1", "ken-0"]


def test_whoever_has_jobs_that_run_lets_others_catch_up() -> None:
    assert order(wishes("eva", 2), wishes("ken", 3, age=10), running={"eva": 2}) == [
        "ken-0",
        "ken-1",
        "eva-0",
        "ken-2",
        "eva-1",
    ]


def test_whoever_was_served_last_comes_last_among_equals() -> None:
    assert order(wishes("eva", 1), wishes("ken", 1, age=10), served={"eva": 7, "ken": 3}) == ["ken-0", "eva-0"]
    assert order(wishes("eva", 1), wishes("ken", 1, age=10), served={"eva": 7}) == ["ken-0", "eva-0"], "never served"


@pytest.mark.parametrize("workers", [1, 4])
def test_a_thousand_jobs_of_one_submitter_delay_another_ones_by_one_job_at_most(workers: int) -> None:
    """Jobs end in the order in which they started; the newcomer comes when half of them are over."""
    waiting, running, served, started = wishes("eva", 1000), list[Wish](), dict[str, int](), list[Wish]()
    while waiting and len(started) < 500:
        _start(waiting, running, served, started, workers)
    waiting.append(Wish("ken-0", "ken", 0, 0.0))
    before = len(started)
    while not any(wish.by == "ken" for wish in started):
        _start(waiting, running, served, started, workers)
    assert len(started) - before == 1, "it starts as soon as a running job ends"


def _start(waiting: list[Wish], running: list[Wish], served: dict[str, int], started: list[Wish], workers: int) -> None:
    if len(running) == workers:
        running.pop(0)
    first = in_turn(waiting, Counter(wish.by for wish in running), served)[0]
    waiting.remove(first)
    running.append(first)
    started.append(first)
    served[first.by] = len(started)


@pytest.fixture
def line() -> Line:
    line = Line()
    line.join("a")
    line.join("b")
    return line


def test_a_queue_that_is_alone_may_always_ask() -> None:
    line = Line()
    line.join("a")
    line.served("a", 0)
    assert line.may_ask("a", 1)
    assert not line.may_ask("a", 0)
    assert not line.is_shared


def test_whoever_was_served_lets_those_go_first_that_have_jobs(line: Line) -> None:
    line.served("a", 0)
    assert line.may_ask("a", 1), "nobody knows whether the other one has jobs"
    line.in_vain("b", 0)
    assert not line.may_ask("a", 1)
    assert line.may_ask("a", 2), "there is a place for each"
    assert line.may_ask("b", 1)
    line.served("b", 0)
    assert line.may_ask("a", 1)
    assert not line.may_ask("b", 1)


def test_nobody_waits_for_a_queue_that_turns_out_to_be_empty(line: Line) -> None:
    line.served("b", 0)
    line.served("a", 0)
    assert not line.may_ask("a", 1)
    line.empty("b", 0)
    assert line.may_ask("a", 1)


def test_a_queue_has_jobs_as_long_as_one_of_its_lanes_has(line: Line) -> None:
    line.served("b", 0)
    line.served("b", 1)
    line.served("a", 0)
    line.empty("b", 0)
    assert not line.may_ask("a", 1)
    line.empty("b", 1)
    assert line.may_ask("a", 1)


def test_nobody_waits_for_a_queue_that_has_left(line: Line) -> None:
    line.in_vain("b", 0)
    line.served("a", 0)
    line.leave("b")
    assert line.may_ask("a", 1)
    line.in_vain("b", 0)
    line.served("b", 0)
    assert line.may_ask("a", 1), "what its last pull gave is not waited for either"
    assert not line.is_shared
