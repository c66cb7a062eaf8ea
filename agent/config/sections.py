"""Every key of the configuration with its type and default, and the rules that types cannot say."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from agent.config.base import PositiveSeconds, Section, check_absolute, wrong
from agent.config.metrics import MetricsSection, check_metrics
from agent.config.mqtt import MqttSection, check_mqtt
from agent.config.outbox import OutboxSection
from agent.config.places import Bucket, bucket_of
from agent.config.policy import PolicySection, check_policy
from agent.config.s3 import S3Section, check_s3
from agent.config.signing import SubmitSection, check_signers, check_submit
from agent.config.studioml import StudioMLSection, check_studioml
from agent.errors import InvalidInput, nearest
from agent.model.job import ARCHITECTURES
from agent.model.units import Bytes
from agent.pubsub_plan import PLAIN, has_lanes, is_project, is_pubsub, place_of, project_of

GIB = 1024**3
MIB = 1024**2
ACCELERATORS = ("none", "nvidia", "jetson")
ALL_GPUS, NO_GPUS = "all", "none"
LEASE = 120.0
LEASE_OF_CLIENTS = 240.0  # experiments of StudioML clients run for days, and a second run of one costs as much
LOOK_WITH_BELL = 30.0
LOOK_AT_S3 = 5.0
LOOK_AT_DIRECTORY = 2.0

_QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ENDPOINT = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_GPU = re.compile(r"(GPU-|MIG-)?[0-9A-Za-z/-]+")
_WEB = re.compile(r"https?://[^/\s?#@]+/?")


class AgentSection(Section, frozen=True):
    """The agent itself. state_dir is an absolute path; log_level is the least level that is written.

    prefetch: hold one job more than has room, staged, for prefetch_hold. starve_after: the age from which on nothing
    else starts before a job that fits the empty host.
    """

    state_dir: str
    id: str | None = None
    workers: Annotated[int, msgspec.Meta(ge=1)] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"
    reprobe_every: PositiveSeconds = 600.0
    prefetch: bool = True
    prefetch_hold: PositiveSeconds = 60.0
    starve_after: PositiveSeconds = 3600.0


class ResourcesSection(Section, frozen=True):
    """The share of the host that jobs may use: cores (fractions allowed) and bytes; None = all there is.

    gpus: UUIDs of GPUs, or of parts of them; or one word, "all" that can be used, or "none".
    """

    cpus: Annotated[float, msgspec.Meta(gt=0)] | None = None
    memory: Bytes | None = None
    memory_reserve: Bytes = 256 * MIB
    disk: Bytes | None = None
    disk_reserve: Bytes = GIB
    agent_reserve: Bytes = 64 * MIB
    gpus: tuple[str, ...] = (ALL_GPUS,)


class Queue(Section, frozen=True):
    """One queue, or all queues of a Pub/Sub project.

    `lanes` empty = those that this host serves; ("*",) = all that exist. match, mismatch: regular expressions; of a
    project's queues those are served whose name the one finds and the other does not; None = all or none.
    """

    name: str
    url: str
    match: str | None = None
    mismatch: str | None = None
    results: str | None = None
    lanes: tuple[str, ...] = ()
    lease: PositiveSeconds | None = None
    look_every: PositiveSeconds | None = None

    @property
    def held_for(self) -> float:
        """Seconds for which a job stays with a host that does not answer any more."""
        if self.lease is not None:
            return self.lease
        return LEASE_OF_CLIENTS if is_pubsub(self.url) and not has_lanes(self.url) else LEASE

    @property
    def records_root(self) -> Path | Bucket:
        """The place of the queue's own records: `queue` below the url."""
        return root_of(self.url) / "queue"

    @property
    def results_root(self) -> Path | Bucket:
        """The place of the results store: `results` as configured, else `results` below the url."""
        return root_of(self.results) if self.results is not None else root_of(self.url) / "results"


class PubSubSection(Section, frozen=True):
    """Google Cloud Pub/Sub, for queues whose url begins with pubsub://.

    endpoint: "host:port" of an emulator, spoken to without TLS and credentials; None = Google's service.
    """

    credentials_file: str | None = None
    endpoint: str | None = None


class RuntimeSection(Section, frozen=True):
    """The container runtime. path None = looked for on PATH; emulate = what may run through binfmt_misc.

    insecure_registries: "host:port" of registries of docker:// and oras:// images that have no TLS.
    """

    path: str | None = None
    emulate: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()


class ImagesSection(Section, frozen=True):
    """What is asked of images. keys_dir: a directory with the public keys, one of which must have signed an image."""

    signatures: Literal["off", "warn", "require"] = "off"
    keys_dir: str | None = None


class LimitsSection(Section, frozen=True):
    """What every job may have at most, whatever it asks for: processes with their threads, open files of each."""

    pids: Annotated[int, msgspec.Meta(ge=1)] = 4096
    open_files: Annotated[int, msgspec.Meta(ge=64)] = 65536


class CacheSection(Section, frozen=True):
    """What is kept of images, inputs and environments for the next job. size in bytes; None = a share of the disk."""

    size: Bytes | None = None


class GcsSection(Section, frozen=True):
    """Google Cloud Storage, for gs:// artifacts and images.

    endpoint: the URL of an emulator, spoken to without credentials; None = Google's service.
    """

    credentials_file: str | None = None
    endpoint: str | None = None


class RetrySection(Section, frozen=True):
    """Waiting after a failure: `first` seconds, doubled each time up to `max`, with jitter."""

    first: PositiveSeconds = 2.0
    max: PositiveSeconds = 600.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration."""

    agent: AgentSection
    resources: ResourcesSection = ResourcesSection()
    labels: dict[str, str] = {}
    queues: tuple[Queue, ...] = ()
    s3: S3Section = S3Section()
    mqtt: MqttSection = MqttSection()
    pubsub: PubSubSection = PubSubSection()
    gcs: GcsSection = GcsSection()
    runtime: RuntimeSection = RuntimeSection()
    images: ImagesSection = ImagesSection()
    limits: LimitsSection = LimitsSection()
    cache: CacheSection = CacheSection()
    outbox: OutboxSection = OutboxSection()
    policy: PolicySection = PolicySection()
    studioml: StudioMLSection = StudioMLSection()
    submit: SubmitSection = SubmitSection()
    retry: RetrySection = RetrySection()
    metrics: MetricsSection = MetricsSection()

    @property
    def state_dir(self) -> Path:
        """The directory that holds everything the agent keeps."""
        return Path(self.agent.state_dir)

    @property
    def images_dir(self) -> Path:
        """The directory whose image files jobs may use without a word in the configuration."""
        return self.state_dir / "images"

    @property
    def image_prefixes(self) -> tuple[str, ...]:
        """Where images may come from: the agent's own directory, and what the policy names."""
        return (self.images_dir.as_uri(), *self.policy.image_prefixes)

    def look_every(self, queue: Queue) -> float:
        """Return the seconds between two looks at a store queue: a bell makes frequent looks needless."""
        if queue.look_every is not None:
            return queue.look_every
        if self.mqtt.url is not None:
            return LOOK_WITH_BELL
        return LOOK_AT_S3 if queue.url.startswith("s3:") else LOOK_AT_DIRECTORY

    def alone(self, queue: Queue) -> str | None:
        """Return what is to be said of a queue for many hosts whose results only this one sees; None of any other."""
        root = queue.results_root
        if not is_pubsub(queue.url) or not isinstance(root, Path) or not root.is_relative_to(self.state_dir):
            return None
        return f"{root} is on this host alone: no other one sees the attempts and commits of queue {queue.name}"

    def queue(self, name: str) -> Queue:
        """Return the queue called `name`. Raises InvalidInput naming the nearest one."""
        for queue in self.queues:
            if queue.name == name:
                return queue
        raise InvalidInput(f'no queue "{name}" is configured', hint=nearest(name, [each.name for each in self.queues]))


def completed(config: Config) -> Config:
    """Return the configuration with a results store below the state directory for each queue that may do without.

    Clients of StudioML know of none: what hosts note of their jobs matters to the hosts alone.
    """
    return msgspec.structs.replace(config, queues=tuple(_with_results(queue, config) for queue in config.queues))


def _with_results(queue: Queue, config: Config) -> Queue:
    if queue.results is not None or not is_pubsub(queue.url) or has_lanes(queue.url):
        return queue
    return msgspec.structs.replace(queue, results=str(config.state_dir / "results" / queue.name))


def root_of(url: str) -> Path | Bucket:
    """Return the directory or the place in S3 that `url` names. Raises InvalidInput."""
    return bucket_of(url) if url.startswith("s3:") else directory_of(url)


def directory_of(url: str) -> Path:
    """Return the directory that `url` names: "file:///srv/queue" or a plain absolute path.

    Raises InvalidInput for everything else.
    """
    parts = urlsplit(url) if ":" in url.partition("/")[0] else None
    if parts is None:
        path = url
    elif parts.scheme != "file":
        raise InvalidInput(
            f'scheme "{parts.scheme}" is not known', hint="known: file, s3, a queue's pubsub, or a plain absolute path"
        )
    elif parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise InvalidInput(f'"{url}" is no directory of this host', hint='write "file:///srv/queue"')
    else:
        path = unquote(parts.path)
    if not path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise InvalidInput(f'"{url}" is not an absolute path', hint='such as "/srv/queue" or "file:///srv/queue"')
    return Path(path)


def check(config: Config) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    _check_numbers(config)
    check_absolute("agent.state_dir", config.agent.state_dir)
    if config.agent.id is not None and not _QUEUE_NAME.fullmatch(config.agent.id.lower()):
        raise wrong("agent.id", config.agent.id, "letters, digits, '.', '_' and '-', at most 63")
    if config.runtime.path is not None:
        check_absolute("runtime.path", config.runtime.path)
    _check_known("runtime.emulate", config.runtime.emulate, ARCHITECTURES)
    _check_images(config.images)
    if config.retry.max < config.retry.first:
        raise wrong("retry.max", config.retry.max, f"at least retry.first, {config.retry.first:g} s")
    _check_gpus(config.resources.gpus)
    _check_queues(config.queues)
    check_s3(config.s3)
    check_policy(config.policy)
    check_signers(config.policy.signers, [queue.name for queue in config.queues])
    check_studioml(config.studioml)
    check_submit(config.submit)
    _check_gcs(config.gcs)
    _check_pubsub(config.pubsub)
    check_mqtt(config.mqtt)
    check_metrics(config.metrics)


def _check_numbers(config: Config) -> None:
    for section in ("agent", "resources", "policy", "retry", "mqtt"):
        for key, value in msgspec.structs.asdict(getattr(config, section)).items():
            _check_finite(f"{section}.{key}", value)
    for index, queue in enumerate(config.queues):
        _check_finite(f"queues[{index}].lease", queue.lease)
        _check_finite(f"queues[{index}].look_every", queue.look_every)


def _check_finite(key: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong(key, value, "a finite number")


def _check_known(key: str, values: Iterable[str], known: Iterable[str]) -> None:
    for index, value in enumerate(values):
        if value not in known:
            raise wrong(f"{key}[{index}]", value, nearest(value, known))


def _check_images(images: ImagesSection) -> None:
    if images.keys_dir is not None:
        check_absolute("images.keys_dir", images.keys_dir)
    elif images.signatures != "off":
        raise wrong("images.signatures", images.signatures, "with it images.keys_dir, where the public keys are")


def _check_queues(queues: tuple[Queue, ...]) -> None:
    lanes = [f"{arch}-{accel}" for arch in ("any", *ARCHITECTURES) for accel in ACCELERATORS]
    names: set[str] = set()
    roots: set[Path | Bucket] = set()
    for index, queue in enumerate(queues):
        key = f"queues[{index}]"
        if not _QUEUE_NAME.fullmatch(queue.name):
            raise wrong(f"{key}.name", queue.name, "lower-case letters, digits, '.', '_' and '-', at most 63")
        if queue.name in names:
            raise wrong(f"{key}.name", queue.name, "another queue has this name")
        if queue.lanes != ("*",):
            _check_known(f"{key}.lanes", queue.lanes, (*lanes, PLAIN) if is_pubsub(queue.url) else lanes)
        names.add(queue.name)
        _check_patterns(key, queue)
        if is_pubsub(queue.url):
            _check_pubsub_queue(key, queue, {each.url for each in queues[:index]})
            continue
        _check_roots(key, queue, roots)
        roots.add(queue.records_root)


def _check_patterns(key: str, queue: Queue) -> None:
    for name, pattern in (("match", queue.match), ("mismatch", queue.mismatch)):
        if pattern is None:
            continue
        if not is_project(queue.url):
            raise wrong(f"{key}.{name}", pattern, 'only with the url of a project, such as "pubsub://PROJECT/*"')
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise wrong(f"{key}.{name}", pattern, f"a regular expression; this one is none: {error}") from None


def _check_root(key: str, url: str) -> None:
    try:
        root_of(url)
    except InvalidInput as error:
        raise InvalidInput(f'{key} = "{url}": {error.what}', hint=error.hint) from None


def _check_roots(key: str, queue: Queue, taken: set[Path | Bucket]) -> None:
    _check_root(f"{key}.url", queue.url)
    if queue.results is not None:
        _check_root(f"{key}.results", queue.results)
    records, results = queue.records_root, queue.results_root
    if records in taken:
        raise wrong(f"{key}.url", queue.url, "another queue has this url")
    if f"{records}/".startswith(f"{results}/") or f"{results}/".startswith(f"{records}/"):
        raise wrong(f"{key}.results", queue.results, f"a directory apart from the queue's own records in {records}")


def _check_pubsub_queue(key: str, queue: Queue, taken: set[str]) -> None:
    try:
        project_of(queue.url) if is_project(queue.url) else place_of(queue.url)
    except InvalidInput as error:
        raise InvalidInput(f'{key}.url = "{queue.url}": {error.what}', hint=error.hint) from None
    if queue.url in taken:
        raise wrong(f"{key}.url", queue.url, "another queue has this url")
    if queue.results is None:
        hint = 'a queue with lanes needs a results store that all hosts reach, such as results = "file:///srv/results"'
        raise InvalidInput(f"{key}.results is not set", hint=hint)
    _check_root(f"{key}.results", queue.results)
    if not 10 <= queue.held_for <= 600:
        raise wrong(f"{key}.lease", queue.lease, "10 to 600 seconds: what Pub/Sub can do")


def _check_pubsub(pubsub: PubSubSection) -> None:
    if pubsub.credentials_file is not None:
        check_absolute("pubsub.credentials_file", pubsub.credentials_file)
    if pubsub.endpoint is not None and not _ENDPOINT.fullmatch(pubsub.endpoint):
        raise wrong("pubsub.endpoint", pubsub.endpoint, 'HOST:PORT of an emulator, such as "127.0.0.1:8085"')


def _check_gcs(gcs: GcsSection) -> None:
    if gcs.credentials_file is not None:
        check_absolute("gcs.credentials_file", gcs.credentials_file)
    if gcs.endpoint is not None and not _WEB.fullmatch(gcs.endpoint):
        raise wrong("gcs.endpoint", gcs.endpoint, 'the URL of an emulator, such as "http://127.0.0.1:4443"')


def _check_gpus(gpus: tuple[str, ...]) -> None:
    for index, gpu in enumerate(gpus):
        key = f"resources.gpus[{index}]"
        if gpu in (ALL_GPUS, NO_GPUS) and len(gpus) > 1:
            raise InvalidInput(f'{key} = "{gpu}" stands beside other GPUs', hint="write it alone, or UUIDs only")
        if not _GPU.fullmatch(gpu):
            raise InvalidInput(
                f'{key} = "{gpu}" is no UUID of a GPU', hint="`edge-agent probe --json` shows them as units"
            )


def defaults(state_dir: str) -> dict[str, Any]:
    """Return the raw layer below all others: what depends on the host or the user."""
    return {"agent": {"state_dir": state_dir}}


def embedded_queue(state_dir: str) -> dict[str, Any]:
    """Return the raw queue that there is when none is configured: a directory of this agent alone."""
    return {"name": "default", "url": f"{state_dir.rstrip('/')}/queues/default", "lanes": ["*"]}
