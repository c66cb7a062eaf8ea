"""The native job, `api = "edge-agent/v1"`: JSON on the wire, TOML for people."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec

from agent.errors import InvalidInput, JobError
from agent.model import schema
from agent.model.constraint import parse_constraint
from agent.model.units import Bytes, Seconds

API = "edge-agent/v1"
ARCHITECTURES = ("amd64", "arm64", "arm", "386", "ppc64le", "s390x", "riscv64")

Accel = Literal["none", "nvidia", "jetson"]
Count = Annotated[int, msgspec.Meta(ge=0)]
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of everything that comes from outside: immutable, unknown keys refused."""


class Image(Frozen, frozen=True):
    """One image: its URI, and the digest of its bytes when the submitter pinned it."""

    uri: str
    sha256: str | None = None


class Requires(Frozen, frozen=True):
    """What a host must have. cpus in cores (fractions allowed), memory and disk in bytes."""

    arch: tuple[str, ...] = ()
    accel: Accel | None = None
    cpus: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    memory: Bytes = 512 * 1024**2
    disk: Bytes = 1024**3
    gpus: Count = 0
    labels: dict[str, str] = {}
    where: tuple[str | tuple[str, ...], ...] = ()
    gpu_where: tuple[str | tuple[str, ...], ...] = ()


class Input(Frozen, frozen=True):
    """One artifact to fetch into `path` (below the job's directory), unpacked when asked."""

    uri: str
    path: str
    sha256: str | None = None
    unpack: bool = False


class Output(Frozen, frozen=True):
    """One file or directory to save. `uri` is where to publish it too; `every` saves it while running, too."""

    path: str
    uri: str | None = None
    when: Literal["always", "success"] = "always"
    every: Seconds | None = None


class Checkpoint(Frozen, frozen=True):
    """A path saved while the job runs and restored when it starts again, on whatever host."""

    path: str
    every: Seconds = 600.0


class Job(Frozen, frozen=True):
    """One piece of work as its submitter wrote it."""

    image: str | dict[str, str | dict[str, str]]
    api: Literal["edge-agent/v1"] = "edge-agent/v1"
    id: str | None = None
    name: str = "job"
    priority: int = 0
    labels: dict[str, str] = {}
    submitted_at: str | None = None
    expires: str | None = None
    command: tuple[str, ...] | None = None
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    workdir: str | None = None
    requires: Requires = Requires()
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    checkpoint: Checkpoint | None = None
    network: Literal["none", "host"] = "none"
    timeout: Seconds | None = None
    grace: Seconds = 10.0
    retries: Count = 0
    retry_on: tuple[int, ...] = ()

    @property
    def accel(self) -> Accel:
        """The kind of accelerator asked for: as written, else nvidia when there are gpus, else none."""
        return self.requires.accel or ("nvidia" if self.requires.gpus else "none")

    def image_for(self, arch: str) -> Image | None:
        """Return the image to run on `arch`, or None when the job has none for it."""
        entry: str | dict[str, str] | None
        if isinstance(self.image, str):
            entry = self.image
        elif "uri" in self.image:
            entry = {key: str(value) for key, value in self.image.items()}
        else:
            entry = self.image.get(arch)
        if entry is None:
            return None
        image = Image(entry) if isinstance(entry, str) else Image(entry["uri"], entry.get("sha256"))
        return Image(image.uri.replace("{arch}", arch), image.sha256)

    @property
    def architectures(self) -> tuple[str, ...]:
        """The architectures that the job allows: those of `requires` that it has an image for; empty = any."""
        if isinstance(self.image, str) or "uri" in self.image:
            return self.requires.arch
        return tuple(arch for arch in self.image if not self.requires.arch or arch in self.requires.arch)

    @property
    def lane(self) -> tuple[str, str]:
        """The one lane of the job: (architecture or "any", accelerator)."""
        return (self.architectures[0] if len(self.architectures) == 1 else "any", self.accel)


def parse_job(raw: Mapping[str, Any]) -> Job:
    """Return the job that `raw` (a decoded JSON or TOML table) describes.

    Raises JobError for unknown keys, wrong types and broken rules; the message names key and value.
    """
    if raw.get("api", API) != API:
        raise JobError(f'api = "{raw["api"]}" is not understood', hint=f'this agent speaks "{API}"')
    try:
        job = schema.read(Job, raw)
        _check(job)
    except InvalidInput as error:
        raise JobError(error.what, hint=error.hint) from None
    return job


def _check(job: Job) -> None:
    _check_names(job)
    _check_images(job)
    _check_paths(job)
    for group in (*job.requires.where, *job.requires.gpu_where):
        for text in (group,) if isinstance(group, str) else group:
            parse_constraint(text)
    if job.command is not None and not job.command:
        raise InvalidInput("command = []: an empty command", hint="leave it out to run the image's runscript")
    if not math.isfinite(job.requires.cpus):
        raise InvalidInput(f"requires.cpus = {job.requires.cpus}: not a number of cores")


def _check_names(job: Job) -> None:
    if job.id is not None and not _ID.fullmatch(job.id):
        raise InvalidInput(f'id = "{job.id}"', hint="letters, digits, '.', '_' and '-', at most 100")
    for name, value in job.env.items():
        if not _ENV_NAME.fullmatch(name):
            raise InvalidInput(
                f'env: "{name}" is not a name', hint="letters, digits and '_', not starting with a digit"
            )
        if "\0" in value:
            raise InvalidInput(f"env.{name}: a value with a NUL byte")
    for arch in job.requires.arch:
        if arch not in ARCHITECTURES:
            raise InvalidInput(f'requires.arch: "{arch}" is unknown', hint="known: " + ", ".join(ARCHITECTURES))
    if any("\0" in word for word in job.command or ()):
        raise InvalidInput("command: a word with a NUL byte")


def _check_images(job: Job) -> None:
    if isinstance(job.image, dict) and "uri" not in job.image:
        unknown = [arch for arch in job.image if arch not in ARCHITECTURES]
        if unknown or not job.image:
            raise InvalidInput(
                f"image: {', '.join(unknown) or 'an empty table'}", hint="architectures: " + ", ".join(ARCHITECTURES)
            )
        for arch, entry in job.image.items():
            if isinstance(entry, dict):
                _check_image_table(f"image.{arch}", entry)
    elif isinstance(job.image, dict):
        _check_image_table("image", job.image)
    for arch in job.architectures or ARCHITECTURES[:1]:
        image = job.image_for(arch)
        if image is None or not re.match(r"[a-z][a-z0-9+.-]*:", image.uri):
            raise InvalidInput(f'image = "{image and image.uri}": not a URI', hint='such as "file:///srv/images/a.sif"')


def _check_image_table(path: str, table: Mapping[str, object]) -> None:
    unknown = sorted(set(table) - {"uri", "sha256"})
    if unknown or not isinstance(table.get("uri"), str):
        raise InvalidInput(f"{path}: {', '.join(unknown) or 'no uri'}", hint='write {uri = "...", sha256 = "..."}')
    _check_digest(f"{path}.sha256", table.get("sha256"))


def _check_digest(path: str, digest: object) -> None:
    if digest is not None and not (isinstance(digest, str) and _SHA256.fullmatch(digest)):
        raise InvalidInput(f'{path} = "{digest}": not a SHA-256', hint="64 lower-case hexadecimal digits")


def _check_paths(job: Job) -> None:
    for index, item in enumerate(job.inputs):
        _check_path(f"inputs[{index}].path", item.path)
        _check_digest(f"inputs[{index}].sha256", item.sha256)
    for index, output in enumerate(job.outputs):
        _check_path(f"outputs[{index}].path", output.path)
    if len({output.path for output in job.outputs}) != len(job.outputs):
        raise InvalidInput("outputs: the same path twice")
    if job.checkpoint is not None:
        _check_path("checkpoint.path", job.checkpoint.path)
    if job.workdir is not None:
        _check_path("workdir", job.workdir)


def _check_path(key: str, path: str) -> None:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\n" in path:
        raise InvalidInput(f'{key} = "{path}"', hint="a path below the job's directory, such as data/train.csv")
