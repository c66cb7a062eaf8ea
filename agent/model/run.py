"""What is run, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec


class ContainerRun(msgspec.Struct, frozen=True):
    """One container to run. Directories are absolute host paths; sizes in bytes, durations in seconds.

    homes: variables that get the home directory as the payload sees it. An `image` that is a directory is a Python
    virtual environment: the command runs in it without a container.
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


class Exit(msgspec.Struct, frozen=True):
    """How a container ended. why: "exited", or who ended it; started: whether the payload ever ran."""

    exit_code: int | None
    signal: int | None
    why: str
    started: bool
    started_at: float | None
    ended_at: float | None
    error: str | None = None


class RunStatus(msgspec.Struct, frozen=True):
    """phase: absent (never started here), running, exited (with `exit`), lost (nobody saw its end)."""

    phase: str
    exit: Exit | None = None


ABSENT = RunStatus("absent")
RUNNING = RunStatus("running")
LOST = RunStatus("lost")
