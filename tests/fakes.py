"""One complete fake per port: in memory, thread-safe, with the same promises as the real part.

tests/contract runs the same tests over a fake and over what it stands for. The runtime is in tests/local_runtime.py.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from agent.adapters.keys import key_parts, prefix_parts
from agent.errors import (
    ArtifactMismatch,
    ArtifactMissing,
    BrokerUnavailable,
    HostFault,
    InvalidInput,
    JobFault,
    StoreUnavailable,
    Unavailable,
)
from agent.model.capabilities import Capabilities
from agent.model.cargo import NOTHING, Access, Cargo
from agent.model.gpu_use import Sample
from agent.model.job import Image
from agent.model.live import Word
from agent.ports import (
    Advert,
    ArtifactInfo,
    ArtifactStore,
    Burial,
    Delivery,
    Devices,
    ImageFacts,
    Lease,
    Listing,
    Stored,
    Watched,
)

from tests.local_runtime import LocalRuntime

START_OF_BOOT = 1000.0
START_OF_TIME = 1_800_000_000.0


__all__ = [
    "START_OF_BOOT",
    "START_OF_TIME",
    "FakeAccess",
    "FakeAdvertSource",
    "FakeAdvertiser",
    "FakeArtifacts",
    "FakeBell",
    "FakeClock",
    "FakeDeadLetters",
    "FakeGpuSamples",
    "FakeGpus",
    "FakeImages",
    "FakeJournal",
    "FakeObserver",
    "FakeObservers",
    "FakeQueue",
    "FakeRecords",
    "FakeSenders",
    "LocalRuntime",
]


class FakeClock:
    """A clock that stands still until it is advanced."""

    def __init__(self, boottime: float = START_OF_BOOT, wall: float = START_OF_TIME) -> None:
        self._boottime = boottime
        self._wall = wall
        self._listeners: list[Callable[[], None]] = []
        self._moved = threading.Condition()

    def boottime(self) -> float:
        with self._moved:
            return self._boottime

    def time(self) -> float:
        with self._moved:
            return self._wall

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and wake up who waits."""
        with self._moved:
            self._boottime += seconds
            self._wall += seconds
            self._moved.notify_all()
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    def set(self, wall: float) -> None:
        """Set the wall clock, as NTP or a person does: the time since boot does not jump."""
        with self._moved:
            self._wall = wall

    def on_advance(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every advance."""
        with self._moved:
            self._listeners.append(listener)

    def wait_for(self, boottime: float, timeout: float) -> bool:
        """Wait up to `timeout` real seconds until the clock has reached `boottime`; say whether it has."""
        with self._moved:
            return self._moved.wait_for(lambda: self._boottime >= boottime, timeout)


class FakeRecords:
    """A RecordStore whose ages count by the fake clock. While `down` is set, it does not answer."""

    def __init__(self, clock: FakeClock) -> None:
        self.down = False
        self._clock = clock
        self._lock = threading.Lock()
        self._records: dict[str, tuple[bytes, float]] = {}

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        key_parts(key)
        self._check()
        with self._lock:
            if create and key in self._records:
                return False
            self._records[key] = (bytes(body), self._clock.boottime())
            return True

    def get(self, key: str) -> Stored | None:
        key_parts(key)
        self._check()
        with self._lock:
            found = self._records.get(key)
        return None if found is None else Stored(found[0], self._clock.boottime() - found[1])

    def list(self, prefix: str) -> Listing:
        prefix_parts(prefix)
        self._check()
        with self._lock:
            below = {key[len(prefix) :]: at for key, (_, at) in self._records.items() if key.startswith(prefix)}
        now = self._clock.boottime()
        records = {name: now - at for name, at in sorted(below.items()) if "/" not in name}
        return Listing(records, tuple(sorted({name.split("/")[0] for name in below if "/" in name})))

    def delete(self, key: str) -> None:
        key_parts(key)
        self._check()
        with self._lock:
            self._records.pop(key, None)

    def clear(self, prefix: str) -> None:
        if not prefix_parts(prefix):
            raise ValueError("a whole store is never cleared")
        self._check()
        with self._lock:
            self._records = {key: kept for key, kept in self._records.items() if not key.startswith(prefix)}

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("memory: the record store is down; set down = False")


class FakeArtifacts:
    """An ArtifactStore for mem:// URIs. While `down` is set, it does not answer."""

    def __init__(self) -> None:
        self.down = False
        self._lock = threading.Lock()
        self._artifacts: dict[str, bytes] = {}

    def stat(self, uri: str) -> ArtifactInfo | None:
        found = self._find(uri)
        return None if found is None else ArtifactInfo(len(found))

    def open(self, uri: str) -> BinaryIO:
        found = self._find(uri)
        if found is None:
            raise ArtifactMissing(f"{uri}: there is no such artifact")
        return io.BytesIO(found)

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        self._check(uri)
        content = b"".join(chunks)
        self._check(uri)
        with self._lock:
            self._artifacts[uri] = content

    def copy(self, source: str, target: str) -> None:
        with self.open(source) as stream:
            self.write(target, [stream.read()])

    @property
    def uris(self) -> tuple[str, ...]:
        """What is stored, sorted."""
        with self._lock:
            return tuple(sorted(self._artifacts))

    def _find(self, uri: str) -> bytes | None:
        self._check(uri)
        with self._lock:
            return self._artifacts.get(uri)

    def _check(self, uri: str) -> None:
        if not uri.startswith("mem://"):
            raise InvalidInput(f'"{uri}" is not in memory', hint="such as mem://store/name")
        if self.down:
            raise StoreUnavailable("memory: the artifact store is down; set down = False")


class FakeAccess:
    """The artifacts of one store, whoever asks; what lies below a key of `private` only for those rights."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.private: dict[str, Access] = {}

    def by(self, access: Access | None) -> ArtifactStore:
        return _Guarded(self._store, access, self.private)


class _Guarded:
    """A store as one sees it who has these rights."""

    def __init__(self, store: ArtifactStore, access: Access | None, private: Mapping[str, Access]) -> None:
        self._store = store
        self._access = access
        self._private = private

    def stat(self, uri: str) -> ArtifactInfo | None:
        return self._store.stat(self._checked(uri))

    def open(self, uri: str) -> BinaryIO:
        return self._store.open(self._checked(uri))

    def write(self, uri: str, chunks: Iterable[bytes]) -> None:
        self._store.write(self._checked(uri), chunks)

    def copy(self, source: str, target: str) -> None:
        self._store.copy(self._checked(source), self._checked(target))

    def _checked(self, uri: str) -> str:
        if any(uri.startswith(prefix) and self._access != owner for prefix, owner in self._private.items()):
            raise JobFault(f"{uri}: access denied")
        return uri


class FakeObserver:
    """Keeps what it was told: ("started", id), ("line", text), ("checkpoint", id), ("finished", id, final)."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told
        self.checkpoint_every: float | None = None
        self.wants: str | None = None
        self.down = False

    def started(self, attempt: Watched) -> None:
        self.told.append(("started", attempt.id))

    def line(self, text: str) -> None:
        self.told.append(("line", text))

    def checkpoint(self, attempt: Watched) -> None:
        self.told.append(("checkpoint", attempt.id))

    def wish(self) -> str | None:
        return self.wants

    def finished(self, attempt: Watched, final: bool) -> None:
        if self.down:
            raise StoreUnavailable("memory: the observer's server is down; set down = False")
        self.told.append(("finished", attempt.id, final))


class FakeObservers:
    """Observes the attempts whose cargo has the form "observed", all by one observer."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.observer = FakeObserver(self.told)

    def of(self, attempt: Watched) -> FakeObserver | None:
        return self.observer if attempt.cargo.form == "observed" else None

    def not_run(self, delivery: Delivery, cargo: Cargo | None, reason: str) -> None:
        self.told.append(("not run", delivery.sid, reason))


class _Message(msgspec.Struct):
    """A queued message; handle is of its last delivery, visible_at when it may be delivered again."""

    body: bytes
    attributes: Mapping[str, str]
    added_at: float
    submitted_at: float
    visible_at: float
    handle: str = ""


class FakeQueue:
    """A queue for any number of agents: a delivery not extended within `lease` seconds comes again."""

    def __init__(self, clock: FakeClock, name: str = "fake", lease: float = 120.0) -> None:
        self.down = False
        self._clock = clock
        self._name = name
        self._lease = lease
        self._messages: dict[str, _Message] = {}
        self._deliveries = 0
        self._changed = threading.Condition()
        clock.on_advance(self._wake)

    def add(self, sid: str, body: bytes, attributes: Mapping[str, str] | None = None) -> None:
        """Put a message on the queue; the same sid twice is one message."""
        now = self._clock.boottime()
        message = _Message(body, dict(attributes or {}), now, self._clock.time(), now)
        with self._changed:
            self._messages.setdefault(sid, message)
            self._changed.notify_all()

    @property
    def sids(self) -> tuple[str, ...]:
        """What is not settled, oldest first."""
        with self._changed:
            return tuple(self._messages)

    def pull(self, timeout: float) -> Delivery | None:
        self._check()
        with self._changed:
            self._changed.wait_for(lambda: self._visible() is not None, timeout)
            sid = self._visible()
            return None if sid is None else self._deliver(sid)

    def extend(self, leases: Sequence[Lease]) -> frozenset[str]:
        self._check()
        lost = set()
        with self._changed:
            for lease in leases:
                message = self._messages.get(lease.sid)
                if message is None or message.handle != lease.handle:
                    lost.add(lease.sid)
                else:
                    message.visible_at = self._clock.boottime() + self._lease
        return frozenset(lost)

    def settle(self, lease: Lease) -> None:
        self._check()
        with self._changed:
            self._messages.pop(lease.sid, None)

    def release(self, lease: Lease, delay: float) -> None:
        self._check()
        with self._changed:
            message = self._messages.get(lease.sid)
            if message is not None and message.handle == lease.handle:
                message.visible_at = self._clock.boottime() + delay
                self._changed.notify_all()

    def _visible(self) -> str | None:
        now = self._clock.boottime()
        return next((sid for sid, message in self._messages.items() if message.visible_at <= now), None)

    def _deliver(self, sid: str) -> Delivery:
        self._deliveries += 1
        message = self._messages[sid]
        message.handle = f"{sid}#{self._deliveries}"
        message.visible_at = self._clock.boottime() + self._lease
        return Delivery(self._name, sid, message.body, message.attributes, message.handle, message.submitted_at)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _check(self) -> None:
        if self.down:
            raise StoreUnavailable("memory: the queue is down; set down = False")


class FakeDeadLetters:
    """Dead letters as a mapping from sid to (delivery, reason, host)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._letters: dict[str, tuple[Delivery, str, str]] = {}

    def bury(self, delivery: Delivery, reason: str, host: str) -> None:
        with self._lock:
            self._letters.setdefault(delivery.sid, (delivery, reason, host))

    def find(self, sid: str) -> Burial | None:
        with self._lock:
            found = self._letters.get(sid)
        return None if found is None else Burial(found[1], found[2], START_OF_TIME)

    def sids(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._letters)

    @property
    def letters(self) -> Mapping[str, tuple[Delivery, str, str]]:
        """What was buried, first to last."""
        with self._lock:
            return dict(self._letters)


class FakeReserve:
    """A reserve of 16 parts on a disk of `room` bytes for others and itself, of which others have written `used`."""

    def __init__(self, size: int, room: int) -> None:
        self.size = size
        self.kept = 0
        self.room = room
        self.used = 0

    def free(self) -> int:
        return max(0, self.room - self.used - self.kept)

    def keep(self, spare: int) -> bool:
        if self.kept < self.size and self.free() >= self.size - self.kept + spare:
            self.kept = self.size
        return self.kept == self.size

    def give(self, least: int = 0) -> bool:
        part = self.size // 16
        if self.kept <= least or self.free() >= part:
            return False
        self.kept -= part
        return True


class FakeJournal:
    """A journal in memory: hand the same object to the next agent. While `down` is set, it fails."""

    def __init__(self) -> None:
        self.down = False
        self._lock = threading.Lock()
        self._entries: dict[str, bytes] = {}

    def put(self, key: str, body: bytes) -> None:
        self._check()
        with self._lock:
            self._entries[key] = bytes(body)

    def remove(self, key: str) -> None:
        self._check()
        with self._lock:
            self._entries.pop(key, None)

    def load(self) -> Mapping[str, bytes]:
        self._check()
        with self._lock:
            return dict(self._entries)

    def _check(self) -> None:
        if self.down:
            raise HostFault("memory: the journal is down; set down = False")


class FakeGpus:
    """The GPUs of a host on which each unit has one node, of its name."""

    def grant(self, units: Sequence[str]) -> Devices:
        """See ports.Gpus."""
        variables = {"CUDA_VISIBLE_DEVICES": ",".join(units)} if units else {}
        return Devices(tuple(f"/dev/{unit}" for unit in units), (), variables)


class FakeGpuSamples:
    """The samples that a test puts in; `wanted` is what they are read for, None while nobody reads."""

    def __init__(self) -> None:
        self.wanted: tuple[str, ...] | None = None
        self.owners: dict[int, str] = {}
        self.coming: list[Sample] = []
        self.problem: str | None = None

    def read(self, units: Sequence[str]) -> Sequence[Sample]:
        """See ports.GpuSamples."""
        if self.problem is not None:
            self.wanted = None
            raise Unavailable(self.problem)
        self.wanted = tuple(units)
        come, self.coming = self.coming, []
        return come

    def owner(self, pid: int) -> str | None:
        """See ports.GpuSamples."""
        return self.owners.get(pid)

    def end(self) -> None:
        """See ports.GpuSamples."""
        self.wanted, self.coming = None, []


class FakeImages:
    """Images by URI: what their header says, and the file. A pinned digest is checked against the file."""

    def __init__(self, images: Mapping[str, tuple[ImageFacts, Path]]) -> None:
        self._images = dict(images)

    def facts(self, image: Image, cargo: Cargo = NOTHING) -> ImageFacts | None:
        found = self._images.get(image.uri)
        return None if found is None else found[0]

    def fetch(self, image: Image, cargo: Cargo = NOTHING) -> Path:
        found = self._images.get(image.uri)
        if found is None:
            raise ArtifactMissing(f"{image.uri}: there is no such image")
        if image.sha256 is not None:
            digest = hashlib.sha256(found[1].read_bytes()).hexdigest()
            if digest != image.sha256:
                raise ArtifactMismatch(f"{image.uri}: its SHA-256 is {digest}, not {image.sha256}")
        return found[1]


class FakeBell:
    """A bell that is heard at once, by everybody who listens on this object."""

    def __init__(self) -> None:
        self.down = False
        self._lock = threading.Lock()
        self._listeners: list[tuple[tuple[str, ...], Callable[[], None]]] = []

    def ring(self, lane: str) -> None:
        if self.down:
            raise BrokerUnavailable("memory: the bell is down; set down = False")
        with self._lock:
            listeners = [listener for lanes, listener in self._listeners if lane in lanes or "*" in lanes]
        for listener in listeners:
            listener()

    def on_ring(self, lanes: Sequence[str], listener: Callable[[], None]) -> None:
        with self._lock:
            self._listeners.append((tuple(lanes), listener))


class FakeWords:
    """A broker for words about jobs: a LogSink whose feeds hear at once. While `down` is set, words are lost."""

    def __init__(self) -> None:
        self.down = False
        self._feeds: list[tuple[str, FakeLogFeed]] = []

    def tell(self, sid: str, word: Word) -> bool:
        if not self.down:
            for listens_to, feed in tuple(self._feeds):
                if listens_to == sid:
                    feed.hear(word)
        return not self.down

    def feed(self, sid: str) -> FakeLogFeed:
        """Return a LogFeed of the job from now on."""
        feed = FakeLogFeed(self)
        self._feeds.append((sid, feed))
        return feed


class FakeLogFeed:
    """What was told since this was made."""

    def __init__(self, words: FakeWords) -> None:
        self._source = words
        self._changed = threading.Condition()
        self._words: list[Word] = []
        self._is_open = True

    def hear(self, word: Word) -> None:
        """Take a word."""
        with self._changed:
            if self._is_open:
                self._words.append(word)
            self._changed.notify_all()

    def wait(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._words), timeout)

    def take(self) -> tuple[Word, ...]:
        with self._changed:
            words, self._words = tuple(self._words), []
            return words

    def problem(self) -> str | None:
        return "memory: the words are down; set down = False" if self._source.down else None

    def close(self) -> None:
        with self._changed:
            self._is_open = False


class FakeAdvertSource:
    """The newest adverts of some FakeAdvertisers by host. While `down` is set, it does not answer."""

    def __init__(self, hosts: Mapping[str, FakeAdvertiser]) -> None:
        self.down = False
        self._hosts = hosts

    def adverts(self, wait: float) -> tuple[Advert, ...]:
        if self.down:
            raise BrokerUnavailable("memory: the adverts are down; set down = False")
        return tuple(advert for host, advertiser in self._hosts.items() for advert in _newest(host, advertiser))


def _newest(host: str, advertiser: FakeAdvertiser) -> list[Advert]:
    profiles = [profile.table() for profile, _ in advertiser.profiles[-1:]]
    found = [Advert(host, "capabilities", msgspec.json.encode(profile), 0.0) for profile in profiles]
    return [*found, *(Advert(host, "state", msgspec.json.encode(state), 0.0) for state in advertiser.states[-1:])]


class FakeAdvertiser:
    """Keeps what was announced."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._profiles: list[tuple[Capabilities, str]] = []
        self._states: list[Mapping[str, Any]] = []

    def capabilities(self, profile: Capabilities, digest: str) -> None:
        with self._lock:
            self._profiles.append((profile, digest))

    def state(self, state: Mapping[str, Any]) -> None:
        with self._lock:
            self._states.append(dict(state))

    @property
    def profiles(self) -> tuple[tuple[Capabilities, str], ...]:
        """Every announced profile with its digest, in order."""
        with self._lock:
            return tuple(self._profiles)

    @property
    def states(self) -> tuple[Mapping[str, Any], ...]:
        """Every announced state, in order."""
        with self._lock:
            return tuple(self._states)


class FakeSenders:
    """Who put jobs on one queue: they may delete it, or make a place for reports. While `down` is set, none answers."""

    def __init__(self) -> None:
        self.down = False
        self.has_queue = True
        self.has_place_for_reports = False
        self._lock = threading.Lock()
        self._reports: list[bytes] = []

    def gone(self) -> bool:
        self._check()
        return not self.has_queue

    def listening(self) -> bool:
        self._check()
        return self.has_place_for_reports

    def tell(self, reports: Sequence[bytes]) -> None:
        self._check()
        if not self.has_place_for_reports:
            raise Unavailable("memory: the place for reports does not exist; set has_place_for_reports = True")
        with self._lock:
            self._reports.extend(reports)

    @property
    def reports(self) -> tuple[bytes, ...]:
        """What they were told, in order."""
        with self._lock:
            return tuple(self._reports)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("memory: the senders are out of reach; set down = False")
