from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from agent.loops import Loops
from agent.watchdog import LONGEST_STEP, Watchdog

from tests.fakes import FakeClock
from tests.waiting import wait_until

WITHIN = 180.0


class Held:
    """Loops of which one is in a step until `release`; they turn no further."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.told: list[str] = []
        self._go, self._stop = threading.Event(), threading.Event()
        self.loops = Loops(self.clock, self._stop)
        self.watchdog = Watchdog(self.loops, self.told.append, WITHIN)

    def hold(self, name: str) -> None:
        """Start a loop whose first step does not come back by itself."""

        def step(now: float) -> float:
            self._go.wait(30)
            return now + 3600

        self.loops.start(name, step)
        wait_until(lambda: name in self.loops.in_step())

    def step(self) -> float:
        """Let the watchdog look; the time until it wants to look again."""
        now = self.clock.boottime()
        return self.watchdog.step(now) - now

    def release(self) -> None:
        """Let the step come back."""
        self._go.set()
        wait_until(lambda: not self.loops.in_step())

    def end(self) -> None:
        """End the loops."""
        self._go.set()
        self._stop.set()
        self.loops.join()


@pytest.fixture
def held() -> Iterator[Held]:
    """Loops that are ended after the test."""
    made = Held()
    yield made
    made.end()


def test_while_the_loops_turn_the_manager_is_told_often_enough(held: Held) -> None:
    assert held.step() == WITHIN / 3
    assert held.step() == WITHIN / 3
    assert held.told == ["WATCHDOG=1"] * 2


def test_a_step_may_take_long(held: Held) -> None:
    held.hold("leases")
    held.clock.advance(LONGEST_STEP)
    held.step()
    assert held.told == ["WATCHDOG=1"]


def test_a_loop_that_does_not_come_back_is_named_once_and_nothing_more_is_told(
    held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    held.hold("leases")
    held.clock.advance(LONGEST_STEP + 1)
    with caplog.at_level(logging.CRITICAL):
        held.step()
        held.step()
    assert held.told == []
    assert [vars(record)["loops"] for record in caplog.records] == [["leases"]]


def test_a_loop_that_comes_back_after_all_is_forgiven(held: Held) -> None:
    held.hold("leases")
    held.clock.advance(LONGEST_STEP + 1)
    held.step()
    held.release()
    held.step()
    assert held.told == ["WATCHDOG=1"]


def test_deliveries_may_take_as_long_as_they_need(held: Held) -> None:
    held.hold("outbox")
    held.clock.advance(10 * LONGEST_STEP)
    held.step()
    assert held.told == ["WATCHDOG=1"]
