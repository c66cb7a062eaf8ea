"""All artifact stores as one: the scheme of a URI decides which one is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import BinaryIO

from agent.errors import InvalidInput
from agent.ports import ArtifactInfo, ArtifactStore
from agent.transfer.stream import chunks


class Router:
    """An ArtifactStore over one store per scheme. Raises InvalidInput for a scheme that nobody serves."""

    def __init__(self, stores: Mapping[str, ArtifactStore]) -> None:
        """`stores` maps a scheme ("file", "s3") to its store."""
        self._stores = stores

    def stat(self, uri: str) -> ArtifactInfo | None:
        """See ports.ArtifactStore."""
        return self._store(uri).stat(uri)

    def open(self, uri: str) -> BinaryIO:
        """See ports.ArtifactStore."""
        return self._store(uri).open(uri)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """See ports.ArtifactStore."""
        self._store(uri).write(uri, chunks)

    def copy(self, source: str, target: str) -> None:
        """Copy within a store, or through this host from one store to another."""
        origin, goal = self._store(source), self._store(target)
        if origin is goal:
            origin.copy(source, target)
            return
        with origin.open(source) as stream:
            goal.write(target, chunks(stream))

    def _store(self, uri: str) -> ArtifactStore:
        scheme = uri.partition(":")[0]
        store = self._stores.get(scheme)
        if store is None:
            raise InvalidInput(f'"{uri}": no store for "{scheme}:"', hint="known: " + ", ".join(sorted(self._stores)))
        return store
