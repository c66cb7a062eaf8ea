"""All stores on the one configured server: they share its connections and what is known of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from agent.adapters.s3.artifacts import S3Artifacts, server_at
from agent.adapters.s3.client import AWS, connect
from agent.adapters.s3.records import S3Records
from agent.config.places import Bucket
from agent.config.s3 import S3Section
from agent.model.capabilities import Problem

_WEAK = "{} ignores conditional writes: two hosts may run one job; the first commit that is read wins"
_REMEDY = "use an S3 server that honours If-None-Match, or a queue of another kind"


class S3Stores:
    """Makes each store once. found_weak is called when a server is seen to promise less than it should."""

    def __init__(self, section: S3Section, environ: Mapping[str, str], found_weak: Callable[[], None]) -> None:
        """Raises StoreUnavailable when a file that the section names cannot be read."""
        self._client = connect(section, environ)
        self._endpoint = (section.endpoint or AWS).rstrip("/")
        self._found_weak = found_weak
        self._lock = threading.Lock()
        self._records: dict[Bucket, S3Records] = {}
        self._weak: dict[str, Problem] = {}

    def records(self, place: Bucket) -> S3Records:
        """Return the records below a place."""
        with self._lock:
            if place not in self._records:
                self._records[place] = S3Records(self._client, place.name, place.prefix, weak=self._note_weak)
            return self._records[place]

    def artifacts(self, prefixes: Sequence[str]) -> S3Artifacts:
        """Return the artifacts below the s3:// URIs."""
        return S3Artifacts(self._client, prefixes)

    def named_artifacts(self, prefixes: Sequence[str]) -> S3Artifacts:
        """Return the artifacts of the same server by the URIs that name it, s3+http:// or s3+https://."""
        scheme, _, netloc = self._endpoint.partition("://")
        return S3Artifacts(self._client, prefixes, server=server_at(scheme, netloc))

    def problems(self) -> tuple[Problem, ...]:
        """Return what is known to be wrong with the server."""
        with self._lock:
            return tuple(self._weak.values())

    def _note_weak(self, where: str) -> None:
        with self._lock:
            self._weak[where] = Problem("s3", _WEAK.format(where), _REMEDY)
        self._found_weak()
