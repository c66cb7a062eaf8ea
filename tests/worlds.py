"""A whole agent over the fakes: one Context, the stores behind it, and what a test wants to do and to see.

    made = world(tmp_path)
    sid = made.submit("echo hello > out", outputs=[{"path": "out"}])
    made.run_one()
    assert made.commit(sid).outcome is Outcome.SUCCEEDED

`restart()` makes a new Context over the same stores, journal, runtime and state directory, as after a crash.
Everything is deterministic: the clock stands still until a test advances it, `random` is 0.5, tokens are counted.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from agent.admission import admit
from agent.attempt import Attempt
from agent.board import Board, Mode
from agent.claims import StoreQueue, enqueue, pending
from agent.context import Context, Queue
from agent.deadletters import StoreDeadLetters, find_dead_letter
from agent.errors import Unavailable
from agent.guard import guarded
from agent.leases import Leases
from agent.ledger import Ledger
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities, CpuFacts, HostFacts, MemoryFacts, RuntimeFacts
from agent.model.cargo import Cargo, Decoded
from agent.model.job import parse_job
from agent.model.records import AttemptRecord, Cancel, Commit
from agent.model.share import Share
from agent.outbox import Outbox
from agent.policy import BackOff
from agent.ports import ABSENT, Delivery, ImageFacts
from agent.recovery import recover
from agent.results import Results
from agent.studioml.reading import ANYWHERE
from agent.wire import decode
from agent.worker import follow, work

from tests.fakes import (
    FakeAccess,
    FakeArtifacts,
    FakeClock,
    FakeImages,
    FakeJournal,
    FakeObservers,
    FakeRecords,
    LocalRuntime,
)
from tests.waiting import wait_until

GIB = 1024**3
QUEUE = "lab"
LEASE = 120.0
LOOK_EVERY = 0.001  # real seconds: a pull that finds nothing must not take long
IMAGE = "mem://images/tiny.sif"
SHARE = Share(4.0, 8 * GIB, 100 * GIB)
BACK_OFF = BackOff(10.0, 600.0)
RANDOM = 0.5
TURN = 30.0  # seconds of the fake clock between two turns of `until_over`
TURNS = 60


def profile(host: str) -> Capabilities:
    """Return an amd64 host with 4 CPUs."""
    return Capabilities(
        host=HostFacts(id=host),
        cpu=CpuFacts(arch="amd64", online=4, effective=4.0),
        memory=MemoryFacts(total_bytes=8 * GIB, effective_bytes=8 * GIB),
        runtime=RuntimeFacts(name="local", version="1", archs=("amd64",)),
    )


def policy(**changes: Any) -> MatchPolicy:
    """Return a policy that allows everything in memory, and the secret TOKEN."""
    everything = ("mem://",)
    settings = {"secrets": frozenset({"TOKEN"}), "network_host": True, **changes}
    return MatchPolicy(image_prefixes=everything, input_prefixes=everything, output_prefixes=everything, **settings)


@dataclass
class Stores:
    """What agents share: the time, a store queue, its results store, artifacts."""

    clock: FakeClock = field(default_factory=FakeClock)
    artifacts: FakeArtifacts = field(default_factory=FakeArtifacts)
    tokens: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.records = FakeRecords(self.clock)
        self.result_records = FakeRecords(self.clock)

    @property
    def results(self) -> Results:
        """The results store as a submitter sees it: no fault of an agent's own connection is in the way."""
        return Results(self.result_records, "mem://results")

    def put_artifact(self, name: str, content: bytes) -> str:
        """Store an artifact, return its URI."""
        uri = f"mem://in/{name}"
        self.artifacts.write(uri, [content])
        return uri

    def read_artifact(self, uri: str) -> bytes:
        """Return the bytes of an artifact."""
        with self.artifacts.open(uri) as stream:
            return stream.read()


# Stands between the agent and one of its ports: (name of the part, the part) -> what the agent gets.
Wrap = Callable[[str, Any], Any]


def bare(name: str, part: Any) -> Any:
    """Wrap nothing."""
    return part


class World:
    """One agent. `wrap` is put around every port but the clock."""

    def __init__(
        self, folder: Path, stores: Stores, host: str, wrap: Wrap, allowed: MatchPolicy, share: Share, boot_id: str
    ) -> None:
        self.stores = stores
        self.clock = stores.clock
        self.host = host
        self.state_dir = folder / host
        self.state_dir.mkdir()
        self.runtime = LocalRuntime()
        self.journal = FakeJournal()
        self.allowed = allowed
        self.share = share
        self.boot_id = boot_id
        self.sids: list[str] = []
        self.cargo: dict[str, Cargo] = {}  # what goes with a job, by its sid, as if another wire form had brought it
        self.observers = FakeObservers()
        self.wrap = wrap
        self._images = FakeImages({IMAGE: (ImageFacts("amd64", 100), _runscript(folder / "tiny.sif"))})
        self.context = self.new_context()

    # --- the agent's life ---

    def restart(self, *, rebooted: bool = False, follow_up: bool = True) -> tuple[Attempt, ...]:
        """Make a new Context and recover, as the next agent does; follow what was found unless told otherwise."""
        if rebooted:
            self.boot_id += "+"
        self.context = self.new_context()
        found = recover(self.context)
        for attempt in found if follow_up else ():
            self.guard(attempt.sid, lambda attempt=attempt: follow(self.context, attempt))  # type: ignore[misc]
        return found

    def pull(self) -> Delivery | None:
        """Pull once."""
        return self.queue.source.pull(5 * LOOK_EVERY)

    def run_one(self) -> str | None:
        """Pull one job and carry it as a worker does; return its sid, or None when nothing was there."""
        delivery = self.pull()
        if delivery is None:
            return None
        self.guard(delivery.sid, self.task(delivery))
        return delivery.sid

    def start_one(self) -> threading.Thread:
        """Pull one job, and carry it in a thread."""
        delivery = self.pull()
        assert delivery is not None, "nothing is waiting"
        task = threading.Thread(target=guarded, args=(self.context, delivery.sid, self.task(delivery)), daemon=True)
        task.start()
        return task

    def task(self, delivery: Delivery) -> Callable[[], None]:
        """Return what a worker does with the delivery."""
        return lambda: work(self.context, self.queue, delivery)

    def guard(self, sid: str, task: Callable[[], None]) -> None:
        """Do a worker's task at the border that daemon workers have."""
        guarded(self.context, sid, task)

    def turn(self) -> None:
        """Do once what the daemon's loops do."""
        now = self.clock.boottime()
        self.context.leases.step(now)
        Outbox(self.context).step(now)
        try:
            self.run_one()
        except Unavailable:
            return  # the puller comes again

    def until_over(self) -> None:
        """Take turns, time passing between them, until no job waits and nothing is left to do."""
        for _ in range(TURNS):
            self.turn()
            if not self.waiting() and not self.context.board.live():
                return
            self.clock.advance(TURN)
        raise AssertionError(f"not over after {TURNS} turns: {self.waiting()}, {self.context.board.live()}")

    # --- the submitter ---

    def submit(self, script: str = "true", **keys: Any) -> str:
        """Queue a job that runs a shell script; return its submission id."""
        table = {"image": IMAGE, "command": ["sh", "-c", script], **keys}
        sid = f"job-{next(self.stores.numbers)}"
        job = parse_job({key: value for key, value in table.items() if value is not None})
        self.sids.append(sid)
        return enqueue(self.stores.records, self.results, job, sid, self.clock.time(), queue=QUEUE)

    def submit_raw(self, body: bytes) -> str:
        """Put any bytes into the queue."""
        sid = f"job-{next(self.stores.numbers)}"
        self.stores.records.put(f"pending/any-none/{sid}", body)
        self.sids.append(sid)
        return sid

    def cancel(self, sid: str) -> None:
        """Wish that the job ends; the next renewal of the leases sees it."""
        self.results.cancel(sid, Cancel(self.clock.time()))

    def overtake(self, sid: str, n: int, host: str = "rival", **keys: Any) -> None:
        """Let another agent claim attempt `n`, and end it when `outcome` says so."""
        rival = AttemptRecord(sid, n, host, "token-of-rival", self.clock.time(), **keys)
        assert self.results.claim(rival)

    def claimed(self) -> Attempt:
        """Return the attempt that comes of the next job in the queue."""
        delivery = self.pull()
        assert delivery is not None
        attempt = admit(self.context, self.queue, delivery)
        assert attempt is not None
        return attempt

    def renew(self) -> None:
        """Renew the leases, as their loop does."""
        self.context.leases.step(self.clock.boottime())

    # --- what there is to see ---

    @property
    def queue(self) -> Queue:
        """The queue as the agent has it."""
        return self.context.queues[QUEUE]

    @property
    def results(self) -> Results:
        """The results store."""
        return self.stores.results

    def attempts(self, sid: str) -> list[AttemptRecord]:
        """Return the attempt records, first to last."""
        return [record for record, _ in self.results.attempts(sid)]

    def commit(self, sid: str) -> Commit:
        """Return the one result."""
        commit = self.results.committed(sid)
        assert commit is not None, f"{sid} has no result: {self.attempts(sid)}"
        return commit

    def artifact(self, sid: str, name: str) -> bytes:
        """Return the bytes of a committed artifact such as "log" or "outputs/out"."""
        found = next(each for each in self.commit(sid).artifacts if each.name == name)
        return self.stores.read_artifact(self.results.uri_of(found))

    def artifact_names(self, sid: str) -> list[str]:
        """Return the names of the committed artifacts."""
        return [each.name for each in self.commit(sid).artifacts]

    def waiting(self) -> list[str]:
        """Return the jobs in the queue; a running one is among them."""
        return [each.sid for each in pending(self.stores.records)]

    def buried(self, sid: str) -> str | None:
        """Return the reason of the job's dead letter."""
        letter = find_dead_letter(self.stores.records, sid)
        return letter.reason if letter else None

    def refused(self, sid: str) -> list[str]:
        """Return what this host told about its refusal of the job."""
        told = [each for each in self.results.refusals(sid) if each.host == self.host]
        return [refusal.reason.value for each in told for refusal in each.refusals]

    def directory(self, sid: str, n: int = 1) -> Path:
        """Return the directory of an attempt."""
        return self.context.directory(f"{sid}.{n}")

    def wait_for_log(self, sid: str, word: str, n: int = 1) -> None:
        """Wait until the running job has printed `word`."""
        place = self.directory(sid, n) / "log"
        wait_until(lambda: place.exists() and word in place.read_text(), what=f"{word} in the log of {sid}")

    def tell(self, sid: str, name: str, n: int = 1) -> None:
        """Make a file in the directory of the running job."""
        (self.directory(sid, n) / "work" / name).touch()

    def leftovers(self) -> list[str]:
        """Return what is left of jobs on this host: nothing, once they are over."""
        root = self.state_dir / "attempts"
        attempts = [f"{sid}.{n}" for sid in self.sids for n in range(1, 10)]
        return [
            *(f"journal {key}" for key in self.journal.load()),
            *(f"directory {path.name}" for path in (root.iterdir() if root.is_dir() else ())),
            *(f"live {live.attempt.id}" for live in self.context.board.live()),
            *(f"lease {sid}" for sid in self.sids if self.context.leases.holds(sid)),
            *(f"container {each}" for each in attempts if self.runtime.status(each) != ABSENT),
            *([] if self.context.ledger.free() == self.share else [f"reserved of {self.context.ledger.free()}"]),
        ]

    # --- making ---

    def new_context(self) -> Context:
        """Return the Context of a new agent over the same stores, journal, runtime and state directory."""
        self.stopping = threading.Event()  # ends every wait for the queue
        board = Board()
        context = Context(
            host_id=self.host,
            boot_id=self.boot_id,
            state_dir=self.state_dir,
            clock=self.clock,
            queues={QUEUE: self._queue()},
            access=FakeAccess(self.wrap("artifacts", self.stores.artifacts)),
            decode=self._decode,
            observers=self.observers,
            images=self.wrap("images", self._images),
            runtime=self.wrap("runtime", self.runtime),
            journal=self.wrap("journal", self.journal),
            ledger=Ledger(self.share, lambda: self.share.disk),
            leases=Leases(LEASE / 3, lambda sid, why: _stop_job(board, sid, why)),
            board=board,
            policy=self.allowed,
            back_off=BACK_OFF,
            secret_value=lambda name: f"value of {name}",
            profile=lambda: profile(self.host),
            detaching=threading.Event(),
            random=lambda: RANDOM,
            token=lambda: f"token-{next(self.stores.tokens)}",
        )
        board.set_mode(Mode("ready"))
        return context

    def _decode(self, delivery: Delivery, attempt: int) -> Decoded:
        reading = msgspec.structs.replace(ANYWHERE, now=self.clock.time(), attempt=attempt)
        decoded = decode(delivery.body, delivery.attributes, delivery.submitted_at, reading)
        cargo = self.cargo.get(delivery.sid, decoded.cargo)
        return decoded._replace(cargo=cargo)

    def _queue(self) -> Queue:
        records = self.wrap("records", self.stores.records)
        results = Results(self.wrap("results", self.stores.result_records), "mem://results")
        source = StoreQueue(
            QUEUE,
            records,
            results,
            ("*",),
            host=self.host,
            lease=LEASE,
            look_every=LOOK_EVERY,
            clock=self.clock,
            stopping=self.stopping,
        )
        dead_letters = StoreDeadLetters(records, self.clock)
        return Queue(QUEUE, source, results, dead_letters, LEASE, overtaken=source.overtaken)

    def change(self, **parts: Any) -> None:
        """Give the agent other parts from now on, until it is restarted."""
        self.context = replace(self.context, **parts)

    def change_part(self, name: str, part: Any) -> None:
        """Give the agent another port, by the name that `wrap` gets."""
        self.change(**({"access": FakeAccess(part)} if name == "artifacts" else {name: part}))


def world(
    folder: Path,
    *,
    stores: Stores | None = None,
    host: str = "host-a",
    wrap: Wrap = bare,
    allowed: MatchPolicy | None = None,
    share: Share = SHARE,
) -> World:
    """Return an agent on new stores, or beside others on the same ones."""
    return World(folder, stores or Stores(), host, wrap, allowed or policy(), share, "boot-1")


def _stop_job(board: Board, sid: str, why: str) -> None:
    live = board.find(sid)
    if live is not None:
        board.ask_stop(live.attempt.id, why)


def _runscript(place: Path) -> Path:
    place.write_text("#!/bin/sh\necho the runscript\n")
    place.chmod(0o755)
    return place
