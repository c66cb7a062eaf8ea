"""The inputs of an attempt, and the checkpoint of an earlier one, brought into the job's directory."""

from __future__ import annotations

from pathlib import Path

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import ArtifactMismatch, HostFault, JobFault, UnsafeArchive
from agent.model.job import Input
from agent.steps import checkpoint
from agent.steps.step import Step, nothing
from agent.transfer.archive import unpack
from agent.transfer.stream import Digested, chunks


def apply(context: Context, attempt: Attempt) -> None:
    """Fetch all inputs, then restore the newest checkpoint over them."""
    work = context.directory(attempt.id) / "work"
    try:
        for item in attempt.job.inputs:
            _fetch(context, item, work)
        checkpoint.restore(context, attempt)
    except OSError as error:
        raise HostFault(f"inputs cannot be written below {work}: {error.strerror}") from None


def _fetch(context: Context, item: Input, work: Path) -> None:
    place = work / item.path
    place.parent.mkdir(parents=True, exist_ok=True)
    archive = place.with_name(place.name + ".part")
    with context.artifacts.open(item.uri) as source:
        _write(Digested(chunks(source)), archive, item)
    if item.unpack:
        _unpack(archive, place, item)
    else:
        archive.replace(place)


def _write(content: Digested, place: Path, item: Input) -> None:
    with place.open("wb") as file:
        for piece in content:
            file.write(piece)
    if item.sha256 not in (None, content.sha256):
        raise ArtifactMismatch(f"{item.uri} has SHA-256 {content.sha256}, the job promises {item.sha256}")


def _unpack(archive: Path, place: Path, item: Input) -> None:
    try:
        with archive.open("rb") as stream:
            unpack(stream, place)
    except UnsafeArchive as error:
        raise JobFault(f"input {item.uri}: {error}") from None
    archive.unlink()


STEP = Step("stage-in", apply, nothing)
