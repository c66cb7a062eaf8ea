"""The only module that knows both the core and the adapters: one lazy factory per part, and `run_agent`.

What costs memory or time to import is imported where it is made: `probe` and `status` do without.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from agent.adapters.apptainer import ApptainerRuntime
from agent.adapters.clock import SystemClock
from agent.adapters.files import FileArtifacts, FileRecords
from agent.adapters.host import LiveHost, find_runtime
from agent.adapters.images import FileImages
from agent.adapters.local_image import build_image
from agent.adapters.locks import lock_host, lock_state_dir
from agent.adapters.logged import LogAdvertiser
from agent.board import Board
from agent.canary import Canary, run_canary
from agent.claims import StoreQueue
from agent.config import Config, Queue
from agent.config.sections import directory_of
from agent.context import Context
from agent.context import Queue as QueueParts
from agent.control.desk import Desk
from agent.control.protocol import SOCKET
from agent.control.server import Server
from agent.daemon import Daemon, Settings
from agent.deadletters import StoreDeadLetters
from agent.errors import ConfigError, HostFault, RuntimeUnavailable, Unavailable
from agent.lanes import lanes_served
from agent.leases import Leases
from agent.ledger import Ledger
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities
from agent.model.share import Share
from agent.modes import load_mode, save_mode
from agent.policy import BackOff
from agent.ports import ArtifactStore, ImageFetcher, RecordStore
from agent.presence import Presence
from agent.probes import probe_host
from agent.results import Results
from agent.transfer.router import Router

UNTIL_EMPTY_LOOK = 0.5


class Stores:
    """The stores that a configuration names; commands that only look at a job need nothing else."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def records(self, queue: Queue) -> RecordStore:
        """Return the records of the queue itself. Raises StoreUnavailable."""
        return self._file_records(queue, queue.records_root)

    def results(self, queue: Queue) -> Results:
        """Return the results store of the queue. Raises StoreUnavailable."""
        return Results(self._file_records(queue, queue.results_root), queue.results_root.as_uri())

    def make(self, queue: Queue) -> None:
        """Create the stores of the queue where they are not there yet."""

        for root in (queue.records_root, queue.results_root):
            FileRecords.make(root)

    def _file_records(self, queue: Queue, root: Path) -> RecordStore:

        # The queue of this agent alone is made when it is first needed. Any other may just not be mounted.
        embedded = root.is_relative_to(self.config.state_dir)
        return FileRecords.make(root) if embedded else FileRecords(root)

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """All artifact stores behind one."""

        roots = [queue.results_root for queue in self.config.queues]
        policy = self.config.policy
        roots += directories((*policy.input_prefixes, *policy.output_prefixes))
        return Router({"file": FileArtifacts(roots)})

    @cached_property
    def images(self) -> ImageFetcher:
        """All sources of images behind one."""

        return FileImages(directories(self.config.policy.image_prefixes))


def directories(prefixes: tuple[str, ...]) -> list[Path]:
    """Return the directories that the file:// prefixes among `prefixes` name."""

    return [directory_of(prefix) for prefix in prefixes if prefix.startswith("file:")]


def runtime_path(config: Config) -> str | None:
    """Return the program of the container runtime: as configured, else the first one on PATH."""
    return find_runtime(_configured_runtime(config))


def _configured_runtime(config: Config) -> Path | None:
    return None if config.runtime.path is None else Path(config.runtime.path)


def probe(config: Config) -> Capabilities:
    """Return what this host is."""

    host = LiveHost(state_dir=config.state_dir, runtime=_configured_runtime(config))
    return probe_host(host, config.labels, config.agent.id)


def share_of(config: Config, profile: Capabilities) -> Share:
    """Return what of the host the agent may give: what the configuration says, else all but the reserves."""

    wanted, memory, storage = config.resources, profile.memory.effective_bytes, profile.storage.total_bytes
    return Share(
        wanted.cpus if wanted.cpus is not None else profile.cpu.effective or 1.0,
        wanted.memory if wanted.memory is not None else max(0, (memory or 0) - wanted.memory_reserve),
        wanted.disk if wanted.disk is not None else max(0, (storage or 0) - wanted.disk_reserve),
        tuple(unit for gpu in profile.gpus or () if gpu.usable for unit in gpu.units),
    )


def match_policy(config: Config) -> MatchPolicy:
    """Return what the operator allows, as matching wants it."""

    policy = config.policy
    return MatchPolicy(
        emulate=config.runtime.emulate,
        secrets=frozenset(policy.secrets),
        network_host=policy.network_host,
        image_prefixes=policy.image_prefixes,
        input_prefixes=policy.input_prefixes,
        output_prefixes=policy.output_prefixes,
        max_timeout=policy.max_timeout,
    )


def secret_reader(config: Config, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function from the name of a secret to its value; it raises HostFault when there is none."""

    def value(name: str) -> str:
        secret = config.policy.secrets[name]
        if secret.env is not None:
            if secret.env not in environ:
                raise HostFault(f"secret {name}: the agent has no variable {secret.env}")
            return environ[secret.env]
        try:
            return Path(secret.file or "").read_text(encoding="utf-8")
        except OSError as error:
            raise HostFault(f"secret {name}: {secret.file}: {error.strerror}") from None

    return value


def free_disk(config: Config) -> int:
    """Return the bytes that jobs may still write below the state directory (or where it will be made)."""
    info = os.statvfs(next(each for each in (config.state_dir, *config.state_dir.parents) if each.exists()))
    return info.f_bavail * info.f_frsize - config.resources.disk_reserve


def prepare_state_dir(config: Config) -> None:
    """Make the state directory, for its owner alone. Raises Unavailable."""
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{config.state_dir}: {error.strerror}; choose another one with --state-dir") from None


class Parts:
    """The parts of one agent, each made once, when it is first needed."""

    def __init__(self, config: Config, *, until_empty: bool = False, service: bool = False) -> None:
        """until_empty: end when nothing is left to run here; service: leave running jobs to the next agent."""
        self.config = config
        self.until_empty = until_empty
        self.service = service
        self.stores = Stores(config)
        self.stop = threading.Event()
        self.clock = SystemClock()

    @cached_property
    def profile(self) -> Capabilities:
        """What this host was when the agent started."""
        return probe(self.config)

    @cached_property
    def lanes(self) -> tuple[str, ...]:
        """The lanes that this host serves."""
        return lanes_served(self.profile, self.config.runtime.emulate)

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
        return ApptainerRuntime(self.config.state_dir, lambda: runtime_path(self.config))

    @cached_property
    def presence(self) -> Presence:
        """What others are told."""
        return Presence(
            self.profile,
            lambda: probe(self.config),
            lambda profile: share_of(self.config, profile),
            LogAdvertiser(),
            self.board,
            self.ledger,
            self.lanes,
            self.config.agent.reprobe_every,
        )

    @cached_property
    def context(self) -> Context:
        """What the workers have in their hands."""
        from agent.adapters.journal import SqliteJournal

        config = self.config
        return Context(
            host_id=self._host_id(),
            boot_id=Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
            state_dir=config.state_dir,
            clock=self.clock,
            queues={queue.name: self._queue(queue) for queue in config.queues},
            artifacts=self.stores.artifacts,
            images=self.stores.images,
            runtime=self.runtime,
            journal=SqliteJournal(config.state_dir / "journal.sqlite"),
            ledger=self.ledger,
            leases=Leases(self.lease_every, self._stop_job),
            board=self.board,
            policy=match_policy(config),
            back_off=BackOff(config.retry.first, config.retry.max),
            secret_value=secret_reader(config, os.environ),
            profile=self.presence.profile,
            detaching=threading.Event(),
        )

    def _host_id(self) -> str:
        if self.profile.host.id is None:
            raise ConfigError("agent.id: this host has no machine id to make one from", hint="set agent.id")
        return self.profile.host.id

    @property
    def lease_every(self) -> float:
        """Seconds between two renewals of all leases: a third of the shortest one."""
        return min(queue.lease for queue in self.config.queues) / 3

    def _queue(self, queue: Queue) -> QueueParts:
        records, results = self.stores.records(queue), self.stores.results(queue)
        source = StoreQueue(
            queue.name,
            records,
            results,
            queue.lanes or self.lanes,
            lease=queue.lease,
            look_every=self._look_every(queue),
            clock=self.clock,
            stopping=self.stop,
        )
        return QueueParts(queue.name, source, results, StoreDeadLetters(records, self.clock), queue.lease)

    def _build_canary_image(self, target: Path) -> None:
        program = runtime_path(self.config)
        if program is None:
            raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
        build_image(target, program)

    def _look_every(self, queue: Queue) -> float:
        """Somebody waits for an agent that runs until the queue is empty."""
        return min(queue.look_every, UNTIL_EMPTY_LOOK) if self.until_empty else queue.look_every

    def _stop_job(self, sid: str, why: str) -> None:
        live = self.board.find(sid)
        if live is not None:
            self.board.ask_stop(live.attempt.id, why)

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
            # Long enough for one look at least, so that a pull that finds nothing has looked.
            pull_wait=max(map(self._look_every, self.config.queues)) + 0.1,
            until_empty=self.until_empty,
            detach=self.service,
        )
        desk = Desk(self.context, self.lanes, self.stop)
        return Daemon(
            self.context,
            settings,
            server=self._server(desk),
            presence=self.presence,
            canary=Canary(self.context, lambda: run_canary(self.context, self._build_canary_image)),
            end_containers=self.runtime.end,
            stop=self.stop,
            mode=load_mode(self.config.state_dir),
        )


def run_agent(config: Config, *, until_empty: bool = False, service: bool = False) -> int:
    """Run the agent on this host until it is stopped; return its exit code."""
    prepare_state_dir(config)
    with ExitStack() as locks:
        locks.enter_context(lock_state_dir(config.state_dir))
        if config.resources.cpus is None or config.resources.memory is None:
            locks.enter_context(lock_host())
        daemon = Parts(config, until_empty=until_empty, service=service).daemon()
        daemon.handle_signals()
        return daemon.run()
