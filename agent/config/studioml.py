"""The section [studioml]: how messages of StudioML clients are read and run."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from agent.errors import InvalidInput

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StudioMLSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the operator allows and wants of StudioML messages.

    trusted: jobs without an image run in a Python virtual environment on this host, without a container.
    allow_clear_text: requests outside an envelope are taken. require_signature: envelopes without a signature are
    refused. keys_dir: the keys of senders and of this agent. network: of all StudioML jobs. retries: runs after a
    failed one. agent_access: artifacts on the agent's own S3 server that come without rights are fetched by its own.
    environment: what %NAME% in a client's variables is replaced by.
    """

    trusted: bool = False
    allow_clear_text: bool = True
    require_signature: bool = True
    keys_dir: str = "/etc/edge-agent/studioml"
    network: Literal["none", "host"] = "none"
    retries: Annotated[int, msgspec.Meta(ge=0)] = 0
    agent_access: bool = False
    environment: dict[str, str] = {}


def check_studioml(section: StudioMLSection) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    if not section.keys_dir.startswith("/") or "\0" in section.keys_dir:
        raise InvalidInput(f'studioml.keys_dir = "{section.keys_dir}"', hint="an absolute path")
    for name in section.environment:
        if not _NAME.fullmatch(name):
            hint = "letters, digits and '_', not starting with a digit"
            raise InvalidInput(f'studioml.environment: "{name}" is no name of a variable', hint=hint)
