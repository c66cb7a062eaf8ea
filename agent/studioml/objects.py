"""Small objects that a message names: read and written by the rights that it brings, where the operator allows it."""

from __future__ import annotations

import io
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from agent.errors import ArtifactMissing, EdgeAgentError, HostFault, JobFault
from agent.matching import MatchPolicy
from agent.matching.uris import is_below
from agent.model.cargo import Access, Cargo
from agent.ports import ArtifactAccess, ArtifactStore
from agent.transfer.stream import chunks

log = logging.getLogger(__name__)

_IN_MEMORY = 1024**2  # bytes of an object; a larger one goes to a temporary file


class Objects:
    """The objects of one message. All methods raise JobFault for those that it may not use, and Unavailable."""

    def __init__(
        self, access: ArtifactAccess, policy: MatchPolicy, cargo: Cargo, directory: Path | None = None
    ) -> None:
        """directory: for copies of large objects; where it is not there, they go where temporary files go."""
        self._access = access
        self._policy = policy
        self._cargo = cargo
        self._directory = directory

    @contextmanager
    def fetched(self, uri: str, most: int) -> Iterator[BinaryIO | None]:
        """Give the object as a seekable file, None when there is none.

        Raises JobFault, too, for one of more than `most` bytes; HostFault when a copy finds no room.
        """
        store = self._store(uri, self._policy.input_prefixes)
        try:
            with store.open(uri) as source:
                copy = self._copy(source, uri, most)
        except ArtifactMissing:
            yield None
            return
        with closing(copy):
            yield copy

    def _copy(self, source: BinaryIO, uri: str, most: int) -> BinaryIO:
        copy: BinaryIO = io.BytesIO()
        try:
            for piece in chunks(source):
                size = copy.tell() + len(piece)
                if size > most:
                    raise JobFault(f"{uri}: larger than {most} bytes")
                if size > _IN_MEMORY and isinstance(copy, io.BytesIO):
                    copy = self._on_disk(copy)
                copy.write(piece)
            copy.seek(0)
        except OSError as error:
            copy.close()
            raise HostFault(f"{uri}: no copy of it can be made: {error.strerror}") from None
        except EdgeAgentError:
            copy.close()
            raise
        return copy

    def _on_disk(self, copy: io.BytesIO) -> BinaryIO:
        is_there = self._directory is not None and self._directory.is_dir()
        file = tempfile.TemporaryFile(dir=self._directory if is_there else None)  # noqa: SIM115 (closed by `fetched`)
        file.write(copy.getvalue())
        return cast(BinaryIO, file)

    def write(self, uri: str, content: Iterable[bytes]) -> None:
        """Store the object."""
        self._store(uri, self._policy.output_prefixes).write(uri, content)

    def _store(self, uri: str, prefixes: Iterable[str]) -> ArtifactStore:
        """Rights that came with the message are for where it says, the agent's own for what the operator says."""
        rights = self._rights_on(uri)
        allowed = self._policy.brought_prefixes if rights is not None else prefixes
        if not is_below(uri, allowed):
            raise JobFault(f"{uri}: not allowed by the [policy] of this host")
        return self._access.by(rights)

    def _rights_on(self, uri: str) -> Access | None:
        known = self._cargo.access
        below = [prefix for prefix in known if prefix.endswith("/") and uri.startswith(prefix)]
        return known.get(uri) or known.get(max(below, key=len, default=""))


class Troubles:
    """Keeps what goes wrong on the way to clients from the job: each kind of trouble is logged once."""

    def __init__(self, sid: str) -> None:
        self._sid = sid
        self._told: set[str] = set()

    @contextmanager
    def kept(self, what: str, *kinds: type[EdgeAgentError]) -> Iterator[None]:
        """Go on after an error in the block, of these kinds if any are named; `what` says what could not be done."""
        try:
            yield
        except EdgeAgentError as error:
            if kinds and not isinstance(error, kinds):
                raise
            if what not in self._told:
                self._told.add(what)
                fields = {"event": "observer-trouble", "sid": self._sid, "what": what, "reason": str(error)}
                log.warning("a client is not told, or not heard", extra=fields)
