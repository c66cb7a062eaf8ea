"""Several artifact stores as one: the URI decides which one is meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import BinaryIO

from agent.errors import InvalidInput
from agent.ports import ArtifactInfo, ArtifactStore
from agent.transfer.stream import chunks


class StoreChoice:
    """An ArtifactStore over several; subclasses choose."""

    def chosen(self, uri: str) -> ArtifactStore:
        """Return the store of a URI, the same object for all that one store can copy by itself."""
        raise NotImplementedError

    def stat(self, uri: str) -> ArtifactInfo | None:
        """See ports.ArtifactStore."""
        return self.chosen(uri).stat(uri)

    def open(self, uri: str) -> BinaryIO:
        """See ports.ArtifactStore."""
        return self.chosen(uri).open(uri)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """See ports.ArtifactStore."""
        self.chosen(uri).write(uri, chunks)

    def copy(self, source: str, target: str) -> None:
        """Copy within a store, or through this host from one store to another."""
        origin, goal = self.chosen(source), self.chosen(target)
        if origin is goal:
            origin.copy(source, target)
            return
        with origin.open(source) as stream:
            goal.write(target, chunks(stream))


class Router(StoreChoice):
    """One store per scheme. Raises InvalidInput for a scheme that nobody serves."""

    def __init__(self, stores: Mapping[str, ArtifactStore]) -> None:
        """`stores` maps a scheme ("file", "s3") to its store."""
        self._stores = stores

    def chosen(self, uri: str) -> ArtifactStore:
        """Return the store of the URI's scheme."""
        scheme = uri.partition(":")[0]
        store = self._stores.get(scheme)
        if store is None:
            raise InvalidInput(f'"{uri}": no store for "{scheme}:"', hint="known: " + ", ".join(sorted(self._stores)))
        return store
