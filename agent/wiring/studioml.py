"""StudioML as the configuration wants it: rules, keys, what reads a message, who observes its attempts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.adapters.key_files import KeyFiles
from agent.adapters.signer_files import ConfiguredSigners
from agent.config import Config
from agent.model.capabilities import Capabilities
from agent.signing import Signing
from agent.studioml.reading import Keys, Reading, Rules

if TYPE_CHECKING:
    from agent.matching import MatchPolicy
    from agent.ports import ArtifactAccess, Clock, Senders
    from agent.studioml.observer import StudioObservers


def rules_of(config: Config) -> Rules:
    """Return what the operator allows and wants.

    Where native jobs must be signed, messages of another form must be, too: either comes on any queue.
    """
    section, signed = config.studioml, config.policy.require_signed
    return Rules(
        require_signature=section.require_signature or signed,
        allow_clear_text=section.allow_clear_text and not signed,
        network=section.network,
        retries=section.retries,
        agent_access=section.agent_access,
        environment=section.environment,
    )


def keys_of(config: Config) -> Keys:
    """Return the keys of senders and of this agent."""
    return KeyFiles(Path(config.studioml.keys_dir))


def reading_of(config: Config, keys: Keys, queue: str, name: str) -> Reading:
    """Return how messages of a queue are read; queue: its name as clients say it, name: as this host does."""
    return Reading(queue=queue, rules=rules_of(config), keys=keys, signing=signing_of(config, name))


def signing_of(config: Config, name: str) -> Signing:
    """Return what is wanted of native jobs on a queue; one that was found has the name of its project's before ":"."""
    policy = config.policy
    return Signing(policy.require_signed, ConfiguredSigners(policy.signers), name.partition(":")[0])


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
