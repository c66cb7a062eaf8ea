"""What a job made, saved below its attempt."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import InvalidInput, JobFault
from agent.model.job import Output
from agent.model.records import Artifact, Outcome
from agent.saving import save, store, upload
from agent.transfer.stream import chunks

log = logging.getLogger(__name__)


def stage_out(context: Context, attempt: Attempt) -> Iterator[Artifact]:
    """Save the log and the outputs that the end of the attempt calls for; yield what was there."""
    directory = context.directory(attempt.id)
    if (directory / "log").exists():
        with (directory / "log").open("rb") as stream:
            yield store(context, attempt, "log", chunks(stream))
    if not (directory / "work").exists():
        return
    for output in attempt.job.outputs:
        if output.when == "success" and attempt.end.outcome is not Outcome.SUCCEEDED:
            continue
        if output.path not in attempt.cargo.direct or not _uploaded(context, attempt, output):
            uri = None if output.path in attempt.cargo.direct else output.uri
            saved = save(context, attempt, output.path, f"outputs/{output.path}", uri)
            if saved is not None:
                yield saved


def _uploaded(context: Context, attempt: Attempt, output: Output) -> bool:
    """Store a direct output; False when its place can never take it: the results store keeps it then."""
    try:
        upload(context, attempt, output)
    except (JobFault, InvalidInput) as error:
        fields = {"event": "upload-refused", "attempt": attempt.id, "uri": output.uri, "reason": str(error)}
        log.error("an output stays in the results store", extra=fields)
        return False
    return True
