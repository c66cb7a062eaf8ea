"""Queues that programs of others fill: this host's commands put nothing in, and nobody made a place for dead letters.

What is known of their jobs lies in the results store alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.errors import InvalidInput
from agent.model.records import Burial, Submission
from agent.ports import Clock, Delivery, Letter, Queued
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


class NotedLetterBox:
    """A LetterBox over what the results store notes: the messages themselves were not kept."""

    def __init__(self, queue: str, results: Results) -> None:
        self._queue = queue
        self._results = results

    def letters(self) -> Iterator[Letter]:
        """Yield what is noted and was not dropped since."""
        for sid in self._results.sids():
            noted = self._results.burial(sid)
            if noted is not None and noted.became is None:
                yield Letter(sid, self._queue, noted.reason, noted.host, noted.at, {}, None)

    def send(self, letter: Letter, sid: str) -> None:
        """Refuse it. Raises InvalidInput, always."""
        hint = "its sender submits it again"
        raise InvalidInput(f'dead letter {letter.sid} of queue "{self._queue}": its message was not kept', hint=hint)

    def remove(self, letter: Letter) -> None:
        """Leave it: the note says that it was dropped."""

    def close(self) -> None:
        """Nothing is held."""


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
