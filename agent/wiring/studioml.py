"""StudioML as the configuration wants it: rules, keys, what reads a message, who observes its attempts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.key_files import KeyFiles
from agent.config import Config
from agent.model.capabilities import Capabilities
from agent.studioml.reading import Keys, Reading, Rules

if TYPE_CHECKING:
    from agent.matching import MatchPolicy
    from agent.ports import ArtifactAccess, Clock, Senders
    from agent.studioml.observer import StudioObservers


def rules_of(config: Config) -> Rules:
    """Return what the operator allows and wants."""
    section = config.studioml
    return Rules(
        require_signature=section.require_signature,
        allow_clear_text=section.allow_clear_text,
        network=section.network,
        retries=section.retries,
        agent_access=section.agent_access,
        environment=section.environment,
    )


def keys_of(config: Config) -> Keys:
    """Return the keys of senders and of this agent."""
    return KeyFiles(Path(config.studioml.keys_dir))


def reading_of(config: Config, keys: Keys, queue: str) -> Reading:
    """Return how messages of a queue are read; queue: its name as clients say it."""
    return Reading(queue=queue, rules=rules_of(config), keys=keys)


def cards_of(profile: Capabilities) -> tuple[str, ...]:
    """Return the names of the GPUs that jobs may use."""
    return tuple(gpu.name or "" for gpu in profile.gpus or () if gpu.usable)


def observers_of(
    access: ArtifactAccess,
    policy: MatchPolicy,
    clock: Clock,
    host: str,
    keys: Keys,
    senders: Callable[[str], Senders | None],
) -> StudioObservers:
    """Return who observes StudioML attempts. senders: of a queue by its name here, None where there are none."""
    from agent.studioml.observer import StudioObservers

    return StudioObservers(access, policy, clock, host, keys, senders, _seal)


def _seal(key: Any, clear: bytes) -> str:
    """Sealing loads a library of several MiB: not before there is something to seal."""
    from agent.studioml.envelope import seal

    return seal(key, clear)
