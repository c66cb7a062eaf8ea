"""Artifacts as objects below the prefixes that the operator allowed.

s3://BUCKET/KEY lies on the configured server, s3+http://HOST/BUCKET/KEY and s3+https://... on the one that they name.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import BinaryIO, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

from urllib3 import BaseHTTPResponse

from agent.adapters.http.reader import ResumingReader
from agent.adapters.http.transport import Refused, length_of
from agent.adapters.s3 import multipart
from agent.adapters.s3.client import S3Client
from agent.adapters.s3.errors import S3Failure
from agent.errors import ArtifactMissing, InvalidInput, StoreUnavailable
from agent.matching.uris import is_below
from agent.ports import ArtifactInfo
from agent.redact import mask_url

MIB = 1024**2
PART_BYTES = 16 * MIB
# S3 copies up to 5 GiB in one request. Shorter ranges are answered in time by slow disks, and several go on at once.
COPY_BYTES = 128 * MIB
_BUFFER_BYTES = MIB
_BINARY = {"Content-Type": "application/octet-stream"}
_SCHEMES = {"s3+http": "http", "s3+https": "https"}
_PORTS = {"http": ":80", "https": ":443"}
# What every server allows, or allowed once. It becomes part of a path, or of a host name.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")


class Place(NamedTuple):
    """Where an object lies. server: "https://host:port", "" = the configured one."""

    bucket: str
    key: str
    server: str = ""


class S3Artifacts:
    """An ArtifactStore for URIs of one server below `prefixes`; every method raises InvalidInput for any other URI.

    part_bytes: the parts of an upload, at least 5 MiB; copy_bytes: the ranges of a copy on the server, likewise.
    server: the one that the URIs name, see Place.
    """

    def __init__(
        self,
        client: S3Client,
        prefixes: Sequence[str],
        part_bytes: int = PART_BYTES,
        copy_bytes: int = COPY_BYTES,
        server: str = "",
    ) -> None:
        self._client = client
        self._prefixes = tuple(prefixes)
        self._server = server
        self._part_bytes = part_bytes
        self._copy_bytes = copy_bytes

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return size and version (its ETag) of the object, or None when there is none."""
        place = self._place(uri)
        answer = self._head(place)
        return None if answer is None else ArtifactInfo(self._size(place, answer), answer.headers.get("ETag"))

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the object, which resumes where its connection broke. Raises ArtifactMissing."""
        place = self._place(uri)
        try:
            reader = self._reader(place)
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
        answer = self._head(origin)
        if answer is None:
            raise _missing(source)
        if origin == goal:
            return  # S3 refuses to copy an object to itself
        size, name = self._size(origin, answer), quote(f"/{origin.bucket}/{origin.key}")
        if size > self._copy_bytes:
            etag = multipart.etag_of(answer)
            multipart.copy(self._client, name, etag, size, self._copy_bytes, goal.bucket, goal.key)
        else:
            self._client.call("PUT", goal.bucket, goal.key, headers={"x-amz-copy-source": name})

    def _reader(self, place: Place) -> ResumingReader:
        def get(headers: Mapping[str, str]) -> BaseHTTPResponse:
            return self._client.call("GET", place.bucket, place.key, headers=headers, stream=True)

        return ResumingReader(get, self._client.where(place.bucket, place.key), self._client.wait, "If-Match")

    def _head(self, place: Place) -> BaseHTTPResponse | None:
        try:
            return self._client.call("HEAD", place.bucket, place.key)
        except S3Failure as error:
            if error.status != 404:
                raise
        # The answer to HEAD has no body: a bucket that is not there looks the same.
        try:
            self._client.call("HEAD", place.bucket)
        except (S3Failure, Refused) as error:
            if error.status != 403:  # the right to read objects goes without that to look at the bucket
                raise
        return None

    def _size(self, place: Place, answer: BaseHTTPResponse) -> int:
        size = length_of(answer)
        if size is None:
            where = self._client.where(place.bucket, place.key)
            raise StoreUnavailable(f"{where}: the answer tells no size; check that an S3 server answers there")
        return size

    def _place(self, uri: str) -> Place:
        place = check_below(uri, self._prefixes)
        if place.server != self._server:
            own = self._server or "s3://"
            raise InvalidInput(f'"{uri}" is on another server than {own}', hint="a job brings its own rights there")
        return place


def check_below(uri: str, prefixes: Sequence[str]) -> Place:
    """Return what object a URI names when it lies below one of the prefixes. Raises InvalidInput."""
    place = place_of(uri)
    if not is_below(uri, prefixes):
        allowed = ", ".join(prefixes) or "none"
        raise InvalidInput(f'"{uri}" is outside the allowed buckets and prefixes', hint=f"allowed: {allowed}")
    return place


def place_of(uri: str) -> Place:
    """Return what object an s3://, s3+http:// or s3+https:// URI names. Raises InvalidInput."""
    shown = mask_url(uri)
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InvalidInput(f'"{shown}" is no URI', hint='such as "s3://bucket/data/train.csv"') from None
    if parts.scheme not in ("s3", *_SCHEMES) or not parts.netloc:
        raise InvalidInput(f'"{shown}" is no S3 URI', hint='such as "s3://bucket/data/train.csv"')
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise InvalidInput(f'"{shown}" has a query or a fragment', hint="write %3F for ? and %23 for #")
    try:
        path = unquote_to_bytes(parts.path).decode("utf-8").removeprefix("/")
    except UnicodeDecodeError:
        raise InvalidInput(f'"{shown}" is not UTF-8', hint="S3 has no other names") from None
    bucket, key, server = parts.netloc, path, ""
    if parts.scheme != "s3":
        server = server_at(_SCHEMES[parts.scheme], parts.netloc)
        bucket, _, key = path.partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise InvalidInput(f'"{shown}" names no bucket', hint='such as "s3+https://minio.lab/bucket/train.csv"')
    if "\0" in key or not all(key.split("/")) or {".", ".."} & set(key.split("/")):
        raise InvalidInput(f'"{shown}" names no object', hint="a key without empty parts, . and ..")
    return Place(bucket, key, server)


def server_at(scheme: str, netloc: str) -> str:
    """Return the address of a server in the one form that is compared. Raises InvalidInput."""
    if not _HOST.fullmatch(netloc):
        shown = mask_url(f"{scheme}://{netloc}")
        raise InvalidInput(f'"{shown}" is no address of a server', hint="a host, with a port where it needs one")
    return f"{scheme}://{netloc.lower().removesuffix(_PORTS[scheme])}"


def _missing(uri: str) -> ArtifactMissing:
    return ArtifactMissing(f"{uri}: there is no such object")
