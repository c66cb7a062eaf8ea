"""Reading a file of a server as a stream that outlives its connections."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from urllib3 import BaseHTTPResponse

from agent.adapters.http.transport import Failure, length_of, translated
from agent.errors import ArtifactMissing, StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Seconds before an interrupted transfer goes on; counted anew whenever something arrived.
PAUSES = (0.2, 1.0, 3.0)

Get = Callable[[Mapping[str, str]], BaseHTTPResponse]
"""Asks for the file with these headers; what it returns is still to be read. Raises Failure, ArtifactMissing."""


class ResumingReader(io.RawIOBase):
    """The bytes of one file as it was when it was opened. Raises StoreUnavailable, also when it was replaced.

    condition: the header that names the version of which the rest is wanted.
    """

    def __init__(
        self, get: Get, where: str, wait: Callable[[float], object], condition: Literal["If-Match", "If-Range"]
    ) -> None:
        """Open the file, called `where` in messages. Raises what `get` does."""
        self._get = get
        self._where = where
        self._wait = wait
        self._condition = condition
        self._position = 0
        response = get({})
        self._response: BaseHTTPResponse | None = response
        self._version = _version(response, condition)
        self._size = length_of(response)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        for pause in PAUSES:
            try:
                return self._read(target)
            except Failure as error:
                self._hang_up()
                if error.status is not None and not error.transient:
                    raise
            self._wait(pause)
        return self._read(target)

    def close(self) -> None:
        if not self.closed:
            self._hang_up()
        super().close()

    def _read(self, target: memoryview) -> int:
        if self._position == self._size:
            return 0
        if self._response is None:
            self._response = self._resumed()
        with translated(self._where):
            piece = self._response.read(len(target), decode_content=False)
        target[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def _resumed(self) -> BaseHTTPResponse:
        if self._version is None:
            words = "the connection broke, and the server names no version of which the rest could be asked for"
            raise StoreUnavailable(f"{self._where}: {words}; read it again")
        try:
            response = self._get({"Range": f"bytes={self._position}-", self._condition: self._version})
        except ArtifactMissing:
            raise self._replaced() from None
        except Failure as error:
            if error.status in (404, 412, 416):
                raise self._replaced() from error
            raise
        # A server that does not know the condition sends the other file, one without ranges all of it.
        if not self._is_the_rest(response):
            response.close()
            raise self._replaced()
        return response

    def _is_the_rest(self, response: BaseHTTPResponse) -> bool:
        begins = response.headers.get("Content-Range", "").startswith(f"bytes {self._position}-")
        return response.status == 206 and begins and _version(response, self._condition) == self._version

    def _replaced(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._where}: it was replaced or removed while it was read, or cannot be read from the middle; "
            "read it again"
        )

    def _hang_up(self) -> None:
        """A connection with an unread rest cannot be used again."""
        if self._response is not None:
            if self._position == self._size:
                self._response.release_conn()
            else:
                self._response.close()
            self._response = None


def _version(response: BaseHTTPResponse, condition: str) -> str | None:
    """Return what tells this version from others; a date only goes with If-Range."""
    return strong_tag(response) or (response.headers.get("Last-Modified") if condition == "If-Range" else None)


def strong_tag(response: BaseHTTPResponse) -> str | None:
    """Return the ETag that stands for these very bytes: a weak one may stand for several versions."""
    tag = response.headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else None
