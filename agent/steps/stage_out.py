"""What a job made, saved below its attempt."""

from __future__ import annotations

from collections.abc import Iterator

from agent.attempt import Attempt
from agent.context import Context
from agent.model.records import Artifact, Outcome
from agent.saving import save, store
from agent.transfer.stream import chunks


def stage_out(context: Context, attempt: Attempt) -> Iterator[Artifact]:
    """Save the log and the outputs that the end of the attempt calls for; yield what was there."""
    directory = context.directory(attempt.id)
    if (directory / "log").exists():
        with (directory / "log").open("rb") as stream:
            yield store(context, attempt, "log", chunks(stream))
    if not (directory / "work").exists():
        return
    for output in attempt.job.outputs:
        if output.when == "always" or attempt.end.outcome is Outcome.SUCCEEDED:
            saved = save(context, attempt, output.path, f"outputs/{output.path}", output.uri)
            if saved is not None:
                yield saved
