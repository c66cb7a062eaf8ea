from __future__ import annotations

from agent.supervisor import ladder


def test_term_comes_first_then_again_after_pauses_that_double() -> None:
    stop, now, sent = ladder.begin("timeout", 10, 100), 100.0, []
    while ladder.due(stop, now) != ladder.KILL:
        assert ladder.due(stop, now) == ladder.TERM
        sent.append(now - 100)
        stop = ladder.after_term(stop, now)
        assert ladder.due(stop, now) == ladder.WAIT
        now = ladder.next_due(stop)
    assert sent == [0, 0.5, 1.5, 3.5, 7.5]
    assert now == 110


def test_without_grace_the_end_comes_at_once() -> None:
    assert ladder.due(ladder.begin("memory", 0, 5), 5) == ladder.KILL


def test_first_reason_stays_and_the_earlier_end_holds() -> None:
    stop = ladder.joined(None, "cancelled", 60, 0)
    assert (stop.why, stop.kill_at) == ("cancelled", 60)
    shorter = ladder.joined(stop, "shutdown", 5, 10)
    assert (shorter.why, shorter.kill_at) == ("cancelled", 15)
    assert ladder.joined(shorter, "stopped", 3600, 11) == shorter
