"""Artifacts as objects: s3://bucket/key URIs below the prefixes that the operator allowed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from agent.adapters.s3 import multipart
from agent.adapters.s3.client import S3Client
from agent.adapters.s3.errors import S3Failure
from agent.adapters.s3.reader import ObjectReader
from agent.errors import ArtifactMissing, InvalidInput
from agent.matching.uris import is_below
from agent.ports import ArtifactInfo

MIB = 1024**2
PART_BYTES = 16 * MIB
# S3 copies up to 5 GiB in one request. Shorter ranges are answered in time by slow disks, and several go on at once.
COPY_BYTES = 128 * MIB
_BUFFER_BYTES = MIB
_BINARY = {"Content-Type": "application/octet-stream"}


class Place(NamedTuple):
    """Where an object lies."""

    bucket: str
    key: str


class S3Artifacts:
    """An ArtifactStore for s3:// URIs below `prefixes`; every method raises InvalidInput for any other URI.

    part_bytes: the parts of an upload, at least 5 MiB; copy_bytes: the ranges of a copy on the server, likewise.
    """

    def __init__(
        self, client: S3Client, prefixes: Sequence[str], part_bytes: int = PART_BYTES, copy_bytes: int = COPY_BYTES
    ) -> None:
        self._client = client
        self._prefixes = tuple(prefixes)
        self._part_bytes = part_bytes
        self._copy_bytes = copy_bytes

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return the size of the object, or None when there is none."""
        headers = self._headers(self._place(uri))
        return None if headers is None else ArtifactInfo(int(headers["Content-Length"]))

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the object, which resumes where its connection broke. Raises ArtifactMissing."""
        place = self._place(uri)
        try:
            reader = ObjectReader(self._client, place.bucket, place.key)
        except S3Failure as error:
            if error.code != "NoSuchKey":
                raise
            raise _missing(uri) from None
        return io.BufferedReader(reader, _BUFFER_BYTES)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """Store the chunks as the object, which appears when it is complete; in parts when it is large."""
        place = self._place(uri)
        parts = multipart.split(chunks, self._part_bytes)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            self._client.call("PUT", place.bucket, place.key, body=first, headers=_BINARY)
        else:
            multipart.upload(self._client, place.bucket, place.key, chain([first, second], parts))

    def copy(self, source: str, target: str) -> None:
        """Copy on the server. Raises ArtifactMissing."""
        origin, goal = self._place(source), self._place(target)
        headers = self._headers(origin)
        if headers is None:
            raise _missing(source)
        if origin == goal:
            return  # S3 refuses to copy an object to itself
        size, name = int(headers["Content-Length"]), quote(f"/{origin.bucket}/{origin.key}")
        if size > self._copy_bytes:
            multipart.copy(self._client, name, headers["ETag"], size, self._copy_bytes, goal.bucket, goal.key)
        else:
            self._client.call("PUT", goal.bucket, goal.key, headers={"x-amz-copy-source": name})

    def _headers(self, place: Place) -> Mapping[str, str] | None:
        try:
            return self._client.call("HEAD", place.bucket, place.key).headers
        except S3Failure as error:
            if error.status != 404:
                raise
        # The answer to HEAD has no body: a bucket that is not there looks the same.
        self._client.call("HEAD", place.bucket)
        return None

    def _place(self, uri: str) -> Place:
        place = place_of(uri)
        if not is_below(uri, self._prefixes):
            allowed = ", ".join(self._prefixes) or "none"
            raise InvalidInput(f'"{uri}" is outside the allowed buckets and prefixes', hint=f"allowed: {allowed}")
        return place


def place_of(uri: str) -> Place:
    """Return the bucket and key that an s3:// URI names. Raises InvalidInput."""
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise InvalidInput(f'"{uri}" is no S3 URI', hint='such as "s3://bucket/data/train.csv"')
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise InvalidInput(f'"{uri}" has a query or a fragment', hint="write %3F for ? and %23 for #")
    try:
        key = unquote_to_bytes(parts.path).decode("utf-8").removeprefix("/")
    except UnicodeDecodeError:
        raise InvalidInput(f'"{uri}" is not UTF-8', hint="S3 has no other names") from None
    if "\0" in key or not all(key.split("/")) or {".", ".."} & set(key.split("/")):
        raise InvalidInput(f'"{uri}" names no object', hint="a key without empty parts, . and ..")
    return Place(parts.netloc, key)


def _missing(uri: str) -> ArtifactMissing:
    return ArtifactMissing(f"{uri}: there is no such object")
