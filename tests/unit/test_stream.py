from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import pytest
from agent.transfer.stream import CHUNK, Digested, chunks


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_stream_is_read_whole_in_pieces_of_bounded_size(size: int) -> None:
    pieces = list(chunks(io.BytesIO(b"x" * size)))
    assert b"".join(pieces) == b"x" * size
    assert all(0 < len(piece) <= CHUNK for piece in pieces)


def test_what_passes_is_counted_and_digested() -> None:
    digested = Digested([b"one", b"", b"two"])
    assert list(digested) == [b"one", b"", b"two"]
    assert (digested.size, digested.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())


def test_nothing_has_the_digest_of_nothing() -> None:
    digested = Digested([])
    assert list(digested) == []
    assert (digested.size, digested.sha256) == (0, hashlib.sha256().hexdigest())


def test_only_what_has_passed_is_counted_and_nothing_is_read_ahead() -> None:
    def source() -> Iterator[bytes]:
        yield b"one"
        raise AssertionError("read ahead")

    digested = Digested(source())
    assert next(iter(digested)) == b"one"
    assert (digested.size, digested.sha256) == (3, hashlib.sha256(b"one").hexdigest())
