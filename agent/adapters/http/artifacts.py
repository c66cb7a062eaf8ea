"""Artifacts as files on web servers: http:// and https:// URIs below the prefixes that the operator allowed."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO, cast

import urllib3

from agent.adapters.http.client import HttpClient
from agent.adapters.http.reader import ResumingReader, strong_tag
from agent.adapters.http.transport import length_of
from agent.errors import ArtifactMissing, StoreUnavailable
from agent.model.cargo import Access
from agent.ports import ArtifactInfo
from agent.redact import mask_url
from agent.transfer.stream import chunks

_BUFFER_BYTES = 1024**2
_IN_MEMORY = 4 * 1024**2  # bytes of an upload; what is beyond that goes to a temporary file
# Statuses with which servers turn away HEAD, since they know or sign GET only, and ranges of an empty file.
_NO_HEAD = (400, 401, 403, 405, 501)
_NO_RANGE = (416,)
_TOTAL = re.compile(r"bytes (?:\d+-\d+|\*)/(\d{1,19})")


class HttpArtifacts:
    """An ArtifactStore for http(s):// URIs below `prefixes`; every method raises InvalidInput for any other URI.

    access: the rights that a job brings, None = none. All methods raise JobFault for what no later try will change.
    The bytes are those that the server stores: no content coding is undone.
    """

    def __init__(
        self,
        pool: urllib3.PoolManager,
        prefixes: Sequence[str],
        access: Access | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """wait: waits that many seconds before a request is repeated. Raises JobFault for rights that cannot be."""
        self._client = HttpClient(pool, prefixes, access, wait)

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return size and version (its ETag) of the file, or None when there is none.

        Where the server tells no size, all of the file is read.
        """
        url = self._client.checked(uri)
        try:
            size, version = self._told(url)
            return ArtifactInfo(self._counted(url) if size is None else size, version)
        except ArtifactMissing:
            return None

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the file, which resumes where its connection broke. Raises ArtifactMissing."""
        url = self._client.checked(uri)
        reader = ResumingReader(
            lambda headers: self._client.request("GET", url, headers), mask_url(url), self._client.wait, "If-Range"
        )
        return io.BufferedReader(reader, _BUFFER_BYTES)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """Store the chunks as the file, in one PUT that is sent when all of them are there."""
        url = self._client.checked(uri)
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
            for chunk in chunks:
                _keep(whole, chunk, url)
            headers = {"Content-Length": str(whole.tell()), "Content-Type": "application/octet-stream"}
            self._client.request("PUT", url, headers, cast(BinaryIO, whole)).close()

    def copy(self, source: str, target: str) -> None:
        """Copy through this host. Raises ArtifactMissing."""
        self._client.checked(target)
        with self.open(source) as stream:
            if source != target:
                self.write(target, chunks(stream))

    def _told(self, url: str) -> tuple[int | None, str | None]:
        """Return what the server says of size and version. Raises ArtifactMissing."""
        response = self._client.request("HEAD", url, also=_NO_HEAD)
        response.close()
        size = length_of(response) if response.status == 200 else None
        if size is None:
            response = self._client.request("GET", url, {"Range": "bytes=0-0"}, also=_NO_RANGE)
            response.close()
            size = length_of(response) if response.status == 200 else _total(response)
        return size, strong_tag(response)

    def _counted(self, url: str) -> int:
        with self.open(url) as stream:
            return sum(map(len, chunks(stream)))


def _total(response: urllib3.BaseHTTPResponse) -> int | None:
    """Return the size of the whole in the answer to a range of it."""
    total = _TOTAL.fullmatch(response.headers.get("Content-Range", ""))
    return int(total[1]) if total else None


def _keep(whole: tempfile.SpooledTemporaryFile[bytes], chunk: bytes, url: str) -> None:
    try:
        whole.write(chunk)
    except OSError as error:
        words = f"the temporary file for the upload cannot be written: {(error.strerror or str(error)).lower()}"
        raise StoreUnavailable(f"{mask_url(url)}: {words}; free some space in {tempfile.gettempdir()}") from None
