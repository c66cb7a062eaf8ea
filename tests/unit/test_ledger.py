from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from agent.ledger import Ledger
from agent.model.share import Share

ALL = Share(4.0, 1000, 100, ("GPU-1", "GPU-2"))


def ledger(free_disk: int = 100) -> Ledger:
    return Ledger(ALL, lambda: free_disk)


def reserve(made: Ledger, attempt_id: str, need: Share) -> bool:
    """Reserve what is known beforehand; say whether it fitted."""
    return made.book(attempt_id, lambda free: need) == need


def test_what_is_reserved_is_not_free() -> None:
    made = ledger()
    assert reserve(made, "a.1", Share(1.5, 300, 10, ("GPU-2",)))
    assert made.free() == Share(2.5, 700, 90, ("GPU-1",))
    assert made.share == ALL


def test_a_reservation_is_made_whole_or_not_at_all() -> None:
    made = ledger()
    assert not reserve(made, "a.1", Share(1.0, 1001, 1))
    assert not reserve(made, "b.1", Share(1.0, 1, 1, ("GPU-3",)))
    assert made.free() == ALL
    assert reserve(made, "c.1", ALL)
    assert not reserve(made, "d.1", Share(0.1))


def test_reserving_twice_is_one_reservation() -> None:
    made = ledger()
    assert reserve(made, "a.1", Share(3.0, 1, 1))
    assert reserve(made, "a.1", Share(3.0, 1, 1))
    assert made.free().cpus == 1.0


def test_a_finished_attempt_keeps_its_disk_alone_until_it_is_released() -> None:
    made = ledger()
    reserve(made, "a.1", Share(4.0, 1000, 60, ("GPU-1",)))
    made.release_compute("a.1")
    assert made.free() == Share(4.0, 1000, 40, ("GPU-1", "GPU-2"))
    made.release("a.1")
    assert made.free() == ALL


def test_releasing_what_is_not_reserved_changes_nothing() -> None:
    made = ledger()
    made.release("nobody.1")
    made.release_compute("nobody.1")
    assert made.free() == ALL


def test_what_an_earlier_agent_reserved_counts_even_when_it_does_not_fit() -> None:
    made = ledger()
    made.adopt("a.1", Share(6.0, 1000, 10))
    assert made.free() == Share(-2.0, 0, 90, ("GPU-1", "GPU-2"))
    assert not reserve(made, "b.1", Share(0.1))


def test_a_share_that_shrinks_keeps_the_reservations() -> None:
    made = ledger()
    reserve(made, "a.1", Share(3.0, 1, 1))
    made.resize(Share(2.0, 1000, 100))
    assert made.free().cpus == -1.0
    made.release("a.1")
    assert made.free() == Share(2.0, 1000, 100)


def test_a_fuller_disk_than_the_share_leaves_less() -> None:
    made = ledger(free_disk=30)
    assert made.free().disk == 30
    assert reserve(made, "a.1", Share(0.1, 1, 20))
    assert made.free().disk == 10, "what was promised may not be written yet"
    assert not reserve(made, "b.1", Share(0.1, 1, 11))


def test_cores_in_fractions_leave_no_crumb() -> None:
    made = ledger()
    for name in ("a.1", "b.1", "c.1"):
        assert reserve(made, name, Share(0.1))
    assert made.free().cpus == 3.7
    assert reserve(made, "d.1", Share(3.7))
    assert made.free().cpus == 0.0


def test_threads_together_never_reserve_more_than_there_is() -> None:
    made, gate = ledger(), threading.Barrier(16)

    def try_one(number: int) -> bool:
        gate.wait(10)
        return reserve(made, f"job-{number}.1", Share(1.0, 1, 1))

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(try_one, range(16))) == 4
    assert made.free().cpus == 0.0


def test_what_is_reserved_is_chosen_of_what_is_free_at_that_moment() -> None:
    made, gate = Ledger(Share(gpus=tuple(f"GPU-{number}" for number in range(8))), lambda: 0), threading.Barrier(8)

    def take_first(number: int) -> Share | None:
        gate.wait(10)
        return made.book(f"job-{number}.1", lambda free: Share(gpus=free.gpus[:1]))

    with ThreadPoolExecutor(8) as pool:
        taken = {each.gpus for each in pool.map(take_first, range(8)) if each is not None}
    assert len(taken) == 8
    assert made.free().gpus == ()


def test_without_a_choice_nothing_is_reserved() -> None:
    made = ledger()
    assert made.book("a.1", lambda free: None) is None
    assert not made.busy()
