"""Signatures of native jobs: whose are taken ([policy.signers]), and by which key `submit` signs ([submit])."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from agent.errors import InvalidInput, nearest
from agent.signing import load_signer


class SignerSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One whose jobs run here: a file with the public key, or the key itself, a line of OpenSSH; queues () = all."""

    file: str | None = None
    key: str | None = None
    queues: tuple[str, ...] = ()


class SubmitSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How `edge-agent submit` signs. sign_key_file None = not at all; signer None = the fingerprint of the key."""

    sign_key_file: str | None = None
    signer: str | None = None


def check_signers(signers: Mapping[str, SignerSection], queues: Collection[str]) -> None:
    """Check what types cannot say. queues: the names of all.

    Raises InvalidInput whose text begins with the key at fault.
    """
    for name, signer in signers.items():
        key = f"policy.signers.{name}"
        if (signer.file is None) == (signer.key is None):
            hint = 'write {file = "/path/NAME.pub"} or {key = "ssh-ed25519 AAAA..."}'
            raise InvalidInput(f"{key}: names no key or two", hint=hint)
        if signer.file is not None and not _is_absolute(signer.file):
            raise InvalidInput(f'{key}.file = "{signer.file}"', hint="an absolute path")
        if signer.key is not None:
            _check_line(f"{key}.key", signer.key)
        for index, queue in enumerate(signer.queues):
            if queue not in queues:
                raise InvalidInput(f'{key}.queues[{index}] = "{queue}"', hint=nearest(queue, queues))


def _check_line(key: str, line: str) -> None:
    try:
        load_signer(line.encode())
    except InvalidInput as error:
        raise InvalidInput(f"{key}: {error.what}", hint=error.hint) from None


def check_submit(section: SubmitSection) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    if section.sign_key_file is not None and not _is_absolute(section.sign_key_file):
        raise InvalidInput(f'submit.sign_key_file = "{section.sign_key_file}"', hint="an absolute path")


def _is_absolute(path: str) -> bool:
    return path.startswith("/") and "\0" not in path
