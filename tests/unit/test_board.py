from __future__ import annotations

import threading

import msgspec
import pytest
from agent.attempt import Attempt, Ending, Event
from agent.board import KEPT, Board, Mode, ModeName, Refused
from agent.model.records import Outcome
from agent.model.share import Share
from agent.model.usage import Moved, Totals, Usage
from agent.model.verdict import Reason, Refusal

ATTEMPT = Attempt("job-1", 1, "t", "host-a", "lab", "handle", "boot", 1.0, {"image": "file:///a"}, "amd64", Share())
FINISHED = ATTEMPT.ended(Ending(Outcome.STOPPED))
RELEASED = FINISHED.on(Event.GIVE_BACK)
REFUSED = Refused("job-2", "job", "lab", "refused-here", (Refusal(Reason.CPUS, "9 CPUs", "4"),))


@pytest.fixture
def board() -> Board:
    return Board()


@pytest.mark.parametrize("name", ["starting", "ready", "paused", "draining", "faulty"])
def test_only_a_ready_agent_takes_work(name: ModeName) -> None:
    assert Mode(name).takes_work is (name == "ready")


def test_a_change_of_mode_is_shown_and_handed_on() -> None:
    seen: list[Mode] = []
    board = Board(seen.append)
    assert board.mode == Mode("starting")
    board.set_mode(Mode("paused", "maintenance", 5.0))
    assert seen == [board.mode] == [Mode("paused", "maintenance", 5.0)]


def test_an_attempt_is_live_until_its_end(board: Board) -> None:
    board.show(ATTEMPT, "image")
    (live,) = board.live()
    assert (live.attempt, live.step, board.find("job-1")) == (ATTEMPT, "image", live)
    board.show(RELEASED)
    assert board.live() == ()
    assert board.find("job-1") is None
    assert [each.attempt for each in board.ended()] == [RELEASED]


def test_totals_are_sums_over_the_attempts_that_ended(board: Board) -> None:
    board.show(ATTEMPT)
    assert board.totals() == Totals()
    moved = msgspec.structs.replace(ATTEMPT, moved=Moved(10, 20))
    failed = moved.ended(Ending(Outcome.FAILED, usage=Usage(cpu_s=1.5)))
    board.show(failed.on(Event.COMMIT).on(Event.SETTLE))
    board.show(failed.on(Event.OVERTAKEN))
    board.show(RELEASED)
    assert board.totals() == Totals({"failed": 1, "superseded": 1, "stopped": 1}, 3.0, 20, 40)


def test_an_attempt_that_was_never_claimed_is_forgotten(board: Board) -> None:
    board.show(ATTEMPT)
    board.forget(ATTEMPT)
    board.forget(ATTEMPT)
    assert board.live() == board.ended() == ()


def test_the_first_wish_to_stop_stays_through_all_steps(board: Board) -> None:
    board.show(ATTEMPT)
    assert board.stop_wish("job-1.1") is None
    assert board.ask_stop("job-1.1", "cancelled")
    assert board.ask_stop("job-1.1", "stopped")
    board.show(ATTEMPT, "run")
    assert board.stop_wish("job-1.1") == "cancelled"


def test_a_lost_lease_counts_once_however_often_it_is_told(board: Board) -> None:
    board.show(ATTEMPT)
    for why in ("lease-lost", "lease-lost", "stopped"):
        board.ask_stop("job-1.1", why)
    assert board.totals().leases_lost_total == 1


def test_what_is_not_here_or_finished_cannot_be_stopped(board: Board) -> None:
    assert not board.ask_stop("job-1.1", "cancelled")
    board.show(FINISHED)
    assert not board.ask_stop("job-1.1", "cancelled")
    assert board.stop_wish("job-1.1") is None
    assert board.stop_wish("nobody.1") is None


def test_results_that_cannot_leave_wait_with_the_reason(board: Board) -> None:
    board.show(ATTEMPT, "deliver")
    board.wait_in_outbox(FINISHED, "store down")
    (live,) = board.live()
    assert (live.attempt, live.step, live.waiting) == (FINISHED, "outbox", "store down")
    board.show(FINISHED, "deliver")
    assert board.live()[0].waiting is None


def test_an_attempt_stays_marked_through_all_steps_until_nothing_is_wrong(board: Board) -> None:
    assert not board.mark("job-1.1", "gpu-lost")
    board.show(ATTEMPT, "run")
    assert [board.mark("job-1.1", "gpu-lost") for _ in range(2)] == [True, False]
    board.show(ATTEMPT, "save")
    assert board.live()[0].trouble == "gpu-lost"
    assert board.mark("job-1.1", None)
    assert board.live()[0].trouble is None


def test_a_refusal_is_news_once_until_its_reasons_change(board: Board) -> None:
    assert board.refuse(REFUSED)
    assert not board.refuse(REFUSED)
    assert board.refuse(msgspec.structs.replace(REFUSED, refusals=()))
    assert [refused.sid for refused in board.refused()] == ["job-2"]


def test_a_job_that_runs_here_is_not_refused_any_more(board: Board) -> None:
    board.refuse(msgspec.structs.replace(REFUSED, sid="job-1"))
    board.show(ATTEMPT)
    assert board.refused() == ()


def test_what_a_snapshot_shows_of_the_past_is_bounded(board: Board) -> None:
    for number in range(KEPT + 5):
        board.show(msgspec.structs.replace(RELEASED, sid=f"job-{number}"))
        board.refuse(msgspec.structs.replace(REFUSED, sid=f"job-{number}"))
    assert len(board.ended()) == len(board.refused()) == KEPT
    assert board.ended()[0].attempt.sid == board.refused()[0].sid == "job-5"


def test_a_job_returns_until_its_time_has_come(board: Board) -> None:
    assert not board.returning(0.0)
    board.will_return("job-1", 10.0)
    board.will_return("job-2", 20.0)
    assert board.returning(9.9)
    assert board.returning(10.0)
    assert not board.returning(20.0)


def test_a_job_that_returned_is_an_event_that_an_older_look_has_not_seen(board: Board) -> None:
    board.will_return("job-1", 10.0)
    before = board.events
    assert board.returning(9.0)
    assert board.events == before
    assert not board.returning(10.0)
    assert board.events > before


@pytest.mark.parametrize("happening", ["show", "will_return"])
def test_what_happens_to_jobs_is_counted(board: Board, happening: str) -> None:
    before = board.events
    if happening == "show":
        board.show(ATTEMPT)
    else:
        board.will_return("job-1", 1.0)
    assert board.events == before + 1


def test_a_problem_is_news_when_it_comes_changes_or_goes(board: Board) -> None:
    assert [board.problem("queue", message) for message in ("down", "down", "gone", None, None)] == [
        True,
        False,
        True,
        True,
        False,
    ]
    board.problem("queue", "down")
    assert board.problems() == {"queue": "down"}


def test_who_waits_for_a_change_is_woken(board: Board) -> None:
    seen = threading.Event()

    def wait() -> None:
        with board.changed:
            if board.changed.wait_for(lambda: board.mode.takes_work, 10):
                seen.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    board.set_mode(Mode("ready"))
    waiter.join(10)
    assert seen.is_set()


def test_what_holds_new_work_is_news_once_and_no_mode_ends_it(board: Board) -> None:
    saved: list[Mode] = []
    board = Board(saved.append)
    board.set_mode(Mode("ready"))
    assert [board.hold("outbox", "full"), board.hold("outbox", "full")] == [True, False]
    assert (board.mode.takes_work, board.mode.held) == (False, "outbox: full")
    assert board.problems() == {"outbox": "full"}
    board.set_mode(Mode("ready", None, 1.0))
    assert not board.mode.takes_work, "resuming empties no outbox"
    assert [mode.held for mode in saved] == [None, None], "and a restart finds out itself"
    board.hold("disk", "full, too")
    board.hold("outbox", None)
    assert board.mode.held == "disk: full, too"
    board.hold("disk", None)
    assert board.mode.takes_work
    assert board.problems() == {}
