"""Large objects in parts: uploads of unknown length that go on where they broke off, and appear as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from agent.adapters.gcs.digest import Digest
from agent.adapters.gcs.errors import GcsFailure, translated
from agent.adapters.gcs.place import Place
from agent.errors import StoreUnavailable

if TYPE_CHECKING:
    from requests import Response

    from agent.adapters.gcs.client import GcsClient

MIB = 1024**2
PART_BYTES = 8 * MIB  # a multiple of 256 KiB
# What is not larger goes in one request, as one piece: it must leave within the time-out.
SMALL_BYTES = MIB
# Seconds before a part whose connection broke is sent again; counted anew whenever some of it arrived.
PAUSES = (0.2, 1.0, 3.0)
_SLICE_BYTES = 64 * 1024
_KEPT = re.compile(r"bytes=0-(\d+)")


class Body:
    """Bytes to send, in slices, and from the start again when the request is repeated.

    A socket's timeout counts for all that is sent at once: a whole part would time out on every slower line.
    """

    def __init__(self, data: bytes | memoryview = b"") -> None:
        self._data = memoryview(data)

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        for start in range(0, len(self._data), _SLICE_BYTES):
            yield self._data[start : start + _SLICE_BYTES]


def in_parts(chunks: Iterable[bytes], size: int = PART_BYTES) -> Iterator[bytes]:
    """Yield the bytes of `chunks` in parts of `size` bytes; the last part, and no other, is shorter, maybe empty."""
    waiting = bytearray()
    for chunk in chunks:
        for start in range(0, len(chunk), size):
            waiting += chunk[start : start + size]
            if len(waiting) >= size:
                with memoryview(waiting) as view:
                    part = bytes(view[:size])
                del waiting[:size]
                yield part
    yield bytes(waiting)


def upload(client: GcsClient, place: Place, parts: Iterable[bytes]) -> None:
    """Store the parts, as `in_parts` gives them, as one object, which appears when the last one is there."""
    digest, sent, stored = Digest(), 0, None
    with _begun(client, place) as url:
        for part in parts:
            digest.update(part)
            total = sent + len(part) if len(part) < PART_BYTES else None
            headers = {} if total is None else {"x-goog-hash": f"{digest.name}={digest.value}"}
            answer = _Sending(client, place, url, part, sent, total, headers).finish()
            sent += len(part)
            stored = None if total is None else _stored(client, place, answer)
    problem = "its end was not confirmed" if stored is None else digest.problem(*stored)
    if problem is not None:
        raise StoreUnavailable(f"{client.where(place)}: it arrived damaged ({problem}); write it again")


def _stored(client: GcsClient, place: Place, answer: Response) -> tuple[str | None, str | None]:
    """Return the CRC-32C and the MD5 of the object that the last answer describes."""
    with translated(client.where(place)):
        found = answer.json()
    return found.get("crc32c"), found.get("md5Hash")


@contextmanager
def _begun(client: GcsClient, place: Place) -> Iterator[str]:
    """Give the URL of a new upload; whatever ends the block too early takes back what was sent."""
    url = client.begin(place)
    ended = False
    try:
        yield url
        ended = True
    finally:
        if not ended:
            # An upload that stays because the server is away ends by itself after a week.
            with suppress(StoreUnavailable):
                client.send_once(place, "DELETE", url, Body(), {})


class _Sending:
    """One part on its way. start: of the part in the object; total: size of the object, None = more parts follow."""

    def __init__(
        self,
        client: GcsClient,
        place: Place,
        url: str,
        part: bytes,
        start: int,
        total: int | None,
        headers: dict[str, str],
    ) -> None:
        self._client = client
        self._place = place
        self._url = url
        self._part = memoryview(part)
        self._start = start
        self._total = total
        self._headers = headers
        self._kept = 0  # bytes of the part that the server has

    def finish(self) -> Response:
        """Send until the server has all of the part; return its last answer.

        A server that has got some of it already ignores that it comes again.
        """
        failures = 0
        while True:
            try:
                response = self._send()
            except GcsFailure as error:
                self._fail_if_lost(error)
                failures += 1
                if failures > len(PAUSES) or not (error.transient or error.status is None):
                    raise
                self._client.wait(PAUSES[failures - 1])
                continue
            if response.status_code != 308 or (self._note_kept(response) and self._total is None):
                return response
            failures = 0

    def _send(self) -> Response:
        rest = self._part[self._kept :]
        first = self._start + self._kept
        span = f"{first}-{first + len(rest) - 1}" if rest else "*"
        headers = {**self._headers, "Content-Range": f"bytes {span}/{'*' if self._total is None else self._total}"}
        return self._client.send_once(self._place, "PUT", self._url, Body(rest), headers)

    def _note_kept(self, response: Response) -> bool:
        """Note how much the server has; say whether that is all. Raises StoreUnavailable when that did not grow."""
        match = _KEPT.fullmatch(response.headers.get("Range", ""))
        kept = (int(match[1]) + 1 if match else 0) - self._start
        if not self._kept < kept <= len(self._part):
            raise StoreUnavailable(f"{self._where}: the server lost a part of the upload; write it again")
        self._kept = kept
        return kept == len(self._part)

    def _fail_if_lost(self, error: GcsFailure) -> None:
        if error.status in (404, 410):
            raise StoreUnavailable(f"{self._where}: the server gave the upload up; write it again") from error

    @property
    def _where(self) -> str:
        return self._client.where(self._place)
