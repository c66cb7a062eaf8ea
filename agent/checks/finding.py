"""What checks look at, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from agent.board import Mode
from agent.model.capabilities import Capabilities, Problem
from agent.ports import ArtifactStore, Host, RecordStore

Status = Literal["ok", "warning", "failure"]


class Finding(msgspec.Struct, frozen=True):
    """The answer of one check. remedy is empty where nothing is wrong."""

    check: str
    status: Status
    message: str
    remedy: str = ""


def good(check: str, message: str) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(check, "ok", message)


def doubtful(check: str, message: str, remedy: str) -> Finding:
    """Return the finding of a check that passed with a doubt."""
    return Finding(check, "warning", message, remedy)


def failed(check: str, message: str, remedy: str = "") -> Finding:
    """Return the finding of a check that failed."""
    return Finding(check, "failure", message, remedy)


@dataclass(frozen=True)
class Bench:
    """What the checks may touch. Callables raise EdgeAgentError; they are called only by their check.

    prepare: makes the state directory. free_disk: bytes above the reserve. canary: runs a tiny container, and
    returns its log with /proc/self/status as it is there.
    records: per name of a queue in a store, the records of its jobs. queues: per name of any other queue, a function
    that tries the rights to pull and to publish. results: per name of a queue, the records of its results;
    results_roots: their URIs. store_problems: what the stores do not keep of their promises.
    broker: connects and publishes, None where none is configured.
    clocks: per name of a server, its clock minus ours in seconds. emulate: architectures that the configuration wants.
    mode: that of the agent that runs here, None when none answers. trusted: jobs may run without a container.
    """

    state_dir: Path
    host: Host
    profile: Capabilities
    prepare: Callable[[], None]
    free_disk: Callable[[], int]
    canary: Callable[[], str]
    artifacts: Callable[[], ArtifactStore]
    records: Mapping[str, Callable[[], RecordStore]] = field(default_factory=dict)
    queues: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    results: Mapping[str, Callable[[], RecordStore]] = field(default_factory=dict)
    results_roots: Mapping[str, str] = field(default_factory=dict)
    store_problems: Callable[[], Sequence[Problem]] = tuple
    broker: Callable[[], None] | None = None
    clocks: Mapping[str, Callable[[], float]] = field(default_factory=dict)
    emulate: Sequence[str] = ()
    mode: Callable[[], Mode | None] = lambda: None
    trusted: bool = False
