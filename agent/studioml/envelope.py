"""Envelopes: requests that are encrypted for this agent, and signed by those who may submit; sealed reports.

    {"message": {.., "payload": "KEY,BOX", "signature": "..", "fingerprint": ".."}}

KEY is a fresh 32-byte key in RSA-OAEP (SHA-256 twice, no label), BOX the nonce (24 bytes) and the secretbox of the
clear text; both in base64. The signature is Ed25519 over the payload as it is written, the bare 64 bytes or as SSH has
it.
Everything else beside the payload is neither signed nor sealed, and is not looked at here.

The libraries behind it are loaded by the first key or envelope: most agents never see one.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from agent.errors import Dropped, InvalidInput
from agent.signing import SIGNATURE_BYTES, fingerprint, ssh_strings, unwrapped, verified
from agent.studioml.reading import Reading

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.padding import OAEP
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

_KEY_BYTES = 32
_SSH_KIND = b"ssh-ed25519"
_LEAST_BITS = 2048
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
_PRIVATE_HINT = 'an RSA key in PEM form ("BEGIN RSA PRIVATE KEY"), as "ssh-keygen -t rsa -b 4096 -m PEM" makes it'
_PUBLIC_HINT = 'an RSA key in PEM form ("BEGIN RSA PUBLIC KEY"), as "ssh-keygen -e -m PEM -f KEY" prints it'


def is_envelope(table: Mapping[str, Any]) -> bool:
    """Say whether a message is an envelope: its `message` is an object with a payload."""
    message = table.get("message")
    return isinstance(message, Mapping) and "payload" in message


def opened(message: Mapping[str, Any], reading: Reading) -> bytes:
    """Return the clear text of an envelope. message: the object under that name.

    Raises Dropped for whatever is wrong with it, and HostFault for a key of this host that cannot be read.
    """
    payload = message.get("payload")
    if not isinstance(payload, str) or not payload.isascii():
        raise Dropped("the payload of an envelope is no base64 text")
    _check_signature(payload, message, reading)
    key = reading.keys.opening(reading.queue)
    if key is None:
        raise Dropped(f'an envelope, and there is no key that opens those of the queue "{reading.queue}"')
    return _decrypted(payload, cast("RSAPrivateKey", key))


# --- signatures -----------------------------------------------------------------------------------------------------


def _check_signature(payload: str, message: Mapping[str, Any], reading: Reading) -> None:
    signature, wanted = message.get("signature"), reading.rules.require_signature
    if not signature and not wanted:
        return
    if not signature:
        raise Dropped("an envelope without a signature", hint="this host takes signed ones only")
    if not message.get("fingerprint") and wanted:
        raise Dropped("a signed envelope without the fingerprint of its key")
    signer = reading.keys.signer(reading.queue)
    if signer is None:
        raise Dropped(f'a signed envelope, and nobody is known who may sign for the queue "{reading.queue}"')
    if not verified(payload.encode(), _signature_bytes(signature), signer):
        expected = fingerprint(signer)
        raise Dropped(f"an envelope that is not signed with the key {expected}", hint=_other_signer(message, expected))


def _signature_bytes(signature: object) -> bytes:
    """Return the 64 bytes, whichever way they are wrapped."""
    try:
        raw = unwrapped(signature)
        if len(raw) != SIGNATURE_BYTES:
            kind, raw = ssh_strings(raw)
            if kind != _SSH_KIND or len(raw) != SIGNATURE_BYTES:
                raise ValueError
    except ValueError:
        raise Dropped("the signature of an envelope is no Ed25519 signature in base64") from None
    return raw


def _other_signer(message: Mapping[str, Any], expected: str) -> str:
    """Help to find who signs with another key; the fingerprint decides nothing."""
    claimed = message.get("fingerprint")
    if not isinstance(claimed, str) or not _FINGERPRINT.fullmatch(claimed) or claimed == expected:
        return ""
    return f"it says that it is signed with {claimed}"


# --- encryption -----------------------------------------------------------------------------------------------------


def _decrypted(payload: str, key: RSAPrivateKey) -> bytes:
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    wrapped_key, comma, box = payload.partition(",")
    if not comma or "," in box:
        raise Dropped("the payload of an envelope is not two parts with one comma between them")
    try:
        parts = unwrapped(wrapped_key), unwrapped(box)
    except ValueError:
        raise Dropped("the payload of an envelope is no base64 text") from None
    try:
        return SecretBox(key.decrypt(parts[0], _padding())).decrypt(parts[1])
    except (ValueError, CryptoError):
        raise Dropped("an envelope that cannot be decrypted: damaged, or encrypted for another key") from None


def seal(key: object, clear: bytes) -> str:
    """Return the payload that only the owner of the public key can open."""
    from nacl.secret import SecretBox

    secret = os.urandom(_KEY_BYTES)
    wrapped_key = cast("RSAPublicKey", key).encrypt(secret, _padding())
    return ",".join(base64.b64encode(part).decode() for part in (wrapped_key, SecretBox(secret).encrypt(clear)))


def _padding() -> OAEP:
    from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
    from cryptography.hazmat.primitives.hashes import SHA256

    return OAEP(MGF1(SHA256()), SHA256(), None)


# --- keys -----------------------------------------------------------------------------------------------------------


def load_private(pem: bytes, passphrase: bytes | None) -> object:
    """Return the private RSA key in a PEM text: PKCS#1 or PKCS#8, encrypted or not. Raises InvalidInput.

    An empty passphrase is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, passphrase or None)
    except TypeError:
        # Its texts speak of the arguments of the call; which of the two it is, is known without them.
        if not passphrase:
            raise InvalidInput("an encrypted key without its passphrase", hint="put it into a file beside") from None
        raise InvalidInput("a passphrase for a key that is not encrypted", hint="remove the passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        what = "no private key that can be read" + (", or the wrong passphrase" if passphrase else "")
        raise InvalidInput(what, hint=_PRIVATE_HINT) from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidInput("a private key of another kind", hint=_PRIVATE_HINT)
    _check_length(key.key_size)
    return key


def load_public(pem: bytes) -> object:
    """Return the public RSA key in a PEM text: PKCS#1 or SubjectPublicKeyInfo. Raises InvalidInput."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidInput("no public key that can be read", hint=_PUBLIC_HINT) from None
    if not isinstance(key, RSAPublicKey):
        raise InvalidInput("a public key of another kind", hint=_PUBLIC_HINT)
    _check_length(key.key_size)
    return key


def _check_length(bits: int) -> None:
    if bits < _LEAST_BITS:
        raise InvalidInput(f"an RSA key of {bits} bits", hint=f"at least {_LEAST_BITS}; StudioML clients use 4096")
