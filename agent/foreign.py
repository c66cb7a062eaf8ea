"""Queues that programs of others fill: this host's commands put nothing in, and nobody made a place for dead letters.

What is known of their jobs lies in the results store alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.errors import InvalidInput
from agent.model.records import Burial, Submission
from agent.ports import Clock, Delivery, Queued
from agent.results import Results


class NoSubmitter:
    """A Submitter for all queues of a project together: a job is submitted to one of them."""

    def __init__(self, queue: str, url: str, example: str) -> None:
        """example: the URL of one of its queues."""
        self._queue = queue
        self._url = url
        self._example = example

    def submit(self, submission: Submission, body: bytes | None = None) -> None:
        """Refuse the job. Raises InvalidInput, always."""
        hint = f'add [[queues]] with url = "{self._example}" and submit to that one'
        raise InvalidInput(f'queue "{self._queue}" ({self._url}) stands for all queues of a project', hint=hint)

    def waiting(self) -> Sequence[Queued]:
        """Return nothing: such queues do not show what is in them."""
        return ()

    def body(self, sid: str) -> bytes | None:
        """Return nothing; see `waiting`."""
        return None

    def withdraw(self, sid: str) -> None:
        """Leave the message to the host that gets it: it finds the commit and acknowledges."""


class NotedDeadLetters:
    """A DeadLetters port where no place is made for dead letters: the results store notes them."""

    def __init__(self, results: Results, clock: Clock) -> None:
        self._results = results
        self._clock = clock

    def bury(self, delivery: Delivery, reason: str, host: str) -> None:
        """Note why the message cannot be run."""
        self._results.bury(delivery.sid, Burial(reason, host, self._clock.time()))

    def find(self, sid: str) -> Burial | None:
        """Return why and when a message was buried, or None."""
        return self._results.burial(sid)

    def sids(self) -> tuple[str, ...]:
        """Return nothing: the results store lists them all."""
        return ()
