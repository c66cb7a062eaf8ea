"""Envelopes of our own."""

from __future__ import annotations

import base64
import json

from agent.studioml.envelope import seal
from nacl.signing import SigningKey

from tests.studioml_keys import private_key


def enveloped(clear: bytes, signer: SigningKey | None) -> bytes:
    """Return the message with a clear text that the recorded key opens, signed where there is a signer."""
    message = {"payload": seal(private_key("request").public_key(), clear)}
    if signer is not None:
        signature = signer.sign(message["payload"].encode()).signature
        message |= {"signature": base64.b64encode(signature).decode(), "fingerprint": "SHA256:any"}
    return json.dumps({"message": message}).encode()
