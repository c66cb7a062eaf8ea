"""The inputs of an attempt, and the checkpoint of an earlier one, brought into the job's directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from agent.attempt import Attempt
from agent.cache import key_of
from agent.context import Context
from agent.errors import ArtifactMismatch, ArtifactMissing, JobFault, StoreUnavailable, UnsafeArchive, disk_fault
from agent.model.job import Input
from agent.ports import ArtifactInfo, ArtifactStore
from agent.steps import checkpoint
from agent.steps.step import PATHS_AT_FAULT, Step, nothing
from agent.transfer.archive import unpack
from agent.transfer.budget import Budget
from agent.transfer.copying import copy_file
from agent.transfer.sniff import as_tar
from agent.transfer.stream import Digested, chunks

# Passes chunks on as they come, and refuses those that are too many.
Count = Callable[[Iterable[bytes]], Iterable[bytes]]


def apply(context: Context, attempt: Attempt) -> None:
    """Fetch all inputs, then restore the newest checkpoint over them.

    Together they get the disk space that the job asks for: what is downloaded, and what is unpacked of it. A kept
    input counts the same whether it is in the cache or not.
    """
    work, budget = context.directory(attempt.id) / "work", Budget(attempt.job.requires.disk)
    try:
        for item in attempt.job.inputs:
            _fetch(context, attempt, item, work / item.path, budget)
        checkpoint.restore(context, attempt)
    except OSError as error:
        if error.errno in PATHS_AT_FAULT:
            raise JobFault(f"inputs cannot be written where the job wants them: {_place(error, work)}") from None
        raise disk_fault(error, f"inputs cannot be written below {work}: {error.strerror}") from None


def _place(error: OSError, work: Path) -> str:
    """Say where, without the name of a directory of this host."""
    name = str(error.filename or "").replace(f"{work}{os.sep}", "")
    return f"{name[:100]}: {error.strerror}" if name else str(error.strerror)


def _fetch(context: Context, attempt: Attempt, item: Input, place: Path, budget: Budget) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".part")
    store = context.access.by(attempt.cargo.access.get(item.uri))
    try:
        found = _kept(context, attempt, item, store, budget)
        if found is None:
            _download(store, item, part, _counted(context, attempt, budget))
    except JobFault:
        # A server may deny what is not there, rather than tell whether it is.
        if item.path not in attempt.cargo.optional or budget.is_exhausted:
            raise
        part.unlink(missing_ok=True)
        if item.unpack:
            place.mkdir(exist_ok=True)
        return
    if item.unpack:
        _unpack(found or part, place, item, budget)
        part.unlink(missing_ok=True)
        return
    if found is not None:
        copy_file(found, part)
    part.replace(place)


def _counted(context: Context, attempt: Attempt, budget: Budget) -> Count:
    """Return what counts bytes against the budget, and as moved for the attempt."""
    incoming = partial(context.counters.incoming, attempt.id)
    return lambda source: budget.counted(incoming(source))


def _kept(context: Context, attempt: Attempt, item: Input, store: ArtifactStore, budget: Budget) -> Path | None:
    """Return the copy in the cache of an input whose content never changes; None for any other input.

    The store is asked with the job's own rights, so the cache gives nobody what he could not read himself.
    """
    cache = context.cache
    if cache is None or item.path not in attempt.cargo.kept:
        return None
    info = store.stat(item.uri)
    if info is None:
        raise ArtifactMissing(f"{item.uri}: there is no such artifact")
    if info.size > cache.limit:
        return None
    budget.spend(info.size)
    key = key_of("input", item.uri, str(info.size), info.version or "", item.sha256 or "")
    count = _counted(context, attempt, Budget(info.size))
    return cache.add(key, lambda path: _download_whole(store, item, info, path, count), size=info.size)


def _download_whole(store: ArtifactStore, item: Input, info: ArtifactInfo, place: Path, count: Count) -> None:
    _download(store, item, place, count)
    if place.stat().st_size != info.size:
        raise StoreUnavailable(f"{item.uri}: {place.stat().st_size} bytes came of {info.size}; it is fetched anew")


def _download(store: ArtifactStore, item: Input, place: Path, count: Count) -> None:
    with store.open(item.uri) as source:
        content = Digested(count(chunks(source)))
        _write(content, place)
    if item.sha256 not in (None, content.sha256):
        raise ArtifactMismatch(f"{item.uri} has SHA-256 {content.sha256}, the job promises {item.sha256}")


def _write(content: Iterable[bytes], place: Path) -> None:
    with place.open("wb") as file:
        for piece in content:
            file.write(piece)


def _unpack(archive: Path, place: Path, item: Input, budget: Budget) -> None:
    try:
        with archive.open("rb") as file, as_tar(file) as stream:
            budget.spend(unpack(stream, place, limit=budget.left))
    except UnsafeArchive as error:
        raise JobFault(f"input {item.uri}: {error}") from None


STEP = Step("stage-in", apply, nothing, "failed when downloading user data")
