"""Reports of one attempt to the senders of its queue: sealed, in their order, and never for long.

Senders that read slowly, or a server that is away, cost reports of lines, and no job its time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from agent.model.records import Outcome
from agent.ports import Clock, Watched
from agent.studioml import metadata, report
from agent.studioml.memory import Memory
from agent.studioml.objects import Troubles
from agent.studioml.report import Identity, Report
from agent.studioml.results import reason_of
from agent.studioml.senders import KnownSenders

MOST_WAITING = 64  # reports of lines; what comes beyond is left out
MOST_AT_ONCE = 5 * 1000**2  # bytes; a broker takes twice as much in one request
LONGEST_LINE = 64 * 1024  # characters of a line; the rest is left out
FLUSH_EVERY = 1.0  # seconds
_LONGEST = 3.0  # seconds that sending may take at once
_SHARE = 0.3  # of all time that sending may take


class Allowance:
    """Time to spend on something: some at once, and a share of all time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = _LONGEST
        self._since = clock.boottime()

    def is_left(self) -> bool:
        """Say whether some time is left."""
        now = self._clock.boottime()
        self._left = min(_LONGEST, self._left + (now - self._since) * _SHARE)
        self._since = now
        return self._left > 0

    @contextmanager
    def spent(self) -> Iterator[None]:
        """Spend the time that the block takes."""
        began = self._clock.boottime()
        try:
            yield
        finally:
            self._left -= self._clock.boottime() - began

    def use_up(self) -> None:
        """Leave a pause as long as what may be spent at once takes to come back."""
        self._left = min(self._left, -_LONGEST)


class Reporter:
    """The reports of one attempt. Each is sent once, also when the agent is restarted meanwhile. Nothing raises."""

    def __init__(
        self,
        senders: KnownSenders,
        seal: Callable[[bytes], str],
        queue: str,
        identity: Identity,
        memory: Memory,
        clock: Clock,
        troubles: Troubles,
    ) -> None:
        """queue: its name as clients say it."""
        self._senders = senders
        self._seal = seal
        self._queue = queue
        self._identity = identity
        self._memory = memory
        self._clock = clock
        self._troubles = troubles
        self._allowance = Allowance(clock)
        self._waiting: list[Report] = []
        self._flushed_at = float("-inf")
        self._seen = 0

    def started(self) -> None:
        """Report that the payload runs."""
        if self._memory.notes.started:
            return
        about, now = self._identity, self._clock.time()
        scanning = report.scanning(about.executor, now, self._queue)
        self._send([scanning, report.started(about, now), report.log(about, now, "Info", "start")])
        self._memory.note(started=True)

    def line(self, text: str) -> None:
        """Report a line that the payload printed; one with metadata is also progress."""
        if len(self._waiting) >= MOST_WAITING:
            self.flush()
        self._seen += 1
        if self._seen <= self._memory.notes.lines:
            return
        if len(self._waiting) < MOST_WAITING:
            self._waiting.extend(self._of_line(text))
        if self._clock.boottime() - self._flushed_at >= FLUSH_EVERY:
            self.flush()

    def _of_line(self, text: str) -> Iterator[Report]:
        about, now = self._identity, self._clock.time()
        yield report.log(about, now, "Info", text[:LONGEST_LINE])
        if metadata.directive(text) is not None:
            yield report.progress(about, now, text.strip())

    def flush(self) -> None:
        """Send what waits, if it may take time now."""
        if self._waiting and self._allowance.is_left():
            self._send(self._waiting)
            self._lines_are_told()

    def _lines_are_told(self) -> None:
        self._waiting = []
        self._flushed_at = self._clock.boottime()
        if self._seen > self._memory.notes.lines:
            self._memory.note(lines=self._seen)

    def ended(self, attempt: Watched, final: bool) -> None:
        """Report how the attempt ended; one that is given back has neither success nor failure."""
        if self._memory.notes.ended:
            return
        self._send([*self._waiting, *(self._last_words(attempt) if final else self._given_back(attempt))])
        self._lines_are_told()
        self._memory.note(ended=True)

    def _last_words(self, attempt: Watched) -> list[Report]:
        about, now = self._identity, self._clock.time()
        if attempt.outcome is Outcome.SUCCEEDED:
            fields = {"success": "True"}
            return [report.log(about, now, "Info", "stop", fields), report.success(about, now)]
        why = reason_of(attempt)
        fields = {"error": why, "success": "False"}
        return [
            report.log(about, now, "Info", "stop", fields),
            report.failed(about, now, why, attempt.exit_code),
        ]

    def _given_back(self, attempt: Watched) -> list[Report]:
        text = f"given back to its queue: {reason_of(attempt)}"
        return [report.log(self._identity, self._clock.time(), "Warning", text)]

    def not_run(self, why: str) -> None:
        """Report an experiment that is over without a run."""
        self._send([report.failed(self._identity, self._clock.time(), why, None)])

    def _send(self, reports: Sequence[Report]) -> None:
        sent = False
        with self._troubles.kept("reports"), self._allowance.spent():
            if self._senders.listening():
                for batch in _batches(self._seal(_encoded(each)).encode() for each in reports):
                    self._senders.tell(batch)
            sent = True
        if not sent:
            self._allowance.use_up()


def _encoded(each: Report) -> bytes:
    return json.dumps(each, ensure_ascii=False).encode()


def _batches(sealed: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield the reports in as few lists as may be sent at once; never an empty one."""
    batch: list[bytes] = []
    for each in sealed:
        if batch and sum(map(len, batch)) + len(each) > MOST_AT_ONCE:
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch
