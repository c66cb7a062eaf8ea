"""One agent, put together: each part made once, when it is first needed."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from contextlib import ExitStack
from functools import cached_property, partial
from typing import TYPE_CHECKING

import msgspec

from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.clock import SystemClock
from agent.adapters.gpus import HostGpus
from agent.adapters.locks import lock_host, lock_state_dir
from agent.adapters.logged import LogAdvertiser
from agent.adapters.nvml_samples import NvmlSamples
from agent.adapters.reserve import FileReserve
from agent.adapters.spec import JobLimits
from agent.attempt import Attempt
from agent.board import Board
from agent.cache import Cache
from agent.canary import Canary
from agent.claims import StoreQueue
from agent.config import Config, Queue
from agent.config.metrics import address_of
from agent.context import Context, Queues
from agent.context import Queue as QueueParts
from agent.control.desk import Desk
from agent.control.protocol import SOCKET
from agent.control.server import Server
from agent.daemon import Daemon, Settings
from agent.deadletters import StoreDeadLetters
from agent.discovery import Project
from agent.errors import ConfigError, Unavailable
from agent.foreign import NotedDeadLetters
from agent.gpu_sampling import GpuSampling
from agent.gpu_watch import GpuWatch
from agent.hosts import BELL
from agent.leases import Leases
from agent.ledger import Ledger
from agent.livelog import LiveLogs
from agent.metrics import families
from agent.model.capabilities import Capabilities
from agent.model.cargo import Decoded
from agent.modes import load_mode, save_mode
from agent.outbox import Limit
from agent.policy import BackOff
from agent.ports import Advertiser, Bell, Delivery, Observers
from agent.presence import Presence
from agent.probes import look_at_gpus
from agent.pubsub_choice import queue_of
from agent.pubsub_plan import PLAIN, has_lanes, is_project, is_pubsub, place_of
from agent.room import Room
from agent.spare import Spare, Terms
from agent.staging import Staging
from agent.streaming import Streams
from agent.supervisor.notify import notify, watchdog_s
from agent.supervisor.processes import boot_id
from agent.telling import Telling
from agent.wishes import Wishes

if TYPE_CHECKING:
    from agent.adapters.journal import SqliteJournal
    from agent.adapters.mqtt import MqttConnection
    from agent.adapters.prometheus import MetricsServer
from agent.studioml.reading import Keys
from agent.wire import decode
from agent.wiring.artifacts import cache_of, images_of
from agent.wiring.host import (
    free_disk,
    lanes_of,
    live_host,
    match_policy,
    prepare_state_dir,
    probe,
    run_trial,
    runtime_path,
    secret_reader,
    share_of,
)
from agent.wiring.stores import Stores, broker_of
from agent.wiring.studioml import cards_of, keys_of, observers_of, reading_of

UNTIL_EMPTY_LOOK = 0.5
# Seconds that one pull from a server may block; one that somebody waits for ends as soon as a lane looks empty.
PULL = 30.0
UNTIL_EMPTY_PULL = 2.0
# Seconds for which an agent that runs until the queue is empty waits for servers that do not answer.
PATIENCE = 600.0
# The longest that one pull of a store queue blocks: the queue itself remembers when its next look is due.
LONGEST_PULL = 2.0


class Parts:
    """The parts of one agent, each made once, when it is first needed."""

    def __init__(
        self,
        config: Config,
        *,
        until_empty: bool = False,
        service: bool = False,
        patience: float = PATIENCE,
        own_holder: bool = True,
    ) -> None:
        """until_empty: end when nothing is left to run here; service: leave running jobs to the next agent.

        patience: seconds for which until_empty waits for servers that do not answer. own_holder: start a holder of the
        jobs where none runs.
        """
        self.config = config
        self.patience = patience
        self.own_holder = own_holder
        self.until_empty = until_empty
        self.service = service
        self.stop = threading.Event()
        self.stores = Stores(config, self.stop)
        self.reserve = FileReserve(config.state_dir, config.resources.agent_reserve)
        self.stores.make_room = self.reserve.give
        self.clock = SystemClock()

    @cached_property
    def profile(self) -> Capabilities:
        """What this host was when the agent started."""
        return probe(self.config)

    @cached_property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that this host serves."""
        return lanes_of(self.config, self.profile)

    @cached_property
    def board(self) -> Board:
        """The shared state."""
        return Board(lambda mode: save_mode(self.config.state_dir, mode))

    @cached_property
    def ledger(self) -> Ledger:
        """The share of this host and who has what of it."""
        return Ledger(share_of(self.config, self.profile), lambda: free_disk(self.config))

    @cached_property
    def runtime(self) -> ApptainerRuntime:
        """The container runtime."""
        # Half of the reserve: above it jobs are not taken, below it they are ended, and the agent has the rest.
        floor = self.config.resources.disk_reserve // 2
        limits = JobLimits(self.config.limits.pids, self.config.limits.open_files, floor)
        return ApptainerRuntime(
            self.config.state_dir, lambda: runtime_path(self.config), limits=limits, own_holder=self.own_holder
        )

    @cached_property
    def _instance(self) -> str:
        """The name of this life of the agent: for people the machine, for programs something never used before."""
        return f"{socket.gethostname()}-{secrets.token_hex(4)}"

    @cached_property
    def mqtt(self) -> MqttConnection | None:
        """The one connection to the broker, None when none is configured."""
        broker = broker_of(self.config)
        if broker is None:
            return None
        from agent.adapters.mqtt import MqttConnection, offline

        host, instance = self._host_id(), self._instance
        return MqttConnection(
            broker,
            f"{host}-{instance}",
            will=offline(host, instance, "the agent vanished"),
            report=lambda problem: self.board.problem("broker", problem),
        )

    @cached_property
    def advertiser(self) -> Advertiser:
        """Who tells others of this host: the broker, else the log."""
        if self.mqtt is None:
            return LogAdvertiser()
        from agent.adapters.mqtt import MqttAdvertiser

        return MqttAdvertiser(
            self.mqtt,
            self._host_id(),
            self._instance,
            self.clock,
            report=lambda problem: self.board.problem("host-id", problem),
        )

    def _bell(self, name: str) -> Bell | None:
        if self.mqtt is None:
            return None
        from agent.adapters.mqtt import MqttBell

        return MqttBell(self.mqtt, name)

    @cached_property
    def wishes(self) -> Wishes:
        """What operators want of this host."""
        wishes = Wishes(
            self._host_id(),
            self.stores.hosts(self.config.queues),
            self.board,
            self._jobs_here,
            self.clock,
            self.config.state_dir,
        )
        bell = self._bell(BELL)
        if bell is not None:
            bell.on_ring([self._host_id()], wishes.ring)
            bell.on_ring([self._host_id()], self.streams.ring)
        return wishes

    @cached_property
    def streams(self) -> Streams:
        """Who tells followers elsewhere what jobs print."""

        def logs(queue: str) -> LiveLogs:
            return LiveLogs(self.context.queues[queue].results.records)

        def percent(attempt: Attempt) -> int | None:
            return self._staging.percent(attempt)

        return Streams(self.board, lambda attempt: self.context.directory(attempt), logs, self.clock, percent)

    @cached_property
    def _staging(self) -> Staging:
        return Staging(self.context)

    @cached_property
    def telling(self) -> Telling | None:
        """Who tells the same over the broker, None when none is configured."""
        if self.mqtt is None:
            return None
        from agent.adapters.mqtt import MqttLogSink

        return Telling(self.streams, self.context.directory, MqttLogSink(self.mqtt), self.clock)

    def _jobs_here(self) -> tuple[str, ...]:
        """Return the ids of all jobs that this host holds, from the pull to the delivery of their results."""
        live = {live.attempt.sid for live in self.board.live()}
        return tuple(sorted(live | set(self.context.leases.sids())))

    @cached_property
    def presence(self) -> Presence:
        """What others are told."""
        return Presence(
            self.profile,
            lambda: probe(self.config, self.stores.problems()),
            lambda profile: share_of(self.config, profile),
            self.advertiser,
            self.board,
            self.ledger,
            self.lanes,
            self.config.agent.reprobe_every,
            GpuWatch(lambda: look_at_gpus(live_host(self.config)), self.board),
        )

    @cached_property
    def journal(self) -> SqliteJournal:
        """What the agent remembers over its own death."""
        from agent.adapters.journal import SqliteJournal

        return SqliteJournal(self.config.state_dir / "journal.sqlite", self.reserve.give)

    @cached_property
    def context(self) -> Context:
        """What the workers have in their hands."""
        config = self.config
        return Context(
            host_id=self._host_id(),
            boot_id=boot_id(),
            state_dir=config.state_dir,
            clock=self.clock,
            queues=self._queues(),
            access=self.stores.access,
            decode=self._decode,
            observers=self._observers,
            images=images_of(config, self.stores.access, self.cache, self.presence.profile, self.clock),
            runtime=self.runtime,
            journal=self.journal,
            ledger=self.ledger,
            leases=Leases(self.lease_every, self._stop_job),
            board=self.board,
            policy=match_policy(config),
            back_off=BackOff(config.retry.first, config.retry.max),
            secret_value=secret_reader(config, os.environ),
            profile=self.presence.profile,
            detaching=threading.Event(),
            cache=self.cache,
            gpus=HostGpus(live_host(config)),
            spare=Spare(Terms(config.agent.prefetch, config.agent.prefetch_hold, config.agent.starve_after)),
            streams=self.streams,
        )

    @cached_property
    def cache(self) -> Cache:
        """What this host keeps for the next job."""
        return cache_of(self.config, self.profile.storage.total_bytes, self.clock)

    @cached_property
    def _keys(self) -> Keys:
        return keys_of(self.config)

    def _decode(self, delivery: Delivery, attempt: int) -> Decoded:
        """Read a delivery by the keys and rules for its queue."""
        queue = self.context.queues[delivery.queue]
        reading = msgspec.structs.replace(
            reading_of(self.config, self._keys, queue.sender_name or queue.name, queue.name),
            now=self.clock.time(),
            attempt=attempt,
            gpus=cards_of(self.presence.profile()),
        )
        return decode(delivery.body, delivery.attributes, delivery.submitted_at, reading)

    @cached_property
    def _observers(self) -> Observers:
        return observers_of(
            self.stores.access,
            match_policy(self.config),
            self.clock,
            self._host_id(),
            self._keys,
            lambda queue: self.context.queues[queue].senders,
        )

    def _host_id(self) -> str:
        if self.profile.host.id is None:
            raise ConfigError("agent.id: this host has no machine id to make one from", hint="set agent.id")
        return self.profile.host.id

    @property
    def lease_every(self) -> float:
        """Seconds between two renewals of all leases: a third of the shortest one."""
        return min(queue.held_for for queue in self.config.queues) / 3

    def _queues(self) -> Queues:
        configured = [queue for queue in self.config.queues if not is_project(queue.url)]
        return Queues(
            {queue.name: self._queue(queue) for queue in configured},
            {project.name: project.make for project in self._projects},
        )

    @cached_property
    def _projects(self) -> tuple[Project, ...]:
        return tuple(self._project(queue) for queue in self.config.queues if is_project(queue.url))

    def _project(self, queue: Queue) -> Project:
        self.stores.results(queue)  # one that is missing is told now, and not when something is found
        return Project(
            name=queue.name,
            rules=self.stores.rules(queue),
            look=self.stores.project(queue).look,
            make=partial(self._found_queue, queue),
            wait=self._pubsub_pull,
        )

    @property
    def _pubsub_pull(self) -> float:
        return UNTIL_EMPTY_PULL if self.until_empty else PULL

    def _found_queue(self, queue: Queue, subscription: str) -> QueueParts:
        parts, results = self.stores.found(queue, subscription), self.stores.results(queue)
        (source,) = parts.lanes((PLAIN,), queue.held_for).values()
        return QueueParts(
            f"{queue.name}:{subscription}",
            source,
            results,
            NotedDeadLetters(results, self.clock),
            queue.held_for,
            shares_delays=True,
            keeps_dead=False,
            senders=parts.senders(),
            sender_name=queue_of(subscription),
        )

    def _queue(self, queue: Queue) -> QueueParts:
        return self._pubsub_queue(queue) if is_pubsub(queue.url) else self._store_queue(queue)

    def _pubsub_queue(self, queue: Queue) -> QueueParts:
        parts = self.stores.pubsub(queue)
        lanes = parts.lanes(queue.lanes or (*self.lanes, PLAIN), queue.held_for)
        return QueueParts(
            queue.name,
            next(iter(lanes.values())),
            self.stores.results(queue),
            parts.dead_letters(),
            queue.held_for,
            pulls={name: lane.pull for name, lane in lanes.items()},
            pull_wait=self._pubsub_pull,
            shares_delays=True,
            keeps_dead=has_lanes(queue.url),
            senders=None if has_lanes(queue.url) else parts.senders(),
            sender_name=place_of(queue.url).queue,
        )

    def _store_queue(self, queue: Queue) -> QueueParts:
        records, results = self.stores.records(queue), self.stores.results(queue)
        source = StoreQueue(
            queue.name,
            records,
            results,
            queue.lanes or self.lanes,
            host=self._host_id(),
            lease=queue.held_for,
            look_every=self._look_every(queue),
            clock=self.clock,
            stopping=self.stop,
            bell=self._bell(queue.name),
        )
        return QueueParts(
            queue.name,
            source,
            results,
            StoreDeadLetters(records, self.clock),
            queue.held_for,
            overtaken=source.overtaken,
        )

    def _look_every(self, queue: Queue) -> float:
        """Somebody waits for an agent that runs until the queue is empty."""
        every = self.config.look_every(queue)
        return min(every, UNTIL_EMPTY_LOOK) if self.until_empty else every

    def _stop_job(self, sid: str, why: str) -> None:
        live = self.board.find(sid)
        if live is not None:
            self.board.ask_stop(live.attempt.id, why)

    def test_stores(self) -> None:
        """Find out what the servers promise; nobody waits for those that do not answer."""
        self.stores.found_problem = self.presence.look_again
        threading.Thread(target=self.stores.test, name="store-test", daemon=True).start()

    @cached_property
    def desk(self) -> Desk:
        """Who answers commands and shows how things are."""
        return Desk(self.context, self.lanes, self.stop, self.wishes.want)

    def metrics(self) -> MetricsServer | None:
        """Serve metrics from now on; None where nobody wants them. Raises Unavailable when the address is taken."""
        listen = self.config.metrics.listen
        if listen is None:
            return None
        from agent.adapters.prometheus import MetricsServer

        return MetricsServer(address_of(listen), lambda: families(self.desk.snapshot(), self.clock.time()))

    def _outbox_limit(self) -> Limit:
        wanted = self.config.outbox
        return Limit(wanted.results, self.ledger.share.disk // 2 if wanted.limit is None else wanted.limit)

    def _room(self) -> Room:
        size = self.config.resources.agent_reserve
        return Room(self.board, self.reserve, self.config.state_dir, size, self.journal.trouble)

    def _server(self, desk: Desk) -> Server:
        try:
            return Server(self.config.state_dir, desk.handle)
        except OSError as error:
            place = self.config.state_dir / SOCKET
            raise Unavailable(f"{place}: {error.strerror}; remove what lies there, or use --state-dir") from None

    def daemon(self) -> Daemon:
        """Return the agent, ready to run. Raises Unavailable when its socket cannot be made."""
        settings = Settings(
            workers=self.config.agent.workers or max(1, int(self.ledger.share.cpus)),
            # Until the queue is empty, long enough for one look, so that a pull that finds nothing has looked.
            pull_wait=min(LONGEST_PULL, max(map(self._look_every, self.config.queues))) + 0.1,
            until_empty=self.until_empty,
            detach=self.service,
            patience=self.patience,
            outbox=self._outbox_limit(),
        )
        return Daemon(
            self.context,
            settings,
            server=self._server(self.desk),
            presence=self.presence,
            canary=Canary(self.context, lambda: run_trial(self.config, self.runtime, self.config.state_dir)),
            end_containers=self.runtime.end,
            stop=self.stop,
            # Somebody waits until the queue is empty, not until the host is mended.
            mode=load_mode(self.config.state_dir, faulty=not self.until_empty),
            projects=self._projects,
            gpu_sampling=GpuSampling(self.board, NvmlSamples(self.config.state_dir), self.context.gpu_uses),
            room=self._room(),
            wishes=self.wishes,
            telling=self.telling,
            notify=notify,
            watchdog=watchdog_s(),
        )


def run_agent(
    config: Config,
    *,
    until_empty: bool = False,
    service: bool = False,
    patience: float = PATIENCE,
    own_holder: bool = True,
) -> int:
    """Run the agent on this host until it is stopped; return its exit code. See Parts."""
    prepare_state_dir(config)
    with ExitStack() as locks:
        locks.enter_context(lock_state_dir(config.state_dir))
        if config.resources.cpus is None or config.resources.memory is None:
            locks.enter_context(lock_host())
        parts = Parts(config, until_empty=until_empty, service=service, patience=patience, own_holder=own_holder)
        daemon = parts.daemon()
        metrics = parts.metrics()
        if metrics is not None:
            locks.callback(metrics.close)
        parts.test_stores()
        daemon.handle_signals()
        if parts.mqtt is not None:
            parts.mqtt.start()
        code = daemon.run()
        # Not when the agent ends by an error: then the broker sends its last will.
        if parts.mqtt is not None:
            parts.mqtt.close()
        return code
