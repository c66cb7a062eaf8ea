"""One path of a job's directory into the artifact store, below the attempt."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import Literal

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import OutputTooLarge
from agent.model.job import Output
from agent.model.records import Artifact
from agent.model.units import show_size
from agent.results import Results
from agent.transfer.archive import Extra, pack
from agent.transfer.beneath import open_beneath
from agent.transfer.compress import compressed
from agent.transfer.stream import Digested, chunks

# What archives add: each file has a header, however small it is.
_OVERHEAD = 64 * 1024**2


def save(context: Context, attempt: Attempt, path: str, name: str, uri: str | None = None) -> Artifact | None:
    """Store `path` (below the job's directory) as artifact `name` of the attempt; None when the job did not make it.

    A directory is stored as one tar archive. Saving again replaces what was saved before under the same name. Raises
    OutputTooLarge.
    """
    descriptor = open_beneath(context.directory(attempt.id) / "work", path)
    if descriptor is None:
        return None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return store(context, attempt, name, _bounded(attempt, path, pack(descriptor)), kind="tree", uri=uri)
        return store(context, attempt, name, _bounded(attempt, path, _content(descriptor)), uri=uri)
    finally:
        os.close(descriptor)


def upload(context: Context, attempt: Attempt, output: Output) -> bool:
    """Store a direct output, see Cargo, as one archive at its `uri`; False when there is nothing to store.

    Its place is the same for all attempts of the job: an attempt that was overtaken stores nothing any more. Raises
    OutputTooLarge.
    """
    directory, cargo = context.directory(attempt.id), attempt.cargo
    descriptor = open_beneath(directory / "work", output.path)
    if descriptor is None or output.uri is None:
        return False
    try:
        place, _, name = (cargo.log or "").rpartition("/")
        log = Extra(name, directory / "log") if place == output.path else None
        if not (log and log.path.exists()) and _is_empty(descriptor):
            return False
        if is_overtaken(context.queue(attempt).results, attempt):
            return False
        store = context.access.by(cargo.access.get(output.uri))
        content = compressed(_bounded(attempt, output.path, pack(descriptor, log)), cargo.direct[output.path])
        store.write(output.uri, context.counters.outgoing(attempt.id, content))
    finally:
        os.close(descriptor)
    return True


def is_overtaken(results: Results, attempt: Attempt) -> bool:
    """Say whether there is a later attempt at the job, which may be running."""
    newest = results.newest(attempt.sid)
    return newest is not None and newest.n > attempt.n


def _bounded(attempt: Attempt, path: str, content: Iterable[bytes]) -> Iterator[bytes]:
    """Pass the content on, as long as it may be what the job wrote to its disk.

    A sparse file takes no disk, and a linked one takes it once; read, both may be without end.
    """
    most = 2 * attempt.job.requires.disk + _OVERHEAD
    size = 0
    for piece in content:
        size += len(piece)
        if size > most:
            raise OutputTooLarge(
                f'output "{path}": more than {show_size(most)}, for a job with requires.disk = '
                f"{show_size(attempt.job.requires.disk)}; sparse files and links count with all they show"
            )
        yield piece


def _is_empty(directory: int) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


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
    digested = Digested(context.counters.outgoing(attempt.id, content))
    results = context.queue(attempt).results
    context.artifacts.write(results.artifact_uri(attempt.sid, attempt.n, name), digested)
    key = results.artifact_key(attempt.sid, attempt.n, name)
    return Artifact(name=name, key=key, size=digested.size, sha256=digested.sha256, kind=kind, uri=uri)
