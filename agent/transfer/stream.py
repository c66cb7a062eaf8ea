"""Streams in bounded chunks, digested as they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

CHUNK = 1024 * 1024


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield what the stream holds in pieces of at most 1 MiB."""
    while piece := stream.read(CHUNK):
        yield piece


class Digested:
    """Passes chunks on, counting them: after the last one `size` (bytes) and `sha256` (hex) are those of the whole."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._source:
            self._digest.update(piece)
            self.size += len(piece)
            yield piece

    @property
    def sha256(self) -> str:
        """SHA-256 of what has passed so far."""
        return self._digest.hexdigest()
