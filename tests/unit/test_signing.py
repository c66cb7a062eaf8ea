from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from agent import wire
from agent.adapters.signer_files import ConfiguredSigners
from agent.config.signing import SignerSection
from agent.errors import Dropped, HostFault, InvalidInput, JobError
from agent.model.job import Job
from agent.signing import Signature, Signing, fingerprint, load_private, load_signer
from agent.studioml.reading import Reading
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
JOB = b'{"api": "edge-agent/v1", "image": "file:///srv/a.sif", "name": "n\xc3\xbc"}'


def public_line(key: Ed25519PrivateKey = KEY) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def private_file(
    key: Any = KEY,
    form: PrivateFormat = PrivateFormat.OpenSSH,
    encryption: KeySerializationEncryption | None = None,
) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, form, encryption or NoEncryption()))


def reading(queue: str = "lab", *, required: bool = True, **signers: SignerSection) -> Reading:
    named = signers or {"alice": SignerSection(key=public_line())}
    return Reading(signing=Signing(required, ConfiguredSigners(named), queue))


def signed(job: bytes = JOB, key: Ed25519PrivateKey = KEY, key_id: str | None = "alice") -> dict[str, Any]:
    return dict(json.loads(Signature(key, key_id).sign(job)))


def body(table: dict[str, Any]) -> bytes:
    return json.dumps(table).encode()


def why(table: dict[str, Any], circumstances: Reading) -> str:
    with pytest.raises(JobError) as caught:
        wire.decode(body(table), {}, 0.0, circumstances)
    assert not isinstance(caught.value, Dropped)
    assert wire.describe(body(table), {}, circumstances)["disposition"] == "dead-letter"
    return str(caught.value)


@pytest.mark.parametrize("required", [True, False])
def test_a_signed_job_runs_and_tells_its_signer(required: bool) -> None:
    decoded = wire.decode(body(signed()), {}, 0.0, reading(required=required))
    assert decoded.job == Job(image="file:///srv/a.sif", name="nü")
    assert decoded.signer == "alice"
    answer = wire.describe(body(signed()), {}, reading(required=required))
    assert (answer["disposition"], answer["form"], answer["job"]["name"]) == ("run", "native", "nü")
    assert answer["signer"] == {"name": "alice", "verified": True}


def test_the_message_has_the_documented_form() -> None:
    message = signed()
    assert list(message) == ["api", "payload", "key_id", "signature"]
    assert message["payload"].encode() == JOB
    KEY.public_key().verify(base64.b64decode(message["signature"]), JOB)


def test_a_signer_is_also_found_by_the_fingerprint_of_the_key() -> None:
    message = signed(key_id=None)
    assert message["key_id"] == fingerprint(load_signer(public_line().encode()))
    others = {"bob": SignerSection(key=public_line(OTHER)), "alice": SignerSection(key=public_line())}
    found = wire.decode(body(message), {}, 0.0, reading(alice=others["alice"], bob=others["bob"]))
    assert found.signer == message["key_id"]
    assert "whom this host does not know" in why(message, reading(bob=others["bob"]))


def test_an_unsigned_job_runs_only_where_no_signature_is_required() -> None:
    table = json.loads(JOB)
    assert wire.decode(JOB, {}, 0.0, reading(required=False)).signer is None
    assert why(table, reading()) == (
        "a job without a signature (this host runs signed ones only: [policy] require_signed = true)"
    )


@pytest.mark.parametrize("required", [True, False])
def test_a_signature_that_is_there_must_be_right_everywhere(required: bool) -> None:
    host = reading(required=required)
    tampered = {**signed(), "payload": JOB.decode().replace("a.sif", "b.sif")}
    assert why(tampered, host).startswith('the signature of "alice" is not that of the key in [policy.signers]')
    assert why(signed(key=OTHER), host).startswith('the signature of "alice" is not that of the key')
    assert why(signed(key_id="mallory"), host).startswith('a job signed by "mallory", whom this host does not know')
    assert "whom this host does not know" in why(signed(), Reading())


def test_white_space_in_the_payload_is_signed_too() -> None:
    message = signed()
    assert "is not that of the key" in why({**message, "payload": message["payload"] + " "}, reading())


def test_a_signer_may_be_limited_to_queues() -> None:
    alice = SignerSection(key=public_line(), queues=("lab", "roof"))
    assert wire.decode(body(signed()), {}, 0.0, reading("roof", alice=alice)).signer == "alice"
    assert why(signed(), reading("other", alice=alice)) == (
        'a job signed by "alice", who may not use the queue "other" ([policy.signers] allows it on: lab, roof)'
    )


MALFORMED = {
    "no signature": {"signature": None},
    "no key_id": {"key_id": None},
    "another key": {"image": "file:///a.sif"},
    "a payload that is an object": {"payload": json.loads(JOB)},
    "a number for a name": {"key_id": 7},
}


@pytest.mark.parametrize("changes", MALFORMED.values(), ids=MALFORMED)
def test_another_form_of_signed_message_never_runs(changes: dict[str, Any]) -> None:
    table = {key: value for key, value in {**signed(), **changes}.items() if value is not None}
    assert why(table, reading()).startswith("a signed job of another form")
    assert wire.describe(body(table), {})["disposition"] == "dead-letter"


@pytest.mark.parametrize("text", ["", "AAAA", "!", base64.b64encode(bytes(64)).decode() + "\n", "A" * 88])
def test_what_is_no_signature_is_said(text: str) -> None:
    assert why({**signed(), "signature": text}, reading()).startswith("the signature of a job is no Ed25519")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"image": "file:///a.sif"}', 'no "api" key'),
        (b'{"api": "edge-agent/v1", "image": "file:///a.sif", "comand": []}', 'did you mean "command"?'),
        (b'{"api": "edge-agent/v1", "api": "edge-agent/v1"}', 'the key "api" is there twice'),
        (Signature(KEY, "alice").sign(JOB), "a signed job inside a signed job"),
        (b"[]", "a JSON array"),
    ],
)
def test_a_signature_does_not_make_a_wrong_job_right(payload: bytes, reason: str) -> None:
    assert reason in why(signed(payload), reading())


def test_another_version_of_the_outer_form_is_not_understood() -> None:
    assert 'api = "edge-agent/v9"' in why({**signed(), "api": "edge-agent/v9"}, reading())


def test_a_message_that_is_only_looked_at_is_not_judged() -> None:
    message = signed(key=OTHER, key_id="nobody")
    assert wire.decode_native(body(message), {}).name == "nü"
    assert wire.describe(body(message), {})["signer"] == {"name": "nobody", "verified": False}


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8])
def test_a_job_is_signed_with_a_key_of_openssh_or_in_pem_form(form: PrivateFormat) -> None:
    signature = load_private(private_file(form=form), "alice")
    assert wire.decode(signature.sign(JOB), {}, 0.0, reading()).signer == "alice"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no private key that can be read"),
        (public_line().encode(), "no private key that can be read"),
        (private_file(form=PrivateFormat.PKCS8, encryption=BestAvailableEncryption(b"x")), "with a passphrase"),
        (private_file(generate_private_key(65537, 2048)), "a private key of another kind"),
    ],
    ids=["empty", "public", "passphrase", "rsa"],
)
def test_a_key_that_cannot_sign_is_refused_with_how_to_make_one(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        load_private(content)
    assert "ssh-keygen -t ed25519" in str(caught.value)


def test_the_key_of_a_signer_is_read_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "alice.pub"
    host = reading(alice=SignerSection(file=str(file)))
    with pytest.raises(HostFault, match=r"\[policy.signers\] alice: .*alice.pub: No such file"):
        wire.decode(body(signed()), {}, 0.0, host)
    file.write_text("no key")
    with pytest.raises(HostFault, match=r"alice.pub: no Ed25519 public key of OpenSSH"):
        wire.decode(body(signed()), {}, 0.0, host)
    file.write_text(public_line() + " alice@board\n")
    assert wire.decode(body(signed()), {}, 0.0, host).signer == "alice"
