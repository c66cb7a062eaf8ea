"""This host as the configuration wants it: its runtime, its profile, its share, its policy."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from agent.adapters.host import LiveHost, find_runtime
from agent.adapters.local_image import build_image
from agent.config import Config
from agent.config.credentials import credential_path
from agent.config.sections import ALL_GPUS
from agent.errors import HostFault, RuntimeUnavailable, Unavailable
from agent.lanes import lanes_served
from agent.matching import MatchPolicy
from agent.model.capabilities import Capabilities, Gpu, Problem
from agent.model.cargo import VENV_IMAGE
from agent.model.share import Share
from agent.ports import Runtime
from agent.probes import probe_host


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
    """Return what of the host the agent may give: what the configuration says, else all but the reserves."""
    wanted, memory, storage = config.resources, profile.memory.effective_bytes, profile.storage.total_bytes
    return Share(
        wanted.cpus if wanted.cpus is not None else profile.cpu.effective or 1.0,
        wanted.memory if wanted.memory is not None else max(0, (memory or 0) - wanted.memory_reserve),
        wanted.disk if wanted.disk is not None else max(0, (storage or 0) - wanted.disk_reserve),
        given_units(wanted.gpus, profile.gpus or ()),
    )


def given_units(wanted: Collection[str], gpus: Iterable[Gpu]) -> tuple[str, ...]:
    """Return the units of usable GPUs that the configuration gives: named themselves, or by their GPU."""
    everything = ALL_GPUS in wanted
    usable = [gpu for gpu in gpus if gpu.usable]
    return tuple(unit for gpu in usable for unit in gpu.units if everything or {unit, gpu.uuid} & set(wanted))


def lanes_of(config: Config, profile: Capabilities) -> tuple[str, ...]:
    """Return the lanes that this host serves unless it is told others: none of accelerators that it does not give."""
    given = profile if share_of(config, profile).gpus else msgspec.structs.replace(profile, gpus=(), jetson=None)
    return lanes_served(given, config.runtime.emulate)


def match_policy(config: Config) -> MatchPolicy:
    """Return what the operator allows, as matching wants it."""
    policy = config.policy
    # Environments without a container are an image of their own kind: allowed or not as any other.
    environments = (VENV_IMAGE,) if config.studioml.trusted else ()
    return MatchPolicy(
        emulate=config.runtime.emulate,
        secrets=frozenset(policy.secrets),
        network_host=policy.network_host,
        image_prefixes=(*config.image_prefixes, *environments),
        input_prefixes=policy.input_prefixes,
        output_prefixes=policy.output_prefixes,
        brought_prefixes=policy.brought_prefixes,
        max_timeout=policy.max_timeout,
        max_cpus=policy.max_cpus,
        max_memory=policy.max_memory,
        max_disk=policy.max_disk,
        max_gpus=policy.max_gpus,
        images_dir=str(config.images_dir),
    )


def secret_reader(config: Config, environ: Mapping[str, str]) -> Callable[[str], str]:
    """Return a function from the name of a secret to its value; it raises HostFault when there is none."""

    def value(name: str) -> str:
        secret = config.policy.secrets[name]
        if secret.env is not None:
            if secret.env not in environ:
                raise HostFault(f"secret {name}: the agent has no variable {secret.env}")
            return environ[secret.env]
        file = Path(secret.file or "") if secret.credential is None else credential_path(secret.credential, environ)
        try:
            return file.read_text(encoding="utf-8")
        except OSError as error:
            raise HostFault(f"secret {name}: {file}: {error.strerror}") from None

    return value


def free_disk(config: Config) -> int:
    """Return the bytes that jobs may still write below the state directory (or where it will be made)."""
    info = os.statvfs(next(each for each in (config.state_dir, *config.state_dir.parents) if each.exists()))
    return info.f_bavail * info.f_frsize - config.resources.disk_reserve


def prepare_state_dir(config: Config) -> None:
    """Make the state directory and that of its images, for their owner alone. Raises Unavailable."""
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.images_dir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"{config.state_dir}: {error.strerror}; choose another one with --state-dir") from None


def build_canary_image(config: Config, target: Path) -> None:
    """Build a tiny image to try the runtime with. Raises RuntimeUnavailable."""
    program = runtime_path(config)
    if program is None:
        raise RuntimeUnavailable("no apptainer or singularity on PATH; install it or set runtime.path")
    build_image(target, program)


def run_trial(config: Config, runtime: Runtime, state_dir: Path) -> str:
    """Run a tiny job below the state directory the way this host runs jobs. Raises EdgeAgentError when that fails.

    Returns its log, with /proc/self/status as the job sees it.

    That is in a container; without one where there is no runtime, and jobs may run as plain processes.
    """
    from agent.canary import run_canary

    if runtime_path(config) is None and config.studioml.trusted:
        return run_canary(runtime, state_dir, Path.mkdir, "canary-environment")
    return run_canary(runtime, state_dir, partial(build_canary_image, config))
