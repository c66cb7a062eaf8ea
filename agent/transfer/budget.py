"""The disk space that the inputs of one job may take, all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.errors import JobFault


class Budget:
    """Counts what is written for a job; used by one thread."""

    def __init__(self, limit: int) -> None:
        """limit: bytes."""
        self._limit = limit
        self.left = limit
        self.is_exhausted = False

    def spend(self, size: int) -> None:
        """Take `size` bytes off. Raises JobFault when there are not so many left."""
        if size > self.left:
            self.is_exhausted = True
            raise JobFault(
                f"disk budget exhausted: downloads and unpacked files of the inputs have more than the {self._limit} "
                "bytes of requires.disk; ask for more"
            )
        self.left -= size

    def counted(self, source: Iterable[bytes]) -> Iterator[bytes]:
        """Pass the chunks on as long as there is space for them."""
        for piece in source:
            self.spend(len(piece))
            yield piece
