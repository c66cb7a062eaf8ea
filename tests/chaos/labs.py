"""Queues of each kind with their servers and hosts, what can be done to the servers, and what they hold in the end."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from agent.adapters.pubsub.connection import Connection
from agent.claims import pending
from agent.cli.stores import client as client_of
from agent.config import load_config
from agent.errors import ArtifactMismatch, EdgeAgentError, NotFound
from agent.model.records import Submission
from agent.pubsub_plan import ACCEL_ATTRIBUTE, ACK_DEADLINE, ARCH_ATTRIBUTE, SID_ATTRIBUTE, place_of
from agent.wire import plain, read_job_file
from agent.wiring import Stores

from tests.chaos.checker import JobFacts
from tests.chaos.jobs import NO_JOB
from tests.chaos.parts import Host, Link, small_disk
from tests.chaos.schedule import Fault, Kind, Task
from tests.e2e.site import Site, to_toml
from tests.servers import Emulator, Minio, Mosquitto

HOST_FAULTS: tuple[Kind, ...] = ("agent-kill", "agent-detach", "agent-freeze", "holder-kill", "waiter-kill")
LINK_FAULTS: tuple[Kind, ...] = ("link-cut", "link-slow", "link-silent")
OWN_FAULTS: tuple[Kind, ...] = ("disk-full", "clock-jump")
PROJECT = "chaos-1"
_QUIET = ACK_DEADLINE + 5.0  # seconds; what a pull got that was cut short comes again after that deadline
_PATIENCE = 120.0  # seconds for what should be in the queue: such a pull may follow another


class Lab:
    """A queue in a directory. Subclasses say what is different elsewhere.

    lease: seconds; settles_within: seconds after which a message that a killed host held has come again for certain.
    """

    kinds: tuple[Kind, ...] = (*HOST_FAULTS, *OWN_FAULTS, "store-away")
    lease = 4.0
    settles_within = 0.0

    def __init__(self, folder: Path, image: Path, tools: Path, stack: ExitStack) -> None:
        self.folder, self.image, self.tools, self._stack = folder, image, tools, stack
        self.store = folder / "store"
        self._start_servers()
        site = self._site("submitter", ())
        site.call("queue", "init")
        self.config = load_config(site.config, {}, {}).config
        self.queue = self.config.queues[0]
        self._stores = Stores(self.config)
        self.client = client_of(self.config, self.queue)
        self.results = self._stores.results(self.queue)
        self.hosts: list[Host] = []

    # --- to be told apart ---

    @property
    def published(self) -> str:
        """The prefix of the places where outputs are published."""
        return (self.folder / "published").as_uri()

    def _start_servers(self) -> None:
        self.store.mkdir()
        (self.folder / "published").mkdir()

    def _links(self) -> tuple[Link, ...]:
        return ()

    def _queue(self) -> Path | str:
        return self.store

    def _more(self, links: tuple[Link, ...]) -> str:
        return f'[policy]\nnetwork_host = true\noutput_prefixes = ["{self.published}/"]\n'

    def _site(self, name: str, links: tuple[Link, ...]) -> Site:
        queue: Any = self._queue()
        site = Site(self.folder / name, self.image, queue=queue, lease=f"{self.lease:g}s", more=self._more(links))
        text = site.config.read_text().replace("workers = 2", "workers = 3")
        site.config.write_text(text.replace('disk_reserve = "16MiB"', 'disk_reserve = "4MiB"\nagent_reserve = "4MiB"'))
        self._configure(site)
        return site

    def _configure(self, site: Site) -> None:
        """Change the configuration that the site has so far."""

    def begin(self, fault: Fault) -> None:
        """Take a server away."""
        self.store.rename(self.folder / "away")

    def end(self, fault: Fault) -> None:
        """Bring it back."""
        (self.folder / "away").rename(self.store)

    def put_no_job(self, sid: str) -> None:
        """Put a message on the queue that is no job."""
        self._stores.records(self.queue).put(f"pending/any-none/{sid}", NO_JOB, create=True)

    def in_queue(self) -> frozenset[str]:
        """Return the ids of the jobs in the queue; of a queue that cannot be looked into, nothing."""
        return frozenset(each.sid for each in pending(self._stores.records(self.queue)))

    def take_all(self, expected: Collection[str]) -> frozenset[str]:
        """Return the ids of the jobs in the queue when no agent runs any more; they may be gone then.

        expected: what should be there, where it takes a while until all shows.
        """
        return self.in_queue()

    # --- the same everywhere ---

    def add_host(self, number: int) -> Host:
        """Make a host, whose agent does not run yet."""
        folder = self.folder / f"host-{number}"
        self._stack.enter_context(small_disk(folder / "state"))
        links = self._links()
        host = Host(self._site(folder.name, links), links)
        self._stack.callback(host.close)
        self.hosts.append(host)
        return host

    def submit(self, task: Task, table: dict[str, object] | None) -> None:
        """Submit the job until it is certain that it is there. The same id again is the same job."""
        if table is None:
            self.put_no_job(task.sid)
            return
        job = read_job_file(to_toml(table), "job.toml")
        lane = "-".join(job.lane)
        self._stores.submitter(self.queue).submit(Submission(task.sid, plain(job), self.queue.name, lane, time.time()))

    def cancel(self, sid: str) -> None:
        """Cancel a job, which may be over."""
        with suppress(NotFound):
            self.client.cancel(sid)

    def dead(self, sid: str) -> str | None:
        """Return why a message is among the dead letters, if it is."""
        letter = self._stores.dead_letters(self.queue).find(sid)
        return None if letter is None else letter.reason

    def facts(self, task: Task, tokens: Collection[str], waiting: Collection[str]) -> JobFacts:
        """Return what the stores have of a job."""
        commit = self.results.committed(task.sid)
        outputs: dict[str, tuple[str, ...]] = {}
        if commit is not None and commit.artifacts:
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                with suppress(ArtifactMismatch, NotFound):  # it is missing then
                    self.client.fetch(task.sid, Path(folder))
                outputs = {each.name: _texts(each) for each in Path(folder).iterdir()}
        return JobFacts(
            commit=commit,
            tokens=tuple(tokens),
            attempts=tuple(record for record, _ in self.results.attempts(task.sid)),
            dead=self.dead(task.sid),
            waiting=task.sid in waiting,
            outputs=outputs,
            published=self._published(task.sid) if task.kind == "published" else None,
        )

    def _published(self, sid: str) -> str | None:
        try:
            with self._stores.artifacts.open(f"{self.published}/{sid}") as stream:
                return stream.read().decode()
        except EdgeAgentError:
            return None


def _texts(place: Path) -> tuple[str, ...]:
    files = sorted(each for each in place.rglob("*") if each.is_file()) if place.is_dir() else [place]
    return tuple(file.read_text() for file in files)


class S3Lab(Lab):
    """A queue on MinIO, with Mosquitto as its bell."""

    kinds = (*HOST_FAULTS, *OWN_FAULTS, *LINK_FAULTS, "store-away", "broker-away")

    @property
    def published(self) -> str:
        return "s3://chaos/published"

    def _start_servers(self) -> None:
        self._minio = Minio(self.tools / "bin/minio", self.folder / "minio")
        self._minio.start()
        self._stack.callback(self._minio.stop)
        self._start_broker()

    def _start_broker(self) -> None:
        self._mosquitto = Mosquitto(self.folder / "mosquitto")
        self._mosquitto.start()
        self._stack.callback(self._mosquitto.stop, signal.SIGKILL)

    def _links(self) -> tuple[Link, ...]:
        return Link(self._minio.port), Link(self._mosquitto.port)

    def _queue(self) -> Path | str:
        return "s3://chaos/lab"

    def _more(self, links: tuple[Link, ...]) -> str:
        store = links[0].port if links else self._minio.port
        broker = f'[mqtt]\nurl = "mqtt://127.0.0.1:{links[1].port if links else self._mosquitto.port}"\n'
        return super()._more(links) + self._s3(store) + broker

    def _s3(self, port: int) -> str:
        keys = f'access_key = "{self._minio.access_key}"\nsecret_key = "{self._minio.secret_key}"\n'
        return f'[s3]\nendpoint = "http://127.0.0.1:{port}"\n{keys}'

    def begin(self, fault: Fault) -> None:
        (self._minio if fault.kind == "store-away" else self._mosquitto).stop(signal.SIGKILL)

    def end(self, fault: Fault) -> None:
        # On a busy machine it is there later than it is waited for; the jobs wait for it.
        with suppress(AssertionError):
            (self._minio if fault.kind == "store-away" else self._mosquitto).start()


class PubSubLab(S3Lab):
    """A queue on the Pub/Sub emulator, with its results on MinIO.

    The emulator forgets everything when it ends: it is cut off from all hosts, and never killed.
    """

    lease = 10.0
    settles_within = 30.0

    def _start_broker(self) -> None:
        self._emulator = Emulator(self.folder)
        self._emulator.start()
        self._stack.callback(self._emulator.stop)
        self._connection = Connection(self._emulator.endpoint)

    def _links(self) -> tuple[Link, ...]:
        return Link(self._minio.port), Link(self._emulator.port)

    def _more(self, links: tuple[Link, ...]) -> str:
        store, broker = (each.port for each in links) if links else (self._minio.port, self._emulator.port)
        return Lab._more(self, links) + self._s3(store) + f'[pubsub]\nendpoint = "127.0.0.1:{broker}"\n'

    def _configure(self, site: Site) -> None:
        text = site.config.read_text().replace('lanes = ["*"]', "lanes = []")
        url = f'url = "pubsub://{PROJECT}/jobs"\nresults = "s3://chaos/lab/results"'
        site.config.write_text(text.replace('url = "s3://chaos/lab"', url))

    def begin(self, fault: Fault) -> None:
        if fault.kind == "store-away":
            super().begin(fault)
            return
        for host in self.hosts:
            host.links[1].disturb(fault, "cut")

    def end(self, fault: Fault) -> None:
        if fault.kind == "store-away":
            super().end(fault)
            return
        for host in self.hosts:
            host.links[1].repair(fault)

    def put_no_job(self, sid: str) -> None:
        attributes = {ARCH_ATTRIBUTE: "any", ACCEL_ATTRIBUTE: "none", SID_ATTRIBUTE: sid}
        self._connection.publish(place_of(self.queue.url).topic, NO_JOB, attributes)

    def in_queue(self) -> frozenset[str]:
        return frozenset()

    def take_all(self, expected: Collection[str]) -> frozenset[str]:
        found: set[str] = set()
        subscription = place_of(self.queue.url).subscription("any-none")  # the lane of all jobs
        began = time.monotonic()
        until = began + _QUIET
        while time.monotonic() < until:
            received = self._connection.pull(subscription, until - time.monotonic())
            if received is not None:
                self._connection.acknowledge(subscription, received.ack_id)
                found.add(received.message.attributes[SID_ATTRIBUTE])
            if not found.issuperset(expected):
                until = max(until, min(time.monotonic() + _QUIET, began + _PATIENCE))
        return frozenset(found)


LABS: dict[str, type[Lab]] = {"dir": Lab, "s3": S3Lab, "pubsub": PubSubLab}


@contextmanager
def opened(queue: str, folder: Path, image: Path, tools: Path, hosts: int) -> Iterator[Lab]:
    """A lab with so many hosts; nothing of it runs on afterwards. tools: where the servers' programs are."""
    with ExitStack() as stack:
        lab = LABS[queue](folder, image, tools, stack)
        for number in range(hosts):
            lab.add_host(number)
        yield lab
