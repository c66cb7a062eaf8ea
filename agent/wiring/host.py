"""This host as the configuration wants it: its runtime, its profile, its share, its policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.adapters.host import LiveHost, find_runtime
from agent.adapters.local_image import build_image
from agent.config import Config
from agent.errors import HostFault, RuntimeUnavailable, Unavailable
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities, Problem
from agent.model.cargo import VENV_IMAGE
from agent.model.share import Share
from agent.probes import probe_host

if TYPE_CHECKING:
    pass


def runtime_path(config: Config) -> str | None:
    """Return the program of the container runtime: as configured, else the first one on PATH."""
    return find_runtime(_configured_runtime(config))


def _configured_runtime(config: Config) -> Path | None:
    return None if config.runtime.path is None else Path(config.runtime.path)


def probe(config: Config, problems: Sequence[Problem] = ()) -> Capabilities:
    """Return what this host is; `problems` are known from elsewhere."""
    return probe_host(live_host(config), config.labels, config.agent.id, problems)


def live_host(config: Config) -> LiveHost:
    """Return this machine, as probes and checks see it."""
    return LiveHost(state_dir=config.state_dir, runtime=_configured_runtime(config))


def record(config: Config, directory: Path) -> tuple[Capabilities, int]:
    """Record this host into `directory`; return its profile as the recording has it, and the number of files.

    Labels and id of the configuration are no part of it. Raises InvalidInput when the directory is not empty.
    """
    from agent.adapters.recording import Recording, prepare

    prepare(directory)
    recording = Recording(live_host(config))
    profile = probe_host(recording)
    return profile, recording.save(directory)


def share_of(config: Config, profile: Capabilities) -> Share:
    """Return what of the host the agent may give: what the configuration says, else all but the reserves.

    No GPU is among it yet: a job must see exactly the units it was granted, and nothing binds them so far.
    """
    wanted, memory, storage = config.resources, profile.memory.effective_bytes, profile.storage.total_bytes
    return Share(
        wanted.cpus if wanted.cpus is not None else profile.cpu.effective or 1.0,
        wanted.memory if wanted.memory is not None else max(0, (memory or 0) - wanted.memory_reserve),
        wanted.disk if wanted.disk is not None else max(0, (storage or 0) - wanted.disk_reserve),
    )


def match_policy(config: Config) -> MatchPolicy:
    """Return what the operator allows, as matching wants it."""
    policy = config.policy
    # Environments without a container are an image of their own kind: allowed or not as any other.
    environments = (VENV_IMAGE,) if config.studioml.trusted else ()
    return MatchPolicy(
        emulate=config.runtime.emulate,
        secrets=frozenset(policy.secrets),
        network_host=policy.network_host,
        image_prefixes=(*policy.image_prefixes, *environments),
        input_prefixes=policy.input_prefixes,
        output_prefixes=policy.output_prefixes,
        brought_prefixes=policy.brought_prefixes,
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


def build_canary_image(config: Config, target: Path) -> None:
    """Build a tiny image to try the runtime with. Raises RuntimeUnavailable."""
    program = runtime_path(config)
    if program is None:
        raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
    build_image(target, program)
