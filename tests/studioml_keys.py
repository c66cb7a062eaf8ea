"""The throw-away keys of the recorded StudioML messages, and what belongs to them."""

from __future__ import annotations

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

from agent.signing import load_signer
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPrivateNumbers, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

VECTORS = Path(__file__).parent / "data" / "studioml"


@cache
def _recorded() -> dict[str, Any]:
    return dict(json.loads((VECTORS / "test_keys.jwk.json").read_bytes()))


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="), "big")


@cache
def private_key(name: str) -> RSAPrivateKey:
    """Return one of the recorded keys: "request" opens envelopes, "report" opens reports."""
    table = {key: _number(value) for key, value in _recorded()[f"studioml_{name}"].items() if key not in ("kty", "use")}
    public = RSAPublicNumbers(table["e"], table["n"])
    numbers = RSAPrivateNumbers(
        p=table["p"],
        q=table["q"],
        d=table["d"],
        dmp1=table["dp"],
        dmq1=table["dq"],
        iqmp=table["qi"],
        public_numbers=public,
    )
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def private_pem(key: RSAPrivateKey, passphrase: bytes | None = None, *, pkcs8: bool = False) -> bytes:
    """Return a private key as operators have it in a file."""
    kind = PrivateFormat.PKCS8 if pkcs8 else PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.PEM, kind, BestAvailableEncryption(passphrase) if passphrase else NoEncryption())


def public_pem(key: RSAPrivateKey, *, pkcs1: bool = True) -> bytes:
    """Return its public half as clients hand it over."""
    return key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.PKCS1 if pkcs1 else PublicFormat.SubjectPublicKeyInfo
    )


def signer_line() -> bytes:
    """Return the public key of who signed the recorded envelopes, as OpenSSH writes it."""
    return str(_recorded()["studioml_signing_pub"]).encode()


class RecordedKeys:
    """The keys of the recorded messages, for every queue; those that a test takes away are None."""

    def __init__(self, *, opening: bool = True, signer: bool = True, reports: bool = True) -> None:
        self._opening = private_key("request") if opening else None
        self._signer = load_signer(signer_line()) if signer else None
        self._reports = private_key("report").public_key() if reports else None

    def opening(self, queue: str) -> object | None:
        return self._opening

    def signer(self, queue: str) -> bytes | None:
        return self._signer

    def reports(self, queue: str) -> object | None:
        return self._reports
