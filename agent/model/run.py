"""What is run, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.model.usage import Usage


class Mount(msgspec.Struct, frozen=True):
    """A file or folder of the host that a container sees at `target`; both are absolute paths."""

    source: str
    target: str
    writable: bool = False


class Devices(msgspec.Struct, frozen=True):
    """What a job was granted of the host's hardware: device nodes by their paths, mounts, and variables."""

    nodes: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = {}


NO_DEVICES = Devices()


class ContainerRun(msgspec.Struct, frozen=True):
    """One container to run. Directories are absolute host paths; sizes in bytes, durations in seconds.

    homes: variables that get the home directory as the payload sees it. An `image` that is a directory is a Python
    virtual environment: the command runs in it without a container. Of `devices` it gets the variables only.
    disk: what may lie in home and temporary directories together.
    """

    attempt_id: str
    directory: Path
    image: Path
    command: tuple[str, ...] | None
    env: Mapping[str, str]
    home: Path
    workdir: str
    network: str
    cpus: float
    memory: int
    timeout: float | None
    grace: float
    log: Path
    secrets: Path | None = None
    log_limit: int = 256 * 1024**2
    homes: tuple[str, ...] = ()
    devices: Devices = NO_DEVICES
    disk: int | None = None


class Exit(msgspec.Struct, frozen=True):
    """How a container ended. why: "exited", or who ended it; started: whether the payload ever ran.

    usage: what it used, as far as that was measured.
    """

    exit_code: int | None
    signal: int | None
    why: str
    started: bool
    started_at: float | None
    ended_at: float | None
    error: str | None = None
    usage: Usage | None = None


class RunStatus(msgspec.Struct, frozen=True):
    """phase: absent (never started here), running, exited (with `exit`), lost (nobody saw its end)."""

    phase: str
    exit: Exit | None = None


ABSENT = RunStatus("absent")
RUNNING = RunStatus("running")
LOST = RunStatus("lost")
