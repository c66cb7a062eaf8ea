"""Artifacts as objects: gs://bucket/key URIs below the prefixes that the operator allowed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote_to_bytes, urlsplit

from agent.adapters.gcs.place import Place
from agent.errors import ArtifactMissing, InvalidInput
from agent.matching.uris import is_below
from agent.ports import ArtifactInfo

if TYPE_CHECKING:
    from agent.adapters.gcs.client import GcsClient

MIB = 1024**2
_BUFFER_BYTES = MIB
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_LONGEST_KEY = 1024  # bytes


class GcsArtifacts:
    """An ArtifactStore for gs:// URIs below `prefixes`; every method raises InvalidInput for any other URI.

    connect: gives the client, and is called for each use; see connector.
    """

    def __init__(self, connect: Callable[[], GcsClient], prefixes: Sequence[str]) -> None:
        self._connect = connect
        self._prefixes = tuple(prefixes)

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return the size and the generation of the object, or None when there is none."""
        place = self._place(uri)
        found = self._connect().find(place)
        return None if found is None else ArtifactInfo(found.size, str(found.generation))

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the object as it is stored, which resumes where its connection broke.

        Raises ArtifactMissing. An object of Content-Encoding gzip stays compressed.
        """
        place = self._place(uri)
        client = self._connect()
        found = client.find(place)
        if found is None:
            raise _missing(uri)
        return io.BufferedReader(client.reader(place, found), _BUFFER_BYTES)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """Store the chunks as the object, which appears when it is complete."""
        place = self._place(uri)
        self._connect().write(place, chunks)

    def copy(self, source: str, target: str) -> None:
        """Copy on the server. Raises ArtifactMissing."""
        origin, goal = self._place(source), self._place(target)
        client = self._connect()
        found = client.find(origin)
        if found is None:
            raise _missing(source)
        if origin != goal:
            client.rewrite(origin, found, goal)

    def _place(self, uri: str) -> Place:
        place = place_of(uri)
        if not is_below(uri, self._prefixes):
            allowed = ", ".join(self._prefixes) or "none"
            raise InvalidInput(f'"{uri}" is outside the allowed buckets and prefixes', hint=f"allowed: {allowed}")
        return place


def place_of(uri: str) -> Place:
    """Return the bucket and key that a gs:// URI names. Raises InvalidInput."""
    parts = urlsplit(uri)
    if parts.scheme != "gs" or not _BUCKET.fullmatch(parts.netloc):
        raise InvalidInput(f'"{uri}" is no URI of Cloud Storage', hint='such as "gs://bucket/data/train.csv"')
    if parts.query or parts.fragment or uri.endswith(("?", "#")):
        raise InvalidInput(f'"{uri}" has a query or a fragment', hint="write %3F for ? and %23 for #")
    try:
        key = unquote_to_bytes(parts.path).decode("utf-8").removeprefix("/")
    except UnicodeDecodeError:
        raise InvalidInput(f'"{uri}" is not UTF-8', hint="Cloud Storage has no other names") from None
    if len(key.encode()) > _LONGEST_KEY or re.search(r"[\0\r\n]", key):
        raise InvalidInput(f'"{uri}" names no object', hint="a key of at most 1024 bytes without line ends")
    if not all(key.split("/")) or {".", ".."} & set(key.split("/")):
        raise InvalidInput(f'"{uri}" names no object', hint="a key without empty parts, . and ..")
    return Place(parts.netloc, key)


def _missing(uri: str) -> ArtifactMissing:
    return ArtifactMissing(f"{uri}: there is no such object")
