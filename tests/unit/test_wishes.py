"""Wishes of operators: which one counts, what a host remembers of them, what it writes for others."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.board import Board, Mode
from agent.errors import NotFound
from agent.hosts import KEPT, Hosts
from agent.model.hosts import Wanted, Wish
from agent.operating import Operator
from agent.wishes import FILE, LOOK, NOTE_EVERY, RETRY, Wishes

from tests.fakes import FakeBell, FakeClock, FakeRecords

HOST = "board-1"


def wish(want: Wanted = "paused", by: str = "eva@desk", note: str | None = None) -> Wish:
    return Wish(want, 5.0, by, note)


class Lab:
    """One host with two results stores."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.records = {name: CountingRecords(self.clock) for name in ("one", "two")}
        self.stores = {name: Hosts(records) for name, records in self.records.items()}
        self.bell = FakeBell()
        self.operator = Operator(self.stores, self.bell)
        self.jobs: tuple[str, ...] = ()
        self.restart()

    def restart(self, mode: Mode | None = None) -> None:
        """Begin another life of the agent on the same state directory."""
        self.board = Board()
        self.board.set_mode(mode or Mode("ready"))
        self.wishes = Wishes(HOST, self.stores, self.board, lambda: self.jobs, self.clock, self.folder)
        self.bell.on_ring([HOST], self.wishes.ring)
        self.turn()

    def turn(self, seconds: float = LOOK) -> None:
        self.clock.advance(seconds)
        self.wishes.step(self.clock.boottime())

    def look(self) -> None:
        """Look twice: what one store tells is owed to the other one until the next look."""
        self.turn()
        self.turn()

    @property
    def mode(self) -> tuple[str, str | None, str | None]:
        return self.board.mode.name, self.board.mode.reason, self.board.mode.by


class CountingRecords(FakeRecords):
    """Counts the requests."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.requests = 0

    def _check(self) -> None:
        self.requests += 1
        super()._check()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_wish_from_elsewhere_is_obeyed_and_says_who_and_why(lab: Lab) -> None:
    asked = lab.operator.ask(HOST, wish("paused", "eva@desk", "new fan"))
    assert not lab.operator.look(asked).has_seen
    lab.turn()
    assert lab.mode == ("paused", "new fan", "eva@desk")
    answer = lab.operator.look(asked)
    assert (answer.has_seen, answer.state, answer.reason, answer.by) == (True, "paused", "new fan", "eva@desk")


def test_of_two_wishes_the_higher_number_counts_whatever_their_clocks_say(lab: Lab) -> None:
    lab.operator.ask(HOST, Wish("paused", 9_999_999_999.0, "eva"))
    lab.operator.ask(HOST, Wish("draining", 1.0, "tom"))
    lab.turn()
    assert lab.mode == ("draining", None, "tom")


def test_a_wish_is_obeyed_once_and_what_is_told_here_later_is_newer(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("paused"))
    lab.turn()
    lab.wishes.want(wish("ready", "root@board-1"))
    assert lab.mode == ("ready", None, "root@board-1")
    lab.look()
    assert lab.mode == ("ready", None, "root@board-1")
    assert lab.stores["one"].wished(HOST, 2) == wish("ready", "root@board-1")
    lab.operator.ask(HOST, wish("draining"))
    lab.turn()
    assert lab.board.mode.name == "draining"


def test_what_is_told_here_while_the_store_is_away_counts_over_what_the_host_did_not_know(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("ready"))
    lab.records["one"].down = True
    lab.wishes.want(wish("paused", "root@board-1", "hands in it"))
    lab.turn()
    lab.records["one"].down = False
    lab.look()
    assert lab.mode == ("paused", "hands in it", "root@board-1")
    assert lab.stores["one"].wished(HOST, 2) == wish("paused", "root@board-1", "hands in it")


def test_a_wish_told_here_gets_its_number_after_a_restart_too(lab: Lab) -> None:
    lab.records["one"].down = lab.records["two"].down = True
    lab.wishes.want(wish("paused", "root@board-1"))
    lab.turn()
    lab.restart(lab.board.mode)
    assert lab.mode == ("paused", None, "root@board-1")
    lab.records["one"].down = lab.records["two"].down = False
    lab.turn()
    assert [hosts.newest(HOST) for hosts in lab.stores.values()] == [1, 1]


def test_a_wish_waits_for_a_host_that_is_off_and_is_known_before_the_first_pull(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("draining"))
    lab.wishes = Wishes(HOST, lab.stores, lab.board, lambda: (), lab.clock, lab.folder)
    assert not lab.wishes.wait_looked(0.0)
    lab.wishes.step(lab.clock.boottime())
    assert lab.wishes.wait_looked(0.0)
    assert lab.board.mode.name == "draining"


def test_an_obeyed_wish_is_not_obeyed_again_after_a_restart(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("paused"))
    lab.look()
    lab.restart(Mode("ready"))
    assert lab.board.mode.name == "ready"


def test_a_new_state_directory_finds_the_newest_wish_again(lab: Lab, tmp_path: Path) -> None:
    lab.operator.ask(HOST, wish("paused"))
    lab.look()
    (tmp_path / FILE).unlink()
    lab.restart(Mode("ready"))
    assert lab.board.mode.name == "paused"


@pytest.mark.parametrize("rest", [b"", b"{", b"[]", b'{"seen": 1}', b"\xff"], ids=str)
def test_a_damaged_memory_keeps_nobody_down(
    lab: Lab, tmp_path: Path, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(rest)
    lab.restart()
    assert [getattr(each, "event", "") for each in caplog.records].count("wishes-unreadable") == 1


def test_a_wish_in_one_store_is_told_to_the_others(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("paused"))
    lab.look()
    assert lab.stores["two"].wished(HOST, 1) == wish("paused")
    lab.records["one"].down = True
    lab.operator.ask(HOST, wish("ready"))
    lab.look()
    assert lab.board.mode.name == "ready"
    lab.records["one"].down = False
    lab.look()
    assert lab.stores["one"].wished(HOST, 2) == wish("ready")


def test_the_bell_of_the_host_makes_it_look_at_once(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("paused"))
    lab.turn(1.0)
    assert lab.board.mode.name == "paused"


def test_without_the_bell_the_wish_is_in_the_store_all_the_same(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.bell.down = True
    lab.operator.ask(HOST, wish("paused"))
    assert [getattr(each, "event", "") for each in caplog.records].count("bell-not-rung") == 1
    modes: list[str] = []
    for seconds in (1.0, LOOK):
        lab.turn(seconds)
        modes.append(lab.board.mode.name)
    assert modes == ["ready", "paused"]


def test_a_host_at_rest_makes_some_120_requests_an_hour_in_each_store(lab: Lab) -> None:
    before = lab.records["one"].requests
    for _ in range(3600):
        lab.turn(1.0)
    assert lab.records["one"].requests - before == 3600 / LOOK + 3600 / NOTE_EVERY


def test_a_store_that_is_away_is_asked_seldom_and_told_once(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.records["one"].down = True
    before = lab.records["one"].requests
    lab.wishes.want(wish("draining"))
    for number in range(100):
        lab.jobs = (f"job-{number}",)
        lab.turn(1.0)
    assert lab.records["one"].requests - before <= 100 / RETRY + 100 / LOOK + 2
    assert [getattr(each, "event", "") for each in caplog.records].count("wishes-unavailable") == 1
    assert "wishes in one" in lab.board.problems()
    lab.records["one"].down = False
    lab.look()
    assert lab.board.problems() == {}


def test_a_host_is_drained_when_it_knows_the_wish_and_holds_no_job(lab: Lab) -> None:
    lab.jobs = ("job-1",)
    asked = lab.operator.ask(HOST, wish("draining"))
    lab.turn()
    assert (lab.operator.look(asked).jobs, lab.operator.look(asked).is_drained) == (("job-1",), False)
    lab.jobs = ()
    lab.turn(1.0)
    assert lab.operator.look(asked).is_drained


def test_a_host_that_does_not_know_the_wish_yet_is_not_drained_by_an_older_one(lab: Lab) -> None:
    lab.operator.ask(HOST, wish("draining"))
    lab.turn()
    lab.operator.ask(HOST, wish("ready"))
    asked = lab.operator.ask(HOST, wish("draining"))
    assert not lab.operator.look(asked).is_drained


def test_an_agent_that_ended_without_jobs_leaves_a_drained_host(lab: Lab) -> None:
    lab.wishes.leave()
    assert lab.operator.look(lab.operator.ask(HOST, wish("draining"))).is_drained


def test_an_agent_that_detached_from_jobs_does_not(lab: Lab) -> None:
    lab.jobs = ("job-1",)
    lab.wishes.leave()
    answer = lab.operator.look(lab.operator.ask(HOST, wish("draining")))
    assert (answer.state, answer.is_drained) == ("offline", False)


def test_a_newer_wish_overrules_one_that_somebody_waits_for(lab: Lab) -> None:
    asked = lab.operator.ask(HOST, wish("draining"))
    lab.operator.ask(HOST, wish("ready"))
    lab.turn()
    answer = lab.operator.look(asked)
    assert (answer.overruled, answer.is_drained) == (True, False)


def test_jobs_that_come_and_go_on_a_host_that_takes_them_are_no_news(lab: Lab) -> None:
    before = lab.records["one"].requests
    for number in range(10):
        lab.jobs = (f"job-{number}",)
        lab.turn(1.0)
    assert lab.records["one"].requests == before


def test_a_host_that_nobody_knows_is_named_with_the_nearest_one(lab: Lab) -> None:
    with pytest.raises(NotFound, match=r'no host "bord-1" has used one, two \(did you mean "board-1"\?\)'):
        lab.operator.ask("bord-1", wish())
    assert lab.operator.hosts() == (HOST,)


def test_of_old_wishes_only_some_are_kept(lab: Lab) -> None:
    for _ in range(3 * KEPT):
        lab.operator.ask(HOST, wish())
    assert lab.stores["one"].newest(HOST) == 3 * KEPT
    assert lab.stores["one"].wished(HOST, 2 * KEPT) is None
    assert lab.stores["one"].wished(HOST, 2 * KEPT + 1) == wish()
