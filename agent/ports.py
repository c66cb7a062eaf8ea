"""What the core needs from outside: small protocols, each with an adapter and a complete fake.

Every method may raise Unavailable (or the subclass named) when the part behind it does not answer, and nothing else.
Methods are called from several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol

import msgspec

from agent.model.capabilities import Capabilities
from agent.model.cargo import NOTHING, Access, Cargo
from agent.model.gpu_use import Sample
from agent.model.image import ImageFacts as ImageFacts
from agent.model.job import Image
from agent.model.live import Word
from agent.model.records import Burial as Burial
from agent.model.records import Outcome, Submission
from agent.model.run import ABSENT as ABSENT
from agent.model.run import LOST as LOST
from agent.model.run import NO_DEVICES as NO_DEVICES
from agent.model.run import RUNNING as RUNNING
from agent.model.run import ContainerRun as ContainerRun
from agent.model.run import Devices as Devices
from agent.model.run import Exit as Exit
from agent.model.run import RunStatus as RunStatus


class Clock(Protocol):
    """Time. Durations use `boottime`, which goes on during suspend and never jumps."""

    def boottime(self) -> float:
        """Return seconds since boot, suspend included."""

    def time(self) -> float:
        """Return seconds since the epoch, for people and records; it may jump and decides nothing."""


class Host(Protocol):
    """This machine, or a recorded one: everything that probes read. Absent is None or empty, never an error."""

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at the absolute `path`; None when it is absent or unreadable."""

    def list(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in the directory at the absolute `path`; empty when it is absent."""

    def query(self, name: str) -> Any:
        """Return a fact that is no file, by name (see probes.host.QUERIES); None when it cannot be known."""


# --- queues ---------------------------------------------------------------------------------------------------------


class Delivery(msgspec.Struct, frozen=True):
    """One message in the hands of this agent. handle is opaque to all but its source."""

    queue: str
    sid: str
    body: bytes
    attributes: Mapping[str, str]
    handle: str
    submitted_at: float


class Lease(msgspec.Struct, frozen=True):
    """A held delivery: its handle and, once claimed, the number and token of the attempt."""

    sid: str
    handle: str
    n: int | None = None
    token: str | None = None


class JobSource(Protocol):
    """One queue."""

    def pull(self, timeout: float) -> Delivery | None:
        """Return the next delivery, waiting up to `timeout` seconds; None when there was none."""

    def extend(self, leases: Sequence[Lease]) -> frozenset[str]:
        """Renew the leases; return the sids of those that are lost: another attempt took over."""

    def settle(self, lease: Lease) -> None:
        """Take the job off the queue for good. Nothing happens when that was done already."""

    def release(self, lease: Lease, delay: float) -> None:
        """Give the delivery back; this agent does not see it again for `delay` seconds."""


class Bell(Protocol):
    """Tells the agents of one queue at once that a job waits. A ring may get lost: it never is the only way."""

    def ring(self, lane: str) -> None:
        """Wake the agents that serve the lane. Raises BrokerUnavailable; the job waits in the queue all the same."""

    def on_ring(self, lanes: Sequence[str], listener: Callable[[], None]) -> None:
        """Call `listener`, which must not block, at each ring of one of the lanes, and whenever one may be lost.

        "*" is all lanes.
        """


class DeadLetters(Protocol):
    """Where messages go that nobody can run."""

    def bury(self, delivery: Delivery, reason: str, host: str) -> None:
        """Store the message with the reason, durably; the same message twice is one dead letter."""

    def find(self, sid: str) -> Burial | None:
        """Return why and when a message was buried, or None."""

    def sids(self) -> tuple[str, ...]:
        """Return the ids of what was buried here, as far as the results store does not list them."""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter: the message as it came, why nobody could run it, who found that out, and when.

    at: seconds since the epoch. body None: the message was not kept. handle is opaque to all but its box.
    """

    sid: str
    queue: str
    reason: str
    host: str
    at: float
    attributes: Mapping[str, str]
    body: bytes | None
    handle: str = ""


class LetterBox(Protocol):
    """The dead letters of one queue, as operators handle them."""

    def letters(self) -> Iterator[Letter]:
        """Yield all of them. A broker hands them to nobody else until they are removed or the box is closed."""

    def send(self, letter: Letter, sid: str) -> None:
        """Put the message on the queue again, durably, as submission `sid`; the letter stays.

        The same call again changes nothing. Raises InvalidInput for a message that was not kept, or has no lane.
        """

    def remove(self, letter: Letter) -> None:
        """Remove one of the letters for good; nothing happens when that was done already."""

    def close(self) -> None:
        """Let go of the letters that were not removed."""


class Queued(msgspec.Struct, frozen=True):
    """A job that can be seen in its queue; age in seconds since it was submitted, by the server's clock."""

    sid: str
    lane: str
    age: float


class Submitter(Protocol):
    """The submitters' end of one queue."""

    def submit(self, submission: Submission, body: bytes | None = None) -> None:
        """Record the job in the results store, then put it on the queue. The same call again completes a broken one.

        body: the message that the job travels in, None = as it is. Raises InvalidInput when nobody could ever take the
        job off the queue.
        """

    def waiting(self) -> Sequence[Queued]:
        """Return the jobs on the queue, oldest first; none where a queue does not show what is in it."""

    def body(self, sid: str) -> bytes | None:
        """Return the message of one of those jobs, or None."""

    def withdraw(self, sid: str) -> None:
        """Take one of those jobs off the queue; any other is closed by the host that gets it."""


class QueuePart(msgspec.Struct, frozen=True):
    """One thing that a queue consists of. state "differs": `problems` say how, and what to do."""

    kind: str
    name: str
    state: Literal["made", "there", "differs"]
    problems: tuple[str, ...] = ()


class QueueAdmin(Protocol):
    """Makes and tries what a queue consists of."""

    def init(self) -> Sequence[QueuePart]:
        """Make what is missing, change nothing that is there, and return every part."""

    def check(self) -> None:
        """Try the rights to pull and to publish. Raises Unavailable naming the missing right and the remedy."""


# --- stores ---------------------------------------------------------------------------------------------------------


class Stored(msgspec.Struct, frozen=True):
    """A record's body, and its age in seconds by the store's own clock."""

    body: bytes
    age: float


class Listing(msgspec.Struct, frozen=True):
    """The direct children of a prefix: record names with their age in seconds (the store's clock), and sub-prefixes."""

    records: Mapping[str, float]
    prefixes: tuple[str, ...]


class RecordStore(Protocol):
    """Small records under slash-separated keys, with one atomic promise: create. Raises StoreUnavailable."""

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        """Store the record, durably and as a whole; with `create` only if there is none: False when there is one."""

    def get(self, key: str) -> Stored | None:
        """Return the record, or None."""

    def list(self, prefix: str) -> Listing:
        """Return what lies directly below `prefix` ("a/b/", or "" for the root); empty when nothing does."""

    def delete(self, key: str) -> None:
        """Remove the record; nothing happens when there is none."""


class Clearing(Protocol):
    """Retention in one results store: the same tree holds its records and its artifacts. Raises StoreUnavailable."""

    def clear(self, prefix: str) -> None:
        """Remove all that lies below `prefix` ("a/b/"), whoever put it there; nothing happens when nothing does.

        ValueError for the root.
        """


class ArtifactInfo(msgspec.Struct, frozen=True):
    """Size in bytes of an artifact. version: other content has another one; None where a store cannot tell."""

    size: int
    version: str | None = None


class ArtifactStore(Protocol):
    """Bytes under URIs of one scheme. Raises StoreUnavailable; ArtifactMissing from open and copy."""

    def stat(self, uri: str) -> ArtifactInfo | None:
        """Return what is known of the artifact, or None when there is none."""

    def open(self, uri: str) -> BinaryIO:
        """Return a stream of the artifact's bytes; the caller closes it."""

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        """Store the artifact as a whole: it appears complete, durably, or not at all. Replaces what was there."""

    def copy(self, source: str, target: str) -> None:
        """Copy within the store, without moving the bytes through this host where the store can."""


# --- running --------------------------------------------------------------------------------------------------------


class ArtifactAccess(Protocol):
    """Artifact stores by the rights that somebody has on them."""

    def by(self, access: Access | None) -> ArtifactStore:
        """Return the stores of all schemes as they are seen with these rights; None = with the agent's own."""


class Runtime(Protocol):
    """Runs containers that outlive the agent. Raises RuntimeUnavailable."""

    def start(self, run: ContainerRun) -> None:
        """Start the container; nothing happens when this attempt was started before."""

    def status(self, attempt_id: str, timeout: float = 0.0) -> RunStatus:
        """Return where the attempt is, waiting up to `timeout` seconds for its end."""

    def stop(self, attempt_id: str, why: str, grace: float) -> None:
        """Ask for the end of the whole process tree: TERM, then KILL after `grace` seconds. Returns at once."""

    def remove(self, attempt_id: str) -> None:
        """End and forget everything of the attempt: no process, cgroup or mount is left. Idempotent."""


class Gpus(Protocol):
    """The GPUs of this host, as jobs get them."""

    def grant(self, units: Sequence[str]) -> Devices:
        """Return what a job gets that was granted these units (UUIDs), nothing for none. Raises HostFault."""


class GpuSamples(Protocol):
    """How the GPUs of this host are used, sampled every few seconds as long as somebody reads."""

    def read(self, units: Sequence[str]) -> Sequence[Sample]:
        """Return the samples of these units (UUIDs) since the last call, without waiting; the first call begins.

        Raises Unavailable when there will be none any more; the next call begins anew.
        """

    def owner(self, pid: int) -> str | None:
        """Return the id of the attempt that a process belongs to, None for a process of nobody here."""

    def end(self) -> None:
        """Sample no more; nothing happens when nobody reads."""


class ImageFetcher(Protocol):
    """Images of the schemes it knows. Raises StoreUnavailable, ArtifactMissing, ArtifactMismatch."""

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        """Return what the image's header says, reading no more than that; None when there is no such image.

        `cargo` goes with the job: it may have rights on the image.
        """

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        """Return the path of the whole image on this host, its digest checked when the job pins one."""


class Watched(msgspec.Struct, frozen=True):
    """An attempt as an observer sees it. host: of this agent; directory: the attempt's files on this host.

    outcome and the rest stay None while it runs; reason is a sentence for people.
    """

    id: str
    sid: str
    n: int
    queue: str
    host: str
    cargo: Cargo
    directory: Path
    started_at: float | None = None
    ended_at: float | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    reason: str | None = None


class Observer(Protocol):
    """Who is told of one attempt while it runs and when it ends, in the way of the form that its job came in.

    Only `finished` may raise Unavailable: it is called again then. All others keep their troubles to themselves. They
    are called one after the other, also for an attempt that an earlier life of the agent started.
    """

    checkpoint_every: float | None
    """Seconds between two checkpoints; None = no checkpoints."""

    def started(self, attempt: Watched) -> None:
        """Learn that the payload runs."""

    def line(self, text: str) -> None:
        """Learn of one line that the payload printed, its end cut off; after a restart, of all of them again."""

    def checkpoint(self, attempt: Watched) -> None:
        """Learn that the running attempt's files are being saved."""

    def wish(self) -> str | None:
        """Return why the attempt shall end ("cancelled"), or None. Asked every ten seconds, and before the launch."""

    def finished(self, attempt: Watched, final: bool) -> None:
        """Learn how the attempt ended, its files saved; final: its end is the job's. May be told again."""


class Observers(Protocol):
    """Makes the observers of attempts."""

    def of(self, attempt: Watched) -> Observer | None:
        """Return who observes the attempt, None = nobody."""

    def not_run(self, delivery: Delivery, cargo: Cargo | None, reason: str) -> None:
        """Learn of a message that is taken off its queue without a run; cargo None = it could not be read."""


class Senders(Protocol):
    """Those who put jobs on one queue, where they can be reached."""

    def gone(self) -> bool:
        """Say whether they have deleted their queue, as one look shows it."""

    def listening(self) -> bool:
        """Say whether they read reports."""

    def tell(self, reports: Sequence[bytes]) -> None:
        """Send them reports; stored when this returns. A call that cannot be made ends within a few seconds."""


# --- memory and telling ---------------------------------------------------------------------------------------------


class Journal(Protocol):
    """What the agent must remember over its own death. Durable when a call returns. Raises HostFault."""

    def put(self, key: str, body: bytes) -> None:
        """Remember `body` under `key`, replacing what was there."""

    def remove(self, key: str) -> None:
        """Forget `key`; nothing happens when it is unknown."""

    def load(self) -> Mapping[str, bytes]:
        """Return everything remembered, oldest key first."""


class Reserve(Protocol):
    """Disk that is kept for the agent itself, on the disk of its state directory. No method raises."""

    def free(self) -> int:
        """Return the bytes that others may still write to this disk."""

    def keep(self, spare: int) -> bool:
        """Take back what was given up, as long as `spare` bytes stay free besides; True when all of it is here."""

    def give(self, least: int = 0) -> bool:
        """Give up a part when there is no room on this disk without it, and more than `least` bytes are kept.

        False when that is no help.
        """


class LogSink(Protocol):
    """Tells those who follow a job from elsewhere what it prints. A word may get lost: it never is the only way."""

    def tell(self, sid: str, word: Word) -> bool:
        """Tell a word now or never; False when there was nobody to pass it on. Never blocks, never raises."""


class LogFeed(Protocol):
    """What hosts tell of one job. Words may be missing, come twice, or come not at all; no method raises."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a word; say whether there is one."""

    def take(self) -> tuple[Word, ...]:
        """Return the words that came since the last call, in the order in which they came."""

    def problem(self) -> str | None:
        """Return why nothing can be heard now, as a sentence; None as far as anybody knows."""

    def close(self) -> None:
        """Listen no more."""


class Advertiser(Protocol):
    """Tells others about this host."""

    def capabilities(self, profile: Capabilities, digest: str) -> None:
        """Announce what the host is."""

    def state(self, state: Mapping[str, Any]) -> None:
        """Announce what the host is doing: {state, reason, by, lanes, free, jobs, version}."""


class Advert(msgspec.Struct, frozen=True):
    """One advert as it is kept for the host: JSON, and its age in seconds, None = unknown."""

    host: str
    kind: Literal["capabilities", "state"]
    body: bytes
    age: float | None


class AdvertSource(Protocol):
    """What hosts tell about themselves."""

    def adverts(self, wait: float) -> tuple[Advert, ...]:
        """Return what is kept of all hosts and what they tell within `wait` seconds, in order of arrival.

        Raises BrokerUnavailable.
        """
