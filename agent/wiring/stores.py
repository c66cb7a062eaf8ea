"""The stores, queues and servers that a configuration names; what a command imports is what it uses."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.clock import SystemClock
from agent.adapters.files import FileRecords
from agent.config import Config, Queue
from agent.config.places import Bucket
from agent.deadletters import StoreDeadLetters, StoreLetterBox
from agent.errors import ConfigError, StoreUnavailable
from agent.foreign import NoSubmitter, NotedDeadLetters, NotedLetterBox
from agent.hosts import BELL, Hosts
from agent.model.capabilities import Capabilities, Problem
from agent.ports import (
    AdvertSource,
    ArtifactAccess,
    ArtifactStore,
    Bell,
    Clearing,
    DeadLetters,
    ImageFetcher,
    LetterBox,
    LogFeed,
    QueueAdmin,
    RecordStore,
    Submitter,
)
from agent.pubsub_choice import Rules
from agent.pubsub_plan import Place, is_project, is_pubsub, place_of, project_of, url_of
from agent.results import Results
from agent.submitting import StoreSubmitter
from agent.wiring.artifacts import access_of, cache_of, images_of

if TYPE_CHECKING:
    from agent.adapters.mqtt import Broker
    from agent.adapters.pubsub.connection import Connection
    from agent.adapters.pubsub.project import PubSubProject
    from agent.adapters.pubsub.queue import PubSubQueue
    from agent.adapters.s3 import S3Records, S3Stores

log = logging.getLogger(__name__)


class Stores:
    """The stores that a configuration names; commands that only look at a job need nothing else."""

    def __init__(self, config: Config, stopping: threading.Event | None = None) -> None:
        """stopping: ends every wait for a server."""
        self.config = config
        self.found_problem: Callable[[], None] = lambda: None
        self.make_room: Callable[[], bool] = lambda: False
        self._stopping = stopping
        self._results: dict[Path | Bucket, Results] = {}
        self._lock = threading.Lock()

    def records(self, queue: Queue) -> RecordStore:
        """Return the records of the queue itself. Raises StoreUnavailable."""
        return self._records(queue.records_root)

    def results(self, queue: Queue) -> Results:
        """Return the results store of the queue, one for all who use it. Raises StoreUnavailable."""
        root = queue.results_root
        with self._lock:
            if root not in self._results:
                self._results[root] = Results(self._records(root), root.as_uri())
            return self._results[root]

    def result_records(self, queue: Queue) -> RecordStore:
        """Return the bare records of the queue's results store. Raises StoreUnavailable."""
        return self._records(queue.results_root)

    def clearing(self, queue: Queue) -> Clearing:
        """Return what removes from the queue's results store. Raises StoreUnavailable."""
        return self._records(queue.results_root)

    def hosts(self, queues: Sequence[Queue]) -> dict[str, Hosts]:
        """Return the hosts of the queues' results stores, each store once, by its URI. Raises StoreUnavailable."""
        return {queue.results_root.as_uri(): Hosts(self.result_records(queue)) for queue in queues}

    def make(self, queue: Queue) -> None:
        """Create the stores of the queue where they are not there yet, and try what they promise."""
        for root in self._roots(queue):
            if isinstance(root, Bucket):
                records = self.s3.records(root)
                records.make()
                records.conditional_put_works()
            else:
                FileRecords.make(root)

    def test(self) -> None:
        """Find out what the servers promise; those that are away tell it when they are used."""
        for problem in self._alone():
            fields = {"event": "results-alone", "reason": problem.message}
            log.warning("results are kept for this host alone", extra=fields)
        for root in (root for queue in self.config.queues for root in self._roots(queue)):
            if isinstance(root, Bucket):
                with suppress(StoreUnavailable):
                    self.s3.records(root).conditional_put_works()

    def problems(self) -> tuple[Problem, ...]:
        """Return what is known to be wrong with the stores that were used."""
        return (*self._alone(), *(self.s3.problems() if "s3" in vars(self) else ()))

    def _alone(self) -> tuple[Problem, ...]:
        remedy = "set queues.results to a store that all hosts of the queue reach"
        said = (self.config.alone(queue) for queue in self.config.queues)
        return tuple(Problem("results", text, remedy) for text in said if text is not None)

    def _roots(self, queue: Queue) -> tuple[Path | Bucket, ...]:
        return (queue.results_root,) if is_pubsub(queue.url) else (queue.records_root, queue.results_root)

    @cached_property
    def s3(self) -> S3Stores:
        """All stores on the S3 server. Raises StoreUnavailable when a file of its configuration cannot be read."""
        from agent.adapters.s3 import S3Stores

        return S3Stores(self.config.s3, os.environ, lambda: self.found_problem())

    def admin(self, queue: Queue, lanes: Sequence[str]) -> QueueAdmin | None:
        """Return what makes the queue on its server; None where `make` is all that is needed."""
        if is_project(queue.url):
            return self.project(queue)
        return self.pubsub(queue).admin(lanes) if is_pubsub(queue.url) else None

    def submitter(self, queue: Queue) -> Submitter:
        """Return where jobs of the queue are submitted."""
        if is_project(queue.url):
            return NoSubmitter(queue.name, queue.url, url_of(Place(project_of(queue.url), "SUBSCRIPTION", plain=True)))
        if is_pubsub(queue.url):
            return self.pubsub(queue).submitter()
        return StoreSubmitter(self.records(queue), self.results(queue), self.bell(queue))

    def dead_letters(self, queue: Queue) -> DeadLetters:
        """Return where messages of the queue go that nobody can run."""
        if is_project(queue.url):
            return NotedDeadLetters(self.results(queue), SystemClock())
        if is_pubsub(queue.url):
            return self.pubsub(queue).dead_letters()
        return StoreDeadLetters(self.records(queue), SystemClock())

    def letter_box(self, queue: Queue) -> LetterBox:
        """Return the dead letters of the queue, to be looked at, put back or dropped."""
        if is_project(queue.url):
            return NotedLetterBox(queue.name, self.results(queue))
        if is_pubsub(queue.url):
            return self.pubsub(queue).letter_box()
        return StoreLetterBox(self.records(queue), self.bell(queue))

    def pubsub(self, queue: Queue) -> PubSubQueue:
        """Return the parts of a queue on Pub/Sub."""
        from agent.adapters.pubsub.queue import PubSubQueue

        place, results = place_of(queue.url), self.results(queue)
        return PubSubQueue(queue.name, place, self._pubsub_connection, results, SystemClock())

    def project(self, queue: Queue) -> PubSubProject:
        """Return the project whose queues are found."""
        from agent.adapters.pubsub.project import PubSubProject

        return PubSubProject(project_of(queue.url), self.rules(queue), self._pubsub_connection)

    def rules(self, queue: Queue) -> Rules:
        """Return which queues of a project are served: none that is configured by its own name."""
        match, mismatch = (None if each is None else re.compile(each) for each in (queue.match, queue.mismatch))
        urls = [each.url for each in self.config.queues if is_pubsub(each.url) and not is_project(each.url)]
        places = [place_of(url) for url in urls]
        return Rules(match, mismatch, [place for place in places if place.project == project_of(queue.url)])

    def found(self, queue: Queue, subscription: str) -> PubSubQueue:
        """Return the parts of one queue of a project."""
        from agent.adapters.pubsub.queue import PubSubQueue

        place, results = Place(project_of(queue.url), subscription, plain=True), self.results(queue)
        name = f"{queue.name}:{subscription}"
        return PubSubQueue(name, place, self._pubsub_connection, results, SystemClock())

    @cached_property
    def _pubsub_connection(self) -> Connection:
        from agent.adapters.pubsub.connection import Connection

        settings = self.config.pubsub
        return Connection(settings.endpoint, settings.credentials_file, self._stopping)

    def _records(self, root: Path | Bucket) -> FileRecords | S3Records:
        if isinstance(root, Bucket):
            return self.s3.records(root)
        # The queue of this agent alone is made when it is first needed. Any other may just not be mounted.
        embedded = root.is_relative_to(self.config.state_dir)
        make = FileRecords.make if embedded else FileRecords
        return make(root, lambda: self.make_room())

    @cached_property
    def access(self) -> ArtifactAccess:
        """All artifact stores, by the rights on them."""
        return access_of(self.config, lambda: self.s3)

    @property
    def artifacts(self) -> ArtifactStore:
        """All artifact stores behind one, with the agent's own rights."""
        return self.access.by(None)

    def images(self, profile: Capabilities) -> ImageFetcher:
        """Return all sources of images, for a look at them on the host with this profile."""
        clock = SystemClock()
        cache = cache_of(self.config, profile.storage.total_bytes, clock)
        return images_of(self.config, self.access, cache, lambda: profile, clock)

    def bell(self, queue: Queue) -> Bell | None:
        """The submitters' bell of the queue, where there is a broker. Raises ConfigError."""
        return self._bell(queue.name)

    def host_bell(self) -> Bell | None:
        """The bell of hosts, whose lanes are their ids, where there is a broker. Raises ConfigError."""
        return self._bell(BELL)

    def log_feed(self, sid: str) -> LogFeed | None:
        """Return what hosts tell of the job from now on, where there is a broker. Raises ConfigError."""
        broker = broker_of(self.config)
        if broker is None:
            return None
        from agent.adapters.mqtt import MqttLogFeed

        return MqttLogFeed(broker, sid)

    def _bell(self, name: str) -> Bell | None:
        broker = broker_of(self.config)
        if broker is None:
            return None
        from agent.adapters.mqtt import SubmitterBell

        return SubmitterBell(broker, name)


def broker_of(config: Config) -> Broker | None:
    """Return the broker, None when none is configured. Raises ConfigError for certificates that cannot be used."""
    if config.mqtt.url is None:
        return None
    from agent.adapters import mqtt

    return mqtt.broker_of(config.mqtt)


def advert_source(config: Config) -> AdvertSource:
    """Return where the adverts of all hosts are read. Raises ConfigError when there is no broker."""
    broker = broker_of(config)
    if broker is None:
        raise ConfigError("mqtt.url is not set: without a broker no host tells of itself", hint="set mqtt.url")
    from agent.adapters.mqtt import MqttAdvertSource

    return MqttAdvertSource(broker)
