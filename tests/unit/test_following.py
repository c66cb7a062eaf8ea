"""Following a job over a broker and the store: every byte once and in order, whatever the broker loses."""

from __future__ import annotations

import random

import pytest
from agent.following import EARLY, LOOK, RARELY, RING_AGAIN, SILENCE, Follower
from agent.livelog import LiveLogs
from agent.model.live import Piece, Progress, Word

from tests.fakes import FakeClock, FakeRecords, FakeWords

SID = "job-1"
TEXT = bytes(random.Random(7).randbytes(40_000))


class Counted(FakeRecords):
    """Counts the requests."""

    requests = 0

    def _check(self) -> None:
        self.requests += 1
        super()._check()


class Table:
    """A follower with a broker and a store."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.records = Counted(self.clock)
        self.logs = LiveLogs(self.records)
        self.words = FakeWords()
        self.woken: list[str] = []
        feed = self.words.feed(SID)
        self.follower = Follower(self.logs, SID, "eva", self.woken.append, with_step=True, feed=feed)
        self.heard = b""
        self.remarks: list[str] = []

    def word(self, start: int, end: int) -> None:
        assert self.words.tell(SID, Word(1, start, TEXT[start:end]))

    def piece(self, start: int, end: int) -> None:
        self.logs.append(SID, 1, Piece(start, TEXT[start:end]))

    def turn(self, seconds: float = 0.5, n: int = 1) -> None:
        self.clock.advance(seconds)
        for said in self.follower.turn(n, "host-a", self.clock.boottime()):
            self.heard += said.data
            self.remarks += [said.remark] if said.remark else []


@pytest.fixture
def table() -> Table:
    table = Table()
    table.turn()
    return table


def test_words_are_said_at_once_without_a_request(table: Table) -> None:
    before = table.records.requests
    for start in range(0, 1000, 100):
        table.word(start, start + 100)
        table.turn()
        assert table.heard == TEXT[: start + 100]
    assert table.records.requests == before


def test_a_missed_word_is_taken_from_the_store_and_what_came_after_it_waits(table: Table) -> None:
    table.word(0, 100)
    table.word(200, 300)
    table.turn()
    assert table.heard == TEXT[:100]
    table.piece(0, 250)
    table.turn(LOOK)
    assert (table.heard, table.remarks) == (TEXT[:300], [])


def test_who_misses_something_asks_the_host_for_it_at_a_bounded_rate(table: Table) -> None:
    assert table.woken == ["host-a"]
    for _ in range(round(3 * RING_AGAIN)):
        table.words.tell(SID, Word(1, 100))
        table.turn(1.0)
    assert len(table.woken) in (3, 4)


def test_a_word_that_tells_no_byte_shows_that_the_last_one_was_missed(table: Table) -> None:
    table.word(0, 100)
    table.turn()
    table.piece(0, 200)
    table.words.tell(SID, Word(1, 200))
    table.turn(LOOK)
    assert table.heard == TEXT[:200]


def test_who_comes_late_begins_with_what_the_store_has(table: Table) -> None:
    table.piece(0, 500)
    table.word(600, 700)
    table.turn(LOOK)
    assert table.heard == TEXT[:500]
    table.piece(500, 650)
    table.turn(LOOK)
    assert table.heard == TEXT[:700]


def test_that_the_broker_is_gone_is_said_once_and_the_store_asked_at_once(table: Table) -> None:
    table.word(0, 100)
    table.turn()
    table.words.down = True
    table.piece(0, 300)
    table.turn(LOOK)
    table.turn(LOOK)
    assert table.heard == TEXT[:300]
    start = "nothing is heard by the broker, what is printed comes later: "
    assert table.remarks == [f"{start}memory: the words are down; set down = False"]


def test_without_words_the_store_is_asked_as_if_there_were_no_broker(table: Table) -> None:
    table.word(0, 100)
    table.turn()
    table.piece(0, 300)
    table.turn(SILENCE)
    assert table.heard == TEXT[:300]
    table.word(300, 400)
    table.turn()
    assert (table.heard, table.remarks) == (TEXT[:400], [])


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_lost_doubled_or_mixed_up_each_byte_is_said_once_and_in_order(table: Table, seed: int) -> None:
    chance = random.Random(seed)
    told = stored = 0
    while told < len(TEXT):
        end = min(len(TEXT), told + chance.randint(1, 900))
        words = [Word(1, told, TEXT[told:end])] * chance.choice((0, 1, 1, 1, 2))
        if chance.random() < 0.2:
            words.append(Word(1, max(0, told - 300), TEXT[max(0, told - 300) : end]))
        chance.shuffle(words)
        for word in words:
            table.words.tell(SID, word)
        told = end
        if chance.random() < 0.3:
            table.piece(stored, told)
            stored = told
        table.turn(chance.random() * 3)
        assert table.heard == TEXT[: len(table.heard)]
    table.piece(stored, told)
    table.turn(RARELY)
    assert (table.heard, table.remarks) == (TEXT, [])


def test_what_waits_for_a_missing_word_is_bounded(table: Table) -> None:
    size = 16_000
    for number in range(1, 2 * EARLY // size):
        table.words.tell(SID, Word(1, number * size, b"x" * size))
    table.turn(LOOK)
    assert table.heard == b""
    table.logs.append(SID, 1, Piece(0, b"x" * size))
    table.turn(LOOK)
    assert EARLY - size <= len(table.heard) <= EARLY + size


def test_where_the_store_has_no_older_piece_the_words_go_on_and_what_is_missing_is_said(table: Table) -> None:
    table.word(100, 200)
    table.piece(300, 400)
    table.turn(LOOK)
    assert table.heard == TEXT[100:200] + TEXT[300:400]
    end = "bytes are left out here; the saved log will have them"
    assert table.remarks == [f"100 {end}", f"100 {end}"]


def test_words_tell_the_step_and_that_the_records_have_news(table: Table) -> None:
    table.words.tell(SID, Word(1, 0, progress=Progress("stage-in", 1.0, 2.0, 40)))
    table.turn()
    now = table.clock.boottime()
    assert (table.follower.step, table.follower.has_news) == ("stage-in", False)
    assert table.follower.progress(now + 3.0) == Progress("stage-in", 1.0, 5.0, 40)
    table.words.tell(SID, Word(1, 0, progress=Progress("run", 1.0)))
    table.turn()
    assert table.follower.has_news


@pytest.mark.parametrize("word", [Word(1, 0, over=True), Word(2, 0, b"x")], ids=["over", "another attempt"])
def test_an_end_and_another_attempt_are_news(table: Table, word: Word) -> None:
    table.words.tell(SID, word)
    table.turn()
    assert (table.follower.has_news, table.heard) == (True, b"")


def test_words_of_an_attempt_that_was_overtaken_are_not_said(table: Table) -> None:
    table.turn(n=2)
    table.word(0, 100)
    table.turn(n=2)
    assert (table.heard, table.follower.hears(table.clock.boottime())) == (b"", False)


def test_who_waits_for_a_job_says_so_before_it_runs(table: Table) -> None:
    waiting = Follower(table.logs, "job-2", "eva", table.woken.append)
    assert waiting.expect(table.clock.boottime()) is None
    assert table.logs.watched("job-2") == 0.0
    table.records.down = True
    table.clock.advance(RARELY)
    remark = waiting.expect(table.clock.boottime())
    assert remark is not None
    assert remark.startswith("cannot be followed now: ")


def test_while_nothing_comes_looks_at_the_store_become_fewer(table: Table) -> None:
    before = table.records.requests
    for _ in range(600):
        table.turn()
    # Every 5 s the names of the pieces and the step, every 30 s the word that somebody follows.
    assert table.records.requests - before <= 2 * 63 + 11
