from __future__ import annotations

from collections.abc import Callable

import pytest
from agent.errors import Unavailable
from agent.studioml.senders import ASK_EVERY, CONFIRMED_AFTER, LOOK_EVERY, KnownSenders

from tests.fakes import FakeClock, FakeSenders


class Counting(FakeSenders):
    """Counts how often somebody looks or asks."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0
        self.questions = 0

    def gone(self) -> bool:
        self.looks += 1
        return super().gone()

    def listening(self) -> bool:
        self.questions += 1
        return super().listening()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def senders() -> Counting:
    return Counting()


@pytest.fixture
def known(senders: Counting, clock: FakeClock) -> KnownSenders:
    return KnownSenders(senders, clock)


def looks(
    known: KnownSenders, clock: FakeClock, seconds: float, before: Callable[[], None] = lambda: None
) -> list[bool]:
    """Look again and again, as observers do, for so long."""
    seen = []
    for _ in range(int(seconds / LOOK_EVERY)):
        before()
        seen.append(known.left())
        clock.advance(LOOK_EVERY)
    return seen


def test_a_queue_that_is_there_was_left_by_nobody(known: KnownSenders, clock: FakeClock) -> None:
    assert not any(looks(known, clock, 300))


def test_a_queue_is_left_when_it_was_seen_deleted_for_thirty_seconds(
    known: KnownSenders, senders: Counting, clock: FakeClock
) -> None:
    senders.has_queue = False
    assert looks(known, clock, CONFIRMED_AFTER) == [False, False, False]
    assert known.left()
    assert known.left()


def test_two_looks_far_apart_are_enough(known: KnownSenders, senders: Counting, clock: FakeClock) -> None:
    senders.has_queue = False
    assert not known.left()
    clock.advance(CONFIRMED_AFTER)
    assert known.left()


def test_one_look_is_never_enough(known: KnownSenders, senders: Counting, clock: FakeClock) -> None:
    assert not known.left()
    clock.advance(3600.0)
    senders.has_queue = False
    assert not known.left()
    assert not known.left()


def test_a_queue_that_is_made_again_was_not_left(known: KnownSenders, senders: Counting, clock: FakeClock) -> None:
    def flicker() -> None:
        senders.has_queue = not senders.has_queue

    assert not any(looks(known, clock, 600, before=flicker))


def test_a_server_that_does_not_answer_deletes_nothing_and_forgets_nothing(
    known: KnownSenders, senders: Counting, clock: FakeClock
) -> None:
    senders.has_queue = False
    assert not known.left()
    senders.down = True
    clock.advance(CONFIRMED_AFTER)
    with pytest.raises(Unavailable):
        known.left()
    assert not known.left()
    senders.down = False
    clock.advance(LOOK_EVERY)
    assert known.left()


def test_all_attempts_of_a_queue_share_their_looks(known: KnownSenders, senders: Counting, clock: FakeClock) -> None:
    for _ in range(20):
        known.left()
        known.listening()
    assert (senders.looks, senders.questions) == (1, 1)
    clock.advance(ASK_EVERY)
    for _ in range(20):
        known.left()
        known.listening()
    assert (senders.looks, senders.questions) == (2, 2)


def test_who_begins_to_listen_is_heard_of_within_a_minute(
    known: KnownSenders, senders: Counting, clock: FakeClock
) -> None:
    assert not known.listening()
    senders.has_place_for_reports = True
    clock.advance(ASK_EVERY)
    assert known.listening()
    known.tell([b"one"])
    assert senders.reports == (b"one",)


def test_a_question_that_fails_is_not_asked_again_at_once(
    known: KnownSenders, senders: Counting, clock: FakeClock
) -> None:
    senders.has_place_for_reports = True
    assert known.listening()
    clock.advance(ASK_EVERY)
    senders.down = True
    with pytest.raises(Unavailable):
        known.listening()
    assert not known.listening()
    assert senders.questions == 2
