"""What a job made, saved below its attempt."""

from __future__ import annotations

import logging
from typing import NamedTuple

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import HostFault, InvalidInput, JobFault, OutputTooLarge
from agent.model.job import Output
from agent.model.records import Artifact, Outcome
from agent.saving import save, store, upload
from agent.transfer.stream import chunks

log = logging.getLogger(__name__)


class Made(NamedTuple):
    """What of an attempt is saved, and what is wrong with the rest."""

    artifacts: tuple[Artifact, ...]
    fault: str | None = None


def stage_out(context: Context, attempt: Attempt) -> Made:
    """Save the log and the outputs that the end of the attempt calls for.

    Raises HostFault where they cannot be read: a disk that fails.
    """
    try:
        return _made(context, attempt)
    except OSError as error:
        place = context.directory(attempt.id)
        raise HostFault(f"what attempt {attempt.id} left in {place} cannot be read: {error}; check the disk") from error


def _made(context: Context, attempt: Attempt) -> Made:
    directory = context.directory(attempt.id)
    artifacts: list[Artifact] = []
    fault = None
    if (directory / "log").exists():
        with (directory / "log").open("rb") as stream:
            artifacts.append(store(context, attempt, "log", chunks(stream)))
    wanted = attempt.job.outputs if (directory / "work").exists() else ()
    for output in wanted:
        if output.when == "success" and attempt.end.outcome is not Outcome.SUCCEEDED:
            continue
        try:
            saved = _saved(context, attempt, output)
        except OutputTooLarge as error:
            log.error("an output is not saved", extra={"event": "output-too-large", "reason": str(error)})
            fault = fault or str(error)
        else:
            artifacts += [] if saved is None else [saved]
    return Made(tuple(artifacts), fault)


def _saved(context: Context, attempt: Attempt, output: Output) -> Artifact | None:
    is_direct = output.path in attempt.cargo.direct
    if is_direct and _uploaded(context, attempt, output):
        return None
    return save(context, attempt, output.path, f"outputs/{output.path}", None if is_direct else output.uri)


def _uploaded(context: Context, attempt: Attempt, output: Output) -> bool:
    """Store a direct output; False when its place can never take it: the results store keeps it then."""
    try:
        upload(context, attempt, output)
    except (JobFault, InvalidInput) as error:
        fields = {"event": "upload-refused", "attempt": attempt.id, "uri": output.uri, "reason": str(error)}
        log.error("an output stays in the results store", extra=fields)
        return False
    return True
