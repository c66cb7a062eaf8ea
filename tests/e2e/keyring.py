"""The keys of a StudioML client and of the hosts it trusts, and what a client does with them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, OAEP
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from nacl.secret import SecretBox
from nacl.utils import random

from tests.studioml_keys import private_pem, public_pem

_PADDING = OAEP(mgf=MGF1(SHA256()), algorithm=SHA256(), label=None)


class Keyring:
    """A pair of keys for messages, one for reports, and one to sign with."""

    def __init__(self) -> None:
        self._messages = generate_private_key(65537, 2048)
        self._reports = generate_private_key(65537, 2048)
        self._signing = Ed25519PrivateKey.generate()

    def write(self, folder: Path, queue: str) -> None:
        """Write what a host has: the key that opens messages, the signer's and the one that seals reports."""
        for name, content in {
            f"opening/{queue}.pem": private_pem(self._messages),
            f"signers/{queue}.pub": self._signing.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
            f"reports/{queue}.pem": public_pem(self._reports),
        }.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)

    def sealed(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Return the message in a signed envelope."""
        payload = _sealed(self._messages, json.dumps(message).encode())
        experiment = message["experiment"]
        return {
            "message": {
                "experiment": {"status": "waiting", "pythonver": experiment["pythonver"]},
                "time_added": experiment["time_added"],
                "experiment_lifetime": experiment["max_duration"],
                "resources_needed": experiment["resources_needed"],
                "payload": payload,
                "signature": base64.b64encode(self._signing.sign(payload.encode())).decode(),
                "fingerprint": self._fingerprint(),
            }
        }

    def report(self, sealed: bytes) -> dict[str, Any]:
        """Return a report that was sealed for the client."""
        first, second = sealed.split(b",")
        key = self._reports.decrypt(base64.b64decode(first), _PADDING)
        report: dict[str, Any] = json.loads(SecretBox(key).decrypt(base64.b64decode(second)))
        return report

    def _fingerprint(self) -> str:
        line = self._signing.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
        digest = Hash(SHA256())
        digest.update(base64.b64decode(line.split()[1]))
        return "SHA256:" + base64.b64encode(digest.finalize()).decode().rstrip("=")


def _sealed(key: RSAPrivateKey, clear: bytes) -> str:
    secret = random(SecretBox.KEY_SIZE)
    parts = (key.public_key().encrypt(secret, _PADDING), bytes(SecretBox(secret).encrypt(clear)))
    return ",".join(base64.b64encode(part).decode() for part in parts)
