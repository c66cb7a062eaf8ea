"""The image of an attempt, fetched and checked; `image` in the attempt's directory is a link to it."""

from __future__ import annotations

from agent.attempt import Attempt
from agent.context import Context
from agent.errors import JobFault
from agent.steps.step import Step, nothing


def apply(context: Context, attempt: Attempt) -> None:
    """Fetch the image for the architecture that was matched."""
    image = attempt.job.image_for(attempt.arch)
    if image is None:
        raise JobFault(f"the job has no image for {attempt.arch}")
    (context.directory(attempt.id) / "image").symlink_to(context.images.fetch(image, attempt.cargo))


STEP = Step("image", apply, nothing)
