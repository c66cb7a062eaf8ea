"""One path of a job's directory into the artifact store, below the attempt."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal

from agent.attempt import Attempt
from agent.context import Context
from agent.model.records import Artifact
from agent.transfer.archive import pack
from agent.transfer.beneath import open_beneath
from agent.transfer.stream import Digested, chunks


def save(context: Context, attempt: Attempt, path: str, name: str, uri: str | None = None) -> Artifact | None:
    """Store `path` (below the job's directory) as artifact `name` of the attempt; None when the job did not make it.

    A directory is stored as one tar archive. Saving again replaces what was saved before under the same name.
    """
    descriptor = open_beneath(context.directory(attempt.id) / "work", path)
    if descriptor is None:
        return None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return store(context, attempt, name, pack(descriptor), kind="tree", uri=uri)
        return store(context, attempt, name, _content(descriptor), uri=uri)
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> Iterator[bytes]:
    with open(descriptor, "rb", closefd=False) as stream:
        yield from chunks(stream)


def store(
    context: Context,
    attempt: Attempt,
    name: str,
    content: Iterable[bytes],
    *,
    kind: Literal["file", "tree"] = "file",
    uri: str | None = None,
) -> Artifact:
    """Store the bytes as artifact `name` of the attempt."""
    digested = Digested(content)
    results = context.queue(attempt).results
    context.artifacts.write(results.artifact_uri(attempt.sid, attempt.n, name), digested)
    key = results.artifact_key(attempt.sid, attempt.n, name)
    return Artifact(name=name, key=key, size=digested.size, sha256=digested.sha256, kind=kind, uri=uri)
