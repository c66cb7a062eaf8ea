"""Logs of running jobs over every kind of results store: fake, directory, MinIO."""

from __future__ import annotations

import pytest
from agent.following import LOOK, Follower
from agent.livelog import LiveLogs
from agent.model.live import Piece, Progress, Watch
from agent.model.records import AttemptRecord
from agent.ports import RecordStore
from agent.results import Results

ALL_BYTES = bytes(range(256))


@pytest.fixture
def logs(records: RecordStore) -> LiveLogs:
    return LiveLogs(records)


def test_pieces_come_back_in_order_and_byte_for_byte(logs: LiveLogs) -> None:
    for offset in (512, 0, 256):
        logs.append("job-1", 1, Piece(offset, ALL_BYTES))
    assert logs.offsets("job-1", 1) == (0, 256, 512)
    assert logs.piece("job-1", 1, 256) == Piece(256, ALL_BYTES)
    assert logs.offsets("job-1", 2) == ()
    assert logs.piece("job-1", 1, 1) is None


def test_a_follower_hears_each_byte_once_and_is_known_to_be_there(logs: LiveLogs) -> None:
    follower, heard = Follower(logs, "job-1", "eva", lambda host: None, with_step=True), b""
    logs.tell("job-1", 1, Progress("run", 1.0))
    for number, text in enumerate((b"one\n", b"two\n", b"three\n")):
        logs.append("job-1", 1, Piece(len(heard), text))
        for said in follower.turn(1, "host-a", (number + 1) * LOOK):
            assert said.remark == ""
            heard += said.data
    assert (heard, follower.offset, follower.step) == (b"one\ntwo\nthree\n", 14, "run")
    age = logs.watched("job-1")
    assert age is not None
    assert age < 60


def test_nobody_follows_until_somebody_says_so(logs: LiveLogs) -> None:
    assert logs.watched("job-1") is None
    logs.watch("job-1", Watch(1.0, "eva"))
    assert logs.watched("job-1") is not None


def test_what_is_told_is_no_attempt_and_goes_as_a_whole(records: RecordStore, logs: LiveLogs) -> None:
    results = Results(records, "mem://results")
    assert results.claim(AttemptRecord("job-1", 1, "host-a", "token", 1.0))
    logs.append("job-1", 1, Piece(0, b"one"))
    logs.tell("job-1", 1, Progress("run", 1.0))
    logs.watch("job-1", Watch(1.0))
    assert [record.n for record, _ in results.attempts("job-1")] == [1]
    assert results.sids() == ("job-1",)
    for _ in range(2):
        logs.clear("job-1", 1)
        assert (logs.offsets("job-1", 1), logs.progress("job-1", 1)) == ((), None)
    assert [record.n for record, _ in results.attempts("job-1")] == [1]
