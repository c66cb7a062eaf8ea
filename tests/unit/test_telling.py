"""What a host tells over the broker of jobs that are followed: at once, bounded, and never without the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from agent.attempt import Attempt
from agent.following import Follower
from agent.livelog import LiveLogs
from agent.model.live import Watch, Word
from agent.staging import Staging
from agent.streaming import LOOK, RARELY, SELDOM, WINDOW, Streams
from agent.telling import ALIVE, BURST, CHUNK, RATE, TICK, Telling

from tests.fakes import FakeLogFeed, FakeRecords, FakeWords
from tests.waiting import wait_until
from tests.worlds import World, world


class Counted(FakeRecords):
    """Counts what is written."""

    written = 0

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        self.written += 1
        return super().put(key, body, create=create)


class Show:
    """A running job, the two loops that tell of it, and a feed."""

    def __init__(self, made: World) -> None:
        self.made = made
        self.records = Counted(made.clock)
        self.logs = LiveLogs(self.records)
        self.words = FakeWords()
        self.percent: int | None = None
        context = made.context
        self.streams = Streams(
            context.board, context.directory, lambda queue: self.logs, made.clock, lambda attempt: self.percent
        )
        self.telling = Telling(self.streams, context.directory, self.words, made.clock)
        made.change(streams=self.streams)
        self.sid = made.submit("echo one; while [ ! -e go ]; do sleep 0.02; done; echo two")
        self.feed: FakeLogFeed = self.words.feed(self.sid)
        self.task = made.start_one()
        made.wait_for_log(self.sid, "one")
        wait_until(lambda: any(live.step == "run" for live in context.board.live()))
        self.told: list[Word] = []

    def watch(self) -> None:
        self.logs.watch(self.sid, Watch(1.0))
        self.streams.ring()

    def turn(self, seconds: float = 1.0) -> list[Word]:
        """Let time pass as the loops do; return what was told meanwhile."""
        came: list[Word] = []
        for number in range(max(1, round(seconds / TICK))):
            now = self.made.clock.boottime()
            if number % round(1 / TICK) == 0:
                self.streams.step(now)
            self.telling.step(now)
            came += self.feed.take()
            self.made.clock.advance(TICK)
        return came

    def write(self, data: bytes) -> None:
        with (self.made.directory(self.sid) / "log").open("ab") as file:
            file.write(data)


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Show]:
    monkeypatch.setattr("agent.watching.TICK", 0.02)
    made = world(tmp_path)
    yield Show(made)
    made.runtime.close()


def text(words: list[Word]) -> bytes:
    return b"".join(word.data for word in words)


def test_what_a_followed_job_prints_is_told_at_once(show: Show) -> None:
    show.watch()
    assert text(show.turn()) == b"one\n"
    show.write(b"more\n")
    (word,) = (each for each in show.turn(TICK) if each.data)
    assert (word.n, word.offset, word.data) == (1, 4, b"more\n")


def test_of_a_job_that_nobody_follows_nothing_is_told(show: Show) -> None:
    assert show.turn(2 * LOOK) == []


def test_a_silent_job_gives_a_sign_of_life_with_its_step_and_how_far_it_was_told(show: Show) -> None:
    show.watch()
    show.turn(2 * ALIVE)
    words = show.turn(2 * ALIVE)
    assert [word.offset for word in words] == [4, 4]
    assert all(word.progress is not None and word.progress.step == "run" for word in words)


def test_a_chatty_job_is_told_at_a_bounded_rate_in_small_messages(show: Show) -> None:
    show.watch()
    show.turn()
    show.write(b"x" * 2 * WINDOW)
    words = [word for word in show.turn(20) if word.data]
    assert max(len(word.data) for word in words) == CHUNK
    assert RATE * 19 <= len(text(words)) <= BURST + RATE * 20
    ends = [word.offset + len(word.data) for word in words]
    assert [word.offset for word in words[1:]] == ends[:-1]
    assert words[0].offset == WINDOW + 4  # what is older is left to the saved log


def test_without_a_broker_nothing_waits_for_it_and_it_goes_on_with_what_is_new(show: Show) -> None:
    show.watch()
    show.turn()
    show.words.down = True
    show.write(b"x" * 2 * BURST)
    show.turn()
    show.words.down = False
    words = [word for word in show.turn(2.0) if word.data]
    assert words[0].offset == 4 + BURST
    assert len(text(words)) == BURST


def test_with_a_broker_the_pieces_in_the_store_are_rarer_and_come_sooner_when_it_goes_away(show: Show) -> None:
    show.watch()
    show.turn(LOOK)
    written = []
    for is_down in (False, True):
        show.words.down = is_down
        before = show.records.written
        for _ in range(240):
            show.write(b"x\n")
            show.logs.watch(show.sid, Watch(1.0))
            show.turn()
        written.append(show.records.written - before - 240)
    assert written[0] <= 240 / RARELY + 1
    assert 240 / SELDOM <= written[1] <= 240 / SELDOM + 4


def test_the_end_of_an_attempt_is_told_once_it_has_left(show: Show) -> None:
    show.watch()
    show.turn()
    show.made.tell(show.sid, "go")
    show.task.join(20)
    words = show.turn(2.0)
    assert [word.over for word in words] == [True]
    assert show.made.artifact(show.sid, "log") == b"one\ntwo\n"


def test_who_stops_following_hears_no_more_and_no_end(show: Show) -> None:
    show.watch()
    show.turn()
    show.made.clock.advance(200.0)
    show.turn(LOOK)
    show.write(b"more\n")
    assert show.turn(LOOK) == []


def test_a_follower_hears_all_over_both_ways_while_words_get_lost(show: Show) -> None:
    rings: list[str] = []
    follower = Follower(show.logs, show.sid, "eva", rings.append, feed=show.words.feed(show.sid))
    heard, remarks = b"", []
    for number in range(60):
        show.words.down = number % 7 in (3, 4)
        show.write(b"line %d\n" % number)
        for said in follower.turn(1, "host-a", show.made.clock.boottime()):
            heard += said.data
            remarks += [said.remark] if said.remark else []
        if rings:
            rings.clear()
            show.streams.ring()
        show.turn()
    show.words.down = False
    for _ in range(20):
        heard += b"".join(said.data for said in follower.turn(1, "host-a", show.made.clock.boottime()))
        show.turn()
    assert heard == (show.made.directory(show.sid) / "log").read_bytes()
    assert [each for each in remarks if "left out" in each] == []


def test_how_much_of_the_inputs_is_here_is_known_where_their_sizes_are(show: Show) -> None:
    context = show.made.context
    (live,) = context.board.live()
    context.artifacts.write("mem://inputs/data", [b"x" * 200])

    def with_inputs(*uris: str) -> Attempt:
        inputs = [{"uri": uri, "path": f"data{number}"} for number, uri in enumerate(uris)]
        return msgspec.structs.replace(live.attempt, table={**live.attempt.table, "inputs": inputs})

    staging = Staging(context)
    assert staging.percent(with_inputs("mem://inputs/data")) == 0
    list(context.counters.incoming(live.attempt.id, [b"x" * 50]))
    assert staging.percent(with_inputs("mem://inputs/data")) == 25
    assert Staging(context).percent(with_inputs("mem://inputs/data", "mem://inputs/none")) is None
    assert Staging(context).percent(with_inputs()) is None


def test_the_step_comes_with_how_far_it_is(show: Show) -> None:
    (live,) = show.made.context.board.live()
    show.made.context.board.show(msgspec.structs.replace(live.attempt, started_at=None), "stage-in")
    show.percent = 40
    show.watch()
    show.turn(5.0)
    progress = [word.progress for word in show.turn(ALIVE) if word.progress is not None]
    assert [(each.step, each.percent) for each in progress] == [("stage-in", 40)]
    assert progress[0].lasted >= 5.0
    stored = show.logs.progress(show.sid, 1)
    assert stored is not None
    assert (stored.step, stored.percent) == ("stage-in", 40)
    show.percent = 60
    later = [word.progress for word in show.turn(2.0) if word.progress is not None]
    assert [each.percent for each in later] == [60]
