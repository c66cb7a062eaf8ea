"""Reading an object as a stream that outlives its connections."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from urllib3 import BaseHTTPResponse

from agent.adapters.s3.client import S3Client
from agent.adapters.s3.errors import S3Failure, translated
from agent.errors import StoreUnavailable

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Seconds before an interrupted transfer goes on; counted anew whenever something arrived.
PAUSES = (0.2, 1.0, 3.0)


class ObjectReader(io.RawIOBase):
    """The bytes of one object as it was when it was opened. Raises StoreUnavailable, also when it was replaced."""

    def __init__(self, client: S3Client, bucket: str, key: str) -> None:
        """Open the object. Raises S3Failure."""
        self._client = client
        self._bucket = bucket
        self._key = key
        self._position = 0
        response = client.call("GET", bucket, key, stream=True)
        self._response: BaseHTTPResponse | None = response
        self._etag = response.headers.get("ETag")
        self._size = int(response.headers["Content-Length"]) if "Content-Length" in response.headers else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        target = memoryview(buffer).cast("B")
        for pause in PAUSES:
            try:
                return self._read(target)
            except S3Failure as error:
                self._hang_up()
                if error.status is not None and not error.transient:
                    raise
            self._client.wait(pause)
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
        headers = {"Range": f"bytes={self._position}-"}
        if self._etag is not None:
            headers["If-Match"] = self._etag
        try:
            response = self._client.call("GET", self._bucket, self._key, headers=headers, stream=True)
        except S3Failure as error:
            if error.status in (404, 412, 416):
                raise self._replaced() from error
            raise
        # A server that does not know If-Match sends the other object, one without ranges all of it.
        if response.headers.get("ETag") != self._etag or response.status != 206:
            response.close()
            raise self._replaced()
        return response

    def _replaced(self) -> StoreUnavailable:
        return StoreUnavailable(f"{self._where}: it was replaced or removed while it was read; read it again")

    @property
    def _where(self) -> str:
        return self._client.where(self._bucket, self._key)

    def _hang_up(self) -> None:
        """A connection with an unread rest cannot be used again."""
        if self._response is not None:
            if self._position == self._size:
                self._response.release_conn()
            else:
                self._response.close()
            self._response = None
