"""The section [policy]: what jobs may ask for."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

from agent.config.base import PositiveSeconds, Section, check_absolute, wrong
from agent.config.credentials import check_credential
from agent.config.signing import SignerSection
from agent.errors import InvalidInput
from agent.model.units import Bytes

_SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PREFIX = re.compile(r"[a-z][a-z0-9+.-]*://\S*")


class Secret(Section, frozen=True):
    """Where one secret is read when a job needs it: a file, a variable of the agent, or a credential of its service.

    Never its value.
    """

    file: str | None = None
    env: str | None = None
    credential: str | None = None


class PolicySection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What jobs may ask for. A prefix allows every URI below it; no prefix allows none.

    image_prefixes: besides the agent's own folder, Config.images_dir. brought_prefixes: artifacts and images on which a
    message brings rights of its own, anonymous access included. image_overlay: images may have a partition that is laid
    over their root file system.
    require_signed: of native jobs. max_*: the most that one job may ask for, None = any.
    """

    image_prefixes: tuple[str, ...] = ()
    input_prefixes: tuple[str, ...] = ()
    output_prefixes: tuple[str, ...] = ()
    brought_prefixes: tuple[str, ...] = ()
    image_overlay: bool = False
    secrets: dict[str, Secret] = {}
    network_host: bool = False
    max_timeout: PositiveSeconds | None = None
    max_cpus: Annotated[float, msgspec.Meta(gt=0)] | None = None
    max_memory: Bytes | None = None
    max_disk: Bytes | None = None
    max_gpus: Annotated[int, msgspec.Meta(ge=0)] | None = None
    require_signed: bool = False
    signers: dict[str, SignerSection] = {}


def check_policy(policy: PolicySection) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    for kind in ("image_prefixes", "input_prefixes", "output_prefixes", "brought_prefixes"):
        for index, prefix in enumerate(getattr(policy, kind)):
            if not _PREFIX.fullmatch(prefix):
                raise wrong(f"policy.{kind}[{index}]", prefix, 'a URI, such as "file:///srv/data/"')
    for name, secret in policy.secrets.items():
        _check_secret(name, secret)


def _check_secret(name: str, secret: Secret) -> None:
    key = f"policy.secrets.{name}"
    if not _SECRET_NAME.fullmatch(name):
        raise InvalidInput(
            f"{key}: not a name of a variable", hint="letters, digits and '_', not starting with a digit"
        )
    if len([each for each in (secret.file, secret.env, secret.credential) if each is not None]) != 1:
        hint = 'write {file = "/path"}, {env = "NAME"} or {credential = "NAME"}'
        raise InvalidInput(f"{key}: names no source or two", hint=hint)
    if secret.file is not None:
        check_absolute(f"{key}.file", secret.file)
    if secret.credential is not None:
        check_credential(f"{key}.credential", secret.credential)
