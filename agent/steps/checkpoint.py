"""Checkpoints: saved while a job runs, restored when it starts again, on whatever host."""

from __future__ import annotations

import logging

import msgspec

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import HostFault, InvalidInput, JobFault, StoreUnavailable
from agent.model.job import Output
from agent.model.records import Artifact
from agent.saving import save, upload
from agent.transfer.archive import unpack
from agent.transfer.stream import chunks

log = logging.getLogger(__name__)


def save_checkpoint(context: Context, attempt: Attempt) -> Attempt:
    """Save the job's checkpoint path, if it is there, and name it in the attempt's record.

    Two places take turns, so the one that the record names is always complete.
    """
    settings = attempt.job.checkpoint
    if settings is None:
        return attempt
    name = "checkpoint-b" if attempt.checkpoint and attempt.checkpoint.name == "checkpoint-a" else "checkpoint-a"
    saved = save(context, attempt, settings.path, name)
    if saved is None:
        return attempt
    # Noted, or an agent that is restarted would not know it, and its last word on the attempt would be without it.
    attempt = context.note(msgspec.structs.replace(attempt, checkpoint=saved))
    context.board.show(attempt, "run")
    context.queue(attempt).results.update(attempt.record())
    return attempt


def restore(context: Context, attempt: Attempt) -> None:
    """Put the newest complete checkpoint of the earlier attempts in its place; nothing when there is none."""
    settings = attempt.job.checkpoint
    if settings is None:
        return
    results = context.queue(attempt).results
    earlier = (record.checkpoint for record, _ in results.attempts(attempt.sid) if record.n < attempt.n)
    saved = [checkpoint for checkpoint in earlier if checkpoint is not None]
    if saved:
        _restore(context, attempt, saved[-1], results.uri_of(saved[-1]), settings.path)


def _restore(context: Context, attempt: Attempt, artifact: Artifact, uri: str, path: str) -> None:
    place = context.directory(attempt.id) / "work" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    with context.artifacts.open(uri) as source:
        if artifact.kind == "tree":
            unpack(source, place, own=True)
        else:
            with place.open("wb") as file:
                file.writelines(chunks(source))
    context.counters.came(attempt.id, artifact.size)


class Saver:
    """Saves the checkpoint, and outputs with `every`, of one running attempt when their time has come."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: dict[str, float] = {}

    def step(self, attempt: Attempt) -> Attempt:
        """Save what is due; a store or disk that fails is tried again when the next time has come."""
        try:
            for output in attempt.job.outputs:
                if output.every and self._is_due("output " + output.path, output.every):
                    self._save(attempt, output)
            if attempt.job.checkpoint and self._is_due("checkpoint", attempt.job.checkpoint.every):
                attempt = save_checkpoint(self._context, attempt)
        except (StoreUnavailable, HostFault, JobFault, InvalidInput) as error:
            log.warning("not saved", extra={"event": "save-failed", "attempt": attempt.id, "reason": str(error)})
        return attempt

    def _save(self, attempt: Attempt, output: Output) -> None:
        if output.path in attempt.cargo.direct:
            upload(self._context, attempt, output)
        else:
            save(self._context, attempt, output.path, f"outputs/{output.path}")

    def _is_due(self, what: str, every: float) -> bool:
        now = self._context.clock.boottime()
        due = self._due.setdefault(what, now + every)
        if now < due:
            return False
        self._due[what] = now + every
        return True
