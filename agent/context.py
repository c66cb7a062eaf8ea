"""What a worker has in its hands: the ports and the shared state, made by wiring, the same for all jobs."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.attempt import JOURNALLED, Attempt, Ending, Event, to_journal
from agent.board import Board
from agent.leases import Leases
from agent.ledger import Ledger
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities
from agent.model.records import Outcome
from agent.policy import BackOff
from agent.ports import ArtifactStore, Clock, DeadLetters, Delivery, ImageFetcher, JobSource, Journal, Runtime
from agent.results import Results

# Waits up to so many seconds for a delivery, as JobSource.pull does.
Pull = Callable[[float], Delivery | None]


@dataclass(frozen=True)
class Queue:
    """One queue with its results store.

    lease: seconds without renewal after which an attempt record is void. pulls: the ways to get deliveries, each with
    a loop of its own; empty = the source's. pull_wait: seconds that one may block; None = as the agent is set.
    shares_delays: what this host puts off comes to no other host meanwhile.
    """

    name: str
    source: JobSource
    results: Results
    dead_letters: DeadLetters
    lease: float
    pulls: tuple[Pull, ...] = ()
    pull_wait: float | None = None
    shares_delays: bool = False


@dataclass(frozen=True)
class Context:
    """Everything the path of a job needs."""

    host_id: str
    boot_id: str
    state_dir: Path
    clock: Clock
    queues: Mapping[str, Queue]
    artifacts: ArtifactStore
    images: ImageFetcher
    runtime: Runtime
    journal: Journal
    ledger: Ledger
    leases: Leases
    board: Board
    policy: MatchPolicy
    back_off: BackOff
    secret_value: Callable[[str], str]
    profile: Callable[[], Capabilities]
    detaching: threading.Event
    log_limit: int = 256 * 1024**2
    random: Callable[[], float] = random.random
    token: Callable[[], str] = field(default=lambda: secrets.token_hex(8))

    def queue(self, attempt: Attempt) -> Queue:
        """Return the queue that the attempt's job came from."""
        return self.queues[attempt.queue]

    def directory(self, attempt_id: str) -> Path:
        """Return the one directory of an attempt; everything its steps make lies in it."""
        return self.state_dir / "attempts" / attempt_id

    def advance(self, attempt: Attempt, event: Event) -> Attempt:
        """Return the attempt after `event`, journalled where a crash must not forget it, and shown."""
        return self.note(attempt.on(event))

    def ended(self, attempt: Attempt, outcome: Outcome, reason: str) -> Attempt:
        """Return the attempt finished now by something else than its container's exit."""
        return attempt.ended(Ending(outcome, reason, None, attempt.started_at, self.clock.time()))

    def note(self, attempt: Attempt) -> Attempt:
        """Make the attempt's present state known: durably first, then on the board."""
        if attempt.state in JOURNALLED:
            self.journal.put(attempt.id, to_journal(attempt))
        elif attempt.state.is_end:
            self.journal.remove(attempt.id)
        self.board.show(attempt)
        return attempt
