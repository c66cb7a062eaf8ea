from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.supervisor.joblog import JobLog


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Reading end, which the log closes, and writing end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(writer)


def copied(log: JobLog, writer: int, *chunks: bytes) -> None:
    for chunk in chunks:
        os.write(writer, chunk)
        assert log.copy()
    assert not log.copy()
    log.close()


@pytest.mark.parametrize(
    ("limit", "chunks", "expected", "truncated"),
    [
        (10, [b"0123456789"], b"0123456789", False),
        (10, [b"01234\n", b"678901234"], b"01234\n6789\n[log truncated after 10 bytes]\n", True),
        (6, [b"01234\n", b"678", b"9"], b"01234\n[log truncated after 6 bytes]\n", True),
        (0, [b"abc"], b"[log truncated after 0 bytes]\n", True),
    ],
)
def test_output_is_kept_up_to_the_limit(
    tmp_path: Path,
    pipe: tuple[int, int],
    limit: int,
    chunks: list[bytes],
    expected: bytes,
    truncated: bool,
) -> None:
    log = JobLog(str(tmp_path / "log"), pipe[0], limit)
    copied(log, pipe[1], *chunks)
    assert (tmp_path / "log").read_bytes() == expected
    assert (log.seen_bytes, log.truncated, log.ended) == (sum(map(len, chunks)), truncated, False)


def test_output_is_drained_and_counted_on_a_full_disk(pipe: tuple[int, int]) -> None:
    log = JobLog("/dev/full", pipe[0], 1000)
    copied(log, pipe[1], b"abc", b"def")
    assert (log.seen_bytes, log.truncated) == (6, True)


def test_end_of_the_output_is_noticed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    log = JobLog(str(tmp_path / "log"), reader, 1000)
    os.write(writer, b"last")
    os.close(writer)
    log.drain()
    assert log.ended
    log.close()
    assert (tmp_path / "log").read_bytes() == b"last"
