"""Reading an object as a stream that outlives its connections."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from agent.adapters.gcs.digest import Digest
from agent.adapters.gcs.errors import GcsFailure
from agent.adapters.gcs.place import Place
from agent.errors import StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from agent.adapters.gcs.client import Found, GcsClient

PIECE_BYTES = 8 * 1024**2
# Seconds before an interrupted piece goes on; counted anew whenever something arrived.
PAUSES = (0.2, 1.0, 3.0)


class ObjectReader(io.RawIOBase):
    """The bytes of one generation of an object, fetched in pieces; its checksum is compared after the last one.

    Raises StoreUnavailable, also when the object was replaced before the last piece was there. One piece is in memory.
    """

    def __init__(self, client: GcsClient, place: Place, found: Found) -> None:
        """Fetch the first piece: small objects may be replaced from now on."""
        self._client = client
        self._place = place
        self._found = found
        self._digest = Digest()
        self._fetched = 0
        self._piece = self._next_piece()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        if not self._piece:
            self._piece = memoryview(b"")  # an empty rest would keep the whole piece in memory
            self._piece = self._next_piece()
        count = min(len(target), len(self._piece))
        target[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def _next_piece(self) -> memoryview:
        size = min(PIECE_BYTES, self._found.size - self._fetched)
        piece = io.BytesIO()
        self._fill(piece, size)
        content = piece.getvalue()
        self._fetched += size
        self._digest.update(content)
        if size and self._fetched == self._found.size:
            self._compare()
        return memoryview(content)

    def _fill(self, piece: io.BytesIO, size: int) -> None:
        """Fetch `size` bytes into `piece`, going on where it breaks off."""
        failures = 0
        while (held := piece.tell()) < size:
            try:
                self._fetch(piece, size)
            except GcsFailure as error:
                failures = 0 if piece.tell() > held else failures + 1
                if failures > len(PAUSES) or not (error.transient or error.status is None):
                    raise
                self._client.wait(PAUSES[max(0, failures - 1)])

    def _fetch(self, piece: io.BytesIO, size: int) -> None:
        first, last = self._fetched + piece.tell(), self._fetched + size - 1
        try:
            self._client.fetch_once(self._place, self._found.generation, first, last, piece)
        except GcsFailure as error:
            if error.status in (404, 412, 416):
                message = "it was replaced or removed while it was read; read it again"
                raise StoreUnavailable(f"{self._where}: {message}") from error
            raise
        if piece.tell() != size:
            raise StoreUnavailable(f"{self._where}: the server sent other bytes than those asked for; read it again")

    def _compare(self) -> None:
        problem = self._digest.problem(self._found.crc32c, self._found.md5)
        if problem is not None:
            raise StoreUnavailable(f"{self._where}: it arrived damaged ({problem}); read it again")

    @property
    def _where(self) -> str:
        return self._client.where(self._place)
