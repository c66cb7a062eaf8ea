"""Under what circumstances a message is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from agent.signing import UNJUDGED, Signing


class Keys(Protocol):
    """Keys of senders and of this agent, chosen by the longest prefix of a queue's name. None = there is none.

    Keys are opaque here; agent.studioml.envelope knows what they are. Raises HostFault for a key that is configured
    and cannot be read: the host is at fault then, not the message.
    """

    def opening(self, queue: str) -> object | None:
        """Return the private RSA key that opens messages of the queue."""

    def signer(self, queue: str) -> bytes | None:
        """Return the Ed25519 public key (32 bytes) of those who may submit to the queue."""

    def reports(self, queue: str) -> object | None:
        """Return the public RSA key by which reports to the queue's senders are sealed."""


class NoKeys:
    """Keys where the operator has configured none."""

    def opening(self, queue: str) -> object | None:
        """See Keys."""
        return None

    def signer(self, queue: str) -> bytes | None:
        """See Keys."""
        return None

    def reports(self, queue: str) -> object | None:
        """See Keys."""
        return None


class Rules(msgspec.Struct, frozen=True):
    """What the operator allows and wants of StudioML messages.

    require_signature: of envelopes; without it a signature that is there must still be right. allow_clear_text:
    requests outside an envelope. network: of all StudioML jobs. retries: after a failed run. environment: values for
    %NAME% in a client's variables. agent_access: S3 artifacts without rights of their own are fetched by the agent's.
    """

    require_signature: bool = True
    allow_clear_text: bool = True
    network: str = "none"
    retries: int = 0
    agent_access: bool = False
    environment: Mapping[str, str] = {}


class Reading(msgspec.Struct, frozen=True):
    """The circumstances of one message.

    queue: the name that keys are chosen by ("jobs" for the subscription jobs_sub). now: seconds since the epoch, None
    = no message is too old. attempt: the number of the attempt that the job is read for. gpus: names of the cards of
    this host that jobs may use. signing: what is wanted of native jobs.
    """

    queue: str = ""
    now: float | None = None
    attempt: int = 1
    gpus: tuple[str, ...] = ()
    rules: Rules = Rules()
    keys: Keys = NoKeys()
    signing: Signing = Signing()


ANYWHERE = Reading(signing=UNJUDGED)
