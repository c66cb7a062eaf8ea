"""Native jobs that travel signed: whoever may write to a queue is not yet somebody whose jobs may run. Pure.

    {"api": "edge-agent/v1", "payload": "{\"api\": ..}", "key_id": "alice", "signature": "BASE64"}

payload is the job as JSON text; the signature is Ed25519 over the UTF-8 bytes of that text, 64 bytes in base64. What is
verified is what is decoded: exactly these bytes are read as the job. key_id names the signer as the operator of a host
does, or by the fingerprint of the key as ssh-keygen shows it ("SHA256:..."); it only says which key to try.

The libraries behind it are loaded by the first signature: most agents never see one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agent.errors import InvalidInput, JobError
from agent.model.job import API

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_BYTES = 64
_KEY_BYTES = 32
_SSH_KIND = b"ssh-ed25519"
_KEYS = frozenset({"api", "payload", "key_id", "signature"})
_FORM = "a signed job has api, payload, key_id and signature, all of them texts, and nothing else"
_SIGNER_HINT = 'one line such as "ssh-ed25519 AAAA... comment", as "ssh-keygen -t ed25519" writes it into a .pub file'
_PRIVATE_HINT = 'an Ed25519 key without passphrase, as `ssh-keygen -t ed25519 -N "" -f KEY` makes it'


class Signer(msgspec.Struct, frozen=True):
    """Somebody whose jobs run. key: the 32 bytes of a public key; queues: names of those it may use, () = all."""

    key: bytes
    queues: tuple[str, ...] = ()


class Signers(Protocol):
    """Those whose jobs run."""

    def find(self, key_id: str) -> Signer | None:
        """Return who is called so, or has a key with this fingerprint; None where there is nobody.

        Raises HostFault for a key that is configured and cannot be read: the host is at fault then, not the message.
        """


class Nobody:
    """Signers where the operator has named none."""

    def find(self, key_id: str) -> Signer | None:
        """See Signers."""
        return None


class Signing(msgspec.Struct, frozen=True):
    """What is wanted of native jobs. A signature that is there must be right even where none is required.

    required: unsigned ones never run. queue: the name of the queue here. judged: False = tell who is said to have
    signed, as for somebody who only looks at a message.
    """

    required: bool = False
    signers: Signers = Nobody()
    queue: str = ""
    judged: bool = True


UNJUDGED = Signing(judged=False)


def is_signed(table: Mapping[str, Any]) -> bool:
    """Say whether a native message carries its job inside a signature."""
    return "payload" in table


def opened(table: Mapping[str, Any], signing: Signing) -> tuple[bytes, str]:
    """Return the job as JSON text in UTF-8, and the key_id of its signer.

    Raises JobError for a message that is not signed as it has to be; HostFault for a key that cannot be read.
    """
    if set(table) != _KEYS or not all(isinstance(table[key], str) for key in _KEYS):
        raise JobError("a signed job of another form", hint=_FORM)
    if table["api"] != API:
        raise JobError(f'api = "{table["api"]}"', hint=f'a signed job says "api": "{API}"')
    payload, key_id = table["payload"].encode(), table["key_id"]
    signature = _signature(table["signature"])
    if signing.judged:
        _judge(payload, signature, key_id, signing)
    return payload, key_id


def _judge(payload: bytes, signature: bytes, key_id: str, signing: Signing) -> None:
    shown = json.dumps(key_id if len(key_id) <= 100 else key_id[:97] + "...", ensure_ascii=False)
    signer = signing.signers.find(key_id)
    if signer is None:
        raise JobError(f"a job signed by {shown}, whom this host does not know", hint="known are [policy.signers]")
    if not verified(payload, signature, signer.key):
        hint = "the job was changed, or signed with another key"
        raise JobError(f"the signature of {shown} is not that of the key in [policy.signers]", hint=hint)
    if signer.queues and signing.queue not in signer.queues:
        allowed = ", ".join(signer.queues)
        hint = f"[policy.signers] allows it on: {allowed}"
        raise JobError(f'a job signed by {shown}, who may not use the queue "{signing.queue}"', hint=hint)


def refuse_unsigned(signing: Signing) -> None:
    """Raise JobError where an unsigned job must not run."""
    if signing.judged and signing.required:
        raise JobError(
            "a job without a signature", hint="this host runs signed ones only: [policy] require_signed = true"
        )


def _signature(text: str) -> bytes:
    try:
        raw = unwrapped(text)
        if len(raw) != SIGNATURE_BYTES:
            raise ValueError
    except ValueError:
        raise JobError(
            "the signature of a job is no Ed25519 signature in base64", hint=f"{SIGNATURE_BYTES} bytes"
        ) from None
    return raw


def verified(text: bytes, signature: bytes, key: bytes) -> bool:
    """Say whether the signature (64 bytes) is that of the public key (32 bytes) over the text."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(key).verify(text, signature)
    except BadSignatureError:
        return False
    return True


def unwrapped(text: object) -> bytes:
    """Return what is in base64, written in the one way there is. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("not a text")
    content = base64.b64decode(text, validate=True)
    if base64.b64encode(content).decode() != text:
        raise ValueError("not as an encoder writes it")
    return content


# --- the submitter's end --------------------------------------------------------------------------------------------


class Signature:
    """Signs jobs with one private key; key_id None = the key's fingerprint."""

    def __init__(self, key: Ed25519PrivateKey, key_id: str | None = None) -> None:
        self._key = key
        self.key_id = key_id or fingerprint(key.public_key().public_bytes_raw())

    def sign(self, job: bytes) -> bytes:
        """Return the message that a job (JSON in UTF-8) travels in."""
        signature = base64.b64encode(self._key.sign(job)).decode()
        table = {"api": API, "payload": job.decode(), "key_id": self.key_id, "signature": signature}
        return json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()


def load_private(content: bytes, key_id: str | None = None) -> Signature:
    """Return what signs with the Ed25519 key in a file of OpenSSH, or in PEM form. Raises InvalidInput."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        key = load(content, None)
    except TypeError:
        raise InvalidInput("a private key with a passphrase", hint=_PRIVATE_HINT) from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput("no private key that can be read", hint=_PRIVATE_HINT) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput("a private key of another kind", hint=_PRIVATE_HINT)
    return Signature(key, key_id)


# --- public keys ----------------------------------------------------------------------------------------------------


def load_signer(line: bytes) -> bytes:
    """Return the 32 bytes of the Ed25519 key in a line of OpenSSH. Raises InvalidInput."""
    words = line.split(maxsplit=2)
    try:
        if words[0] != _SSH_KIND or len(line.strip().splitlines()) != 1:
            raise ValueError("not one line of this kind")
        kind, key = ssh_strings(unwrapped(words[1].decode("ascii")))
        if kind != _SSH_KIND or len(key) != _KEY_BYTES:
            raise ValueError("not a key of this kind")
    except (ValueError, IndexError):
        raise InvalidInput("no Ed25519 public key of OpenSSH", hint=_SIGNER_HINT) from None
    return key


def fingerprint(key: bytes) -> str:
    """Return the fingerprint of a public key (32 bytes), as ssh-keygen shows it."""
    wire = b"".join(len(part).to_bytes(4, "big") + part for part in (_SSH_KIND, key))
    return "SHA256:" + base64.b64encode(hashlib.sha256(wire).digest()).decode().rstrip("=")


def ssh_strings(wire: bytes) -> tuple[bytes, bytes]:
    """Return the two strings that SSH has put one behind the other, and nothing else. Raises ValueError."""
    first, rest = _ssh_string(wire)
    second, rest = _ssh_string(rest)
    if rest:
        raise ValueError("more than two")
    return first, second


def _ssh_string(wire: bytes) -> tuple[bytes, bytes]:
    """Return the string that stands behind its length, and what follows it. Raises ValueError."""
    end = 4 + int.from_bytes(wire[:4], "big")
    if len(wire) < end:
        raise ValueError("shorter than it says")
    return wire[4:end], wire[end:]
