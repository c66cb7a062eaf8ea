"""The steps of an attempt, one a file, in the order of the two tuples; undone in reverse.

`apply(context, attempt)` makes something below the attempt's directory or in the runtime and may raise JobFault (the
job can never work), HostFault (this host cannot do it) or Unavailable (later, perhaps). `undo(context, attempt_id)`
needs nothing but the id, does nothing where nothing is, and may be called any number of times.
"""

from __future__ import annotations

from agent.context import Context
from agent.steps import image, run, stage_in, workspace
from agent.steps.step import Step

STAGE_STEPS: tuple[Step, ...] = (workspace.STEP, image.STEP, stage_in.STEP)
RUN_STEPS: tuple[Step, ...] = (run.STEP,)


def undo_all(context: Context, attempt_id: str) -> None:
    """Undo every step of the attempt, last one first."""
    for step in reversed(STAGE_STEPS + RUN_STEPS):
        step.undo(context, attempt_id)
