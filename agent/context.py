"""What a worker has in its hands: the ports and the shared state, made by wiring, the same for all jobs."""

from __future__ import annotations

import random
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from agent.attempt import JOURNALLED, Attempt, Ending, Event, to_journal
from agent.board import Board
from agent.cache import Cache
from agent.gpu_sampling import GpuUses
from agent.leases import Leases
from agent.ledger import Ledger
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities
from agent.model.cargo import Decoded
from agent.model.records import Outcome
from agent.policy import BackOff
from agent.ports import (
    ArtifactAccess,
    ArtifactStore,
    Clock,
    DeadLetters,
    Delivery,
    Gpus,
    ImageFetcher,
    JobSource,
    Journal,
    Observers,
    Runtime,
    Senders,
    Watched,
)
from agent.results import Results
from agent.spare import Spare
from agent.streaming import Streams
from agent.transfer.counters import Counters

# Waits up to so many seconds for a delivery, as JobSource.pull does.
Pull = Callable[[float], Delivery | None]


@dataclass(frozen=True)
class Queue:
    """One queue with its results store.

    lease: seconds without renewal after which an attempt record is void. pulls: the ways to get deliveries by lane,
    each with a loop of its own; empty = the source's, for all lanes. pull_wait: seconds that one may block; None = as
    the agent is set. shares_delays: what this host puts off comes to no other host meanwhile. keeps_dead: messages
    that nobody can read become dead letters; else they are dropped, as the clients of such a queue expect. senders:
    those who put jobs on it, where they can be reached; sender_name: what they call the queue, empty where they call
    it `name`. overtaken: whether a job waits on it that is more urgent than this one; None where nobody can see that.
    """

    name: str
    source: JobSource
    results: Results
    dead_letters: DeadLetters
    lease: float
    pulls: Mapping[str, Pull] = field(default_factory=dict)
    pull_wait: float | None = None
    shares_delays: bool = False
    keeps_dead: bool = True
    senders: Senders | None = None
    sender_name: str = ""
    overtaken: Callable[[str], bool] | None = None


class Queues(Mapping[str, Queue]):
    """All queues by name: the configured ones, and any "PROJECT:SUBSCRIPTION" of a project whose queues are found.

    The latter come and go, and are not counted here. Each is made whenever it is asked for: what was begun on a queue
    is brought to its end, also when an agent was restarted or the queue deleted meanwhile.
    """

    def __init__(
        self, configured: Mapping[str, Queue], projects: Mapping[str, Callable[[str], Queue]] | None = None
    ) -> None:
        """projects: by name, what makes a queue of a subscription's name."""
        self._configured = dict(configured)
        self._projects = dict(projects or {})

    def __getitem__(self, name: str) -> Queue:
        if name in self._configured:
            return self._configured[name]
        project, _, subscription = name.partition(":")
        if not subscription:
            raise KeyError(name)
        return self._projects[project](subscription)

    def __contains__(self, name: object) -> bool:
        if name in self._configured:
            return True
        project, _, subscription = str(name).partition(":")
        return project in self._projects and subscription != ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._configured)

    def __len__(self) -> int:
        return len(self._configured)


@dataclass(frozen=True)
class Context:
    """Everything the path of a job needs.

    decode: a delivery and the number of the attempt that it is read for into a job; raises JobError, HostFault.
    gpus: None where no job is granted one. streams: who tells what jobs print; None where nobody is told.
    """

    host_id: str
    boot_id: str
    state_dir: Path
    clock: Clock
    queues: Mapping[str, Queue]
    access: ArtifactAccess
    decode: Callable[[Delivery, int], Decoded]
    observers: Observers
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
    cache: Cache | None = None
    gpus: Gpus | None = None
    spare: Spare = field(default_factory=Spare)
    streams: Streams | None = None
    counters: Counters = field(default_factory=Counters)
    gpu_uses: GpuUses = field(default_factory=GpuUses)
    log_limit: int = 256 * 1024**2
    random: Callable[[], float] = random.random
    token: Callable[[], str] = field(default=lambda: secrets.token_hex(8))

    @property
    def artifacts(self) -> ArtifactStore:
        """All artifact stores, with the agent's own rights."""
        return self.access.by(None)

    def watched(self, attempt: Attempt) -> Watched:
        """Return the attempt as its observer sees it."""
        ending = attempt.ending
        return Watched(
            id=attempt.id,
            sid=attempt.sid,
            n=attempt.n,
            queue=attempt.queue,
            host=attempt.host,
            cargo=attempt.cargo,
            directory=self.directory(attempt.id),
            started_at=attempt.started_at,
            ended_at=ending.ended_at if ending else None,
            outcome=ending.outcome if ending else None,
            exit_code=ending.exit_code if ending else None,
            reason=ending.reason if ending else None,
        )

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

    def counted(self, attempt: Attempt) -> Attempt:
        """Return the attempt with the bytes that were moved for it since the last time."""
        return msgspec.structs.replace(attempt, moved=attempt.moved + self.counters.take(attempt.id))

    def note(self, attempt: Attempt) -> Attempt:
        """Make the attempt's present state known: durably first, then on the board."""
        attempt = self.counted(attempt)
        if attempt.state in JOURNALLED:
            self.journal.put(attempt.id, to_journal(attempt))
        elif attempt.state.is_end:
            self.journal.remove(attempt.id)
            self.counters.forget(attempt.id)
        self.board.show(attempt)
        return attempt
