from __future__ import annotations

import threading

import pytest
from agent.loops import Loops

from tests.fakes import FakeClock
from tests.waiting import wait_until


def test_a_step_is_called_with_the_time_again_and_again_until_the_stop() -> None:
    clock, stop, seen = FakeClock(), threading.Event(), list[float]()

    def step(now: float) -> float:
        seen.append(now)
        if len(seen) == 5:
            stop.set()
        return now

    loops = Loops(clock, stop)
    loops.start("counting", step)
    loops.join()
    assert seen == [clock.boottime()] * 5
    assert loops.died is None


def test_a_step_is_not_called_before_it_is_due_and_a_stop_ends_the_wait() -> None:
    clock, stop, calls = FakeClock(), threading.Event(), threading.Semaphore(0)

    def step(now: float) -> float:
        calls.release()
        return now + 3600

    loops = Loops(clock, stop)
    loops.start("slow", step)
    assert calls.acquire(timeout=10)
    stop.set()
    loops.join()
    assert not calls.acquire(blocking=False)


def test_a_step_that_is_late_is_called_at_once() -> None:
    clock, stop, calls = FakeClock(), threading.Event(), list[float]()

    def step(now: float) -> float:
        calls.append(now)
        if len(calls) == 3:
            stop.set()
        return now - 100

    loops = Loops(clock, stop)
    loops.start("late", step)
    loops.join()
    assert len(calls) == 3


def test_a_loop_that_dies_stops_all_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda arguments: told.append(arguments.exc_value))
    stop = threading.Event()
    loops = Loops(FakeClock(), stop)
    loops.start("healthy", lambda now: now + 3600)

    def step(now: float) -> float:
        raise ZeroDivisionError("a bug")

    loops.start("sick", step)
    loops.join()
    assert stop.is_set()
    assert loops.died == "sick"
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_loops_do_not_wait_for_each_other() -> None:
    stop, reached = threading.Event(), threading.Event()
    loops = Loops(FakeClock(), stop)

    def stuck(now: float) -> float:
        stop.wait(10)
        return now

    def free(now: float) -> float:
        reached.set()
        return now + 3600

    loops.start("stuck", stuck)
    loops.start("free", free)
    wait_until(reached.is_set)
    stop.set()
    loops.join()
