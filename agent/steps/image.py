"""The image of an attempt, fetched and checked; `image` in the attempt's directory is a link to it."""

from __future__ import annotations

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import JobFault
from agent.steps.step import Step, nothing


def apply(context: Context, attempt: Attempt) -> None:
    """Fetch the image for the architecture that was matched; one that is kept from an earlier job moves nothing."""
    image = attempt.job.image_for(attempt.arch)
    if image is None:
        raise JobFault(f"the job has no image for {attempt.arch}")
    before = context.cache.made_here if context.cache else 0
    path = context.images.fetch(image, attempt.cargo)
    if context.cache:
        context.counters.came(attempt.id, context.cache.made_here - before)
    (context.directory(attempt.id) / "image").symlink_to(path)


STEP = Step("image", apply, nothing)
