"""The stores, queues and servers that a configuration names; what a command imports is what it uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.clock import SystemClock
from agent.adapters.files import FileArtifacts, FileRecords
from agent.adapters.images import FileImages
from agent.config import Config, Queue
from agent.config.places import Bucket
from agent.config.sections import directory_of
from agent.deadletters import StoreDeadLetters
from agent.errors import ConfigError, StoreUnavailable
from agent.model.capabilities import Problem
from agent.ports import (
    AdvertSource,
    ArtifactStore,
    Bell,
    DeadLetters,
    ImageFetcher,
    QueueAdmin,
    RecordStore,
    Submitter,
)
from agent.pubsub_plan import is_pubsub, place_of
from agent.results import Results
from agent.submitting import StoreSubmitter
from agent.transfer.router import Router

if TYPE_CHECKING:
    from agent.adapters.mqtt import Broker
    from agent.adapters.pubsub.connection import Connection
    from agent.adapters.pubsub.queue import PubSubQueue
    from agent.adapters.s3 import S3Stores


class Stores:
    """The stores that a configuration names; commands that only look at a job need nothing else."""

    def __init__(self, config: Config, stopping: threading.Event | None = None) -> None:
        """stopping: ends every wait for a server."""
        self.config = config
        self.found_problem: Callable[[], None] = lambda: None
        self._stopping = stopping

    def records(self, queue: Queue) -> RecordStore:
        """Return the records of the queue itself. Raises StoreUnavailable."""
        return self._records(queue.records_root)

    def results(self, queue: Queue) -> Results:
        """Return the results store of the queue. Raises StoreUnavailable."""
        return Results(self._records(queue.results_root), queue.results_root.as_uri())

    def result_records(self, queue: Queue) -> RecordStore:
        """Return the bare records of the queue's results store. Raises StoreUnavailable."""
        return self._records(queue.results_root)

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
        for root in (root for queue in self.config.queues for root in self._roots(queue)):
            if isinstance(root, Bucket):
                with suppress(StoreUnavailable):
                    self.s3.records(root).conditional_put_works()

    def problems(self) -> tuple[Problem, ...]:
        """Return what is known to be wrong with the stores that were used."""
        return self.s3.problems() if "s3" in vars(self) else ()

    def _roots(self, queue: Queue) -> tuple[Path | Bucket, ...]:
        return (queue.results_root,) if is_pubsub(queue.url) else (queue.records_root, queue.results_root)

    @cached_property
    def s3(self) -> S3Stores:
        """All stores on the S3 server. Raises StoreUnavailable when a file of its configuration cannot be read."""
        from agent.adapters.s3 import S3Stores

        return S3Stores(self.config.s3, os.environ, lambda: self.found_problem())

    def admin(self, queue: Queue, lanes: Sequence[str]) -> QueueAdmin | None:
        """Return what makes the queue on its server; None where `make` is all that is needed."""
        return self.pubsub(queue).admin(lanes) if is_pubsub(queue.url) else None

    def submitter(self, queue: Queue) -> Submitter:
        """Return where jobs of the queue are submitted."""
        if is_pubsub(queue.url):
            return self.pubsub(queue).submitter()
        return StoreSubmitter(self.records(queue), self.results(queue), self.bell(queue))

    def dead_letters(self, queue: Queue) -> DeadLetters:
        """Return where messages of the queue go that nobody can run."""
        if is_pubsub(queue.url):
            return self.pubsub(queue).dead_letters()
        return StoreDeadLetters(self.records(queue), SystemClock())

    def pubsub(self, queue: Queue) -> PubSubQueue:
        """Return the parts of a queue on Pub/Sub."""
        from agent.adapters.pubsub.queue import PubSubQueue

        place, results = place_of(queue.url), self.results(queue)
        return PubSubQueue(queue.name, place, self._pubsub_connection, results, SystemClock())

    @cached_property
    def _pubsub_connection(self) -> Connection:
        from agent.adapters.pubsub.connection import Connection

        settings = self.config.pubsub
        return Connection(settings.endpoint, settings.credentials_file, self._stopping)

    def _records(self, root: Path | Bucket) -> RecordStore:
        if isinstance(root, Bucket):
            return self.s3.records(root)
        # The queue of this agent alone is made when it is first needed. Any other may just not be mounted.
        embedded = root.is_relative_to(self.config.state_dir)
        return FileRecords.make(root) if embedded else FileRecords(root)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """All artifact stores behind one."""
        roots = [queue.results_root for queue in self.config.queues]
        prefixes = (*self.config.policy.input_prefixes, *self.config.policy.output_prefixes)
        local = [root for root in roots if isinstance(root, Path)] + directories(prefixes)
        buckets = [root.as_uri() for root in roots if isinstance(root, Bucket)]
        buckets += [prefix for prefix in prefixes if prefix.startswith("s3:")]
        stores: dict[str, ArtifactStore] = {"file": FileArtifacts(local)}
        return Router({**stores, "s3": self.s3.artifacts(buckets)} if buckets else stores)

    @cached_property
    def images(self) -> ImageFetcher:
        """All sources of images behind one."""
        return FileImages(directories(self.config.policy.image_prefixes))

    def bell(self, queue: Queue) -> Bell | None:
        """The submitters' bell of the queue, where there is a broker. Raises ConfigError."""
        broker = broker_of(self.config)
        if broker is None:
            return None
        from agent.adapters.mqtt import SubmitterBell

        return SubmitterBell(broker, queue.name)


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


def directories(prefixes: tuple[str, ...]) -> list[Path]:
    """Return the directories that the file:// prefixes among `prefixes` name."""
    return [directory_of(prefix) for prefix in prefixes if prefix.startswith("file:")]
