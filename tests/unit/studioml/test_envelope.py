from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import subprocess
import sys
from typing import Any

import pytest
from agent.errors import Dropped, InvalidInput
from agent.signing import load_signer
from agent.studioml.envelope import is_envelope, load_private, load_public, opened, seal
from agent.studioml.reading import NoKeys, Reading, Rules
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from tests.studioml_keys import VECTORS, RecordedKeys, private_key, private_pem, public_pem, signer_line

SIGNED = "05_encrypted_signed"
UNSIGNED = "04_encrypted_0.0.22"
UNSIGNED_TOO = Rules(require_signature=False)
OWN_SIGNER = SigningKey(bytes(range(32)))
SECRET = bytes(range(100, 132))


class OwnKeys(RecordedKeys):
    """The recorded keys, with a signer whose private half is here."""

    def signer(self, queue: str) -> bytes | None:
        return bytes(OWN_SIGNER.verify_key)


RECORDED = Reading(queue="lab", keys=RecordedKeys())
OWN = Reading(queue="lab", keys=OwnKeys())
ANYBODY = Reading(queue="lab", keys=RecordedKeys(), rules=UNSIGNED_TOO)


def message(name: str) -> dict[str, Any]:
    table = json.loads((VECTORS / f"{name}.json").read_bytes())
    assert is_envelope(table)
    return dict(table["message"])


def clear_digest(name: str) -> str:
    return (VECTORS / f"{name}.clear.sha256").read_text().strip()


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


def payload(clear: bytes = b"{}", *, secret: bytes = SECRET, digest: Any = SHA256) -> str:
    oaep = padding.OAEP(padding.MGF1(digest()), digest(), None)
    wrapped = private_key("request").public_key().encrypt(secret, oaep)
    return f"{b64(wrapped)},{b64(bytes(SecretBox(SECRET).encrypt(clear)))}"


def signed(text: str, **changes: object) -> dict[str, Any]:
    """An envelope with a signature of our own: who may submit can send whatever payload they like."""
    signature = b64(OWN_SIGNER.sign(text.encode()).signature)
    return {"payload": text, "signature": signature, "fingerprint": "SHA256:any", **changes}


# --- what it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table",
    [
        {"experiment": {}, "config": {}},
        {"message": "payload"},
        {"message": ["payload"]},
        {"message": {"experiment": {}}},
        {"payload": "x"},
    ],
)
def test_only_a_message_with_a_payload_is_an_envelope(table: dict[str, Any]) -> None:
    assert not is_envelope(table)


def test_an_envelope_without_a_usable_payload_is_one_and_is_dropped() -> None:
    table = {"message": {"payload": None}}
    assert is_envelope(table)
    with pytest.raises(Dropped, match="payload"):
        opened(table["message"], ANYBODY)


# --- real messages --------------------------------------------------------------------------------------------------


def test_a_signed_envelope_of_a_real_client_opens() -> None:
    assert hashlib.sha256(opened(message(SIGNED), RECORDED)).hexdigest() == clear_digest(SIGNED)


def test_an_unsigned_envelope_of_an_old_client_opens_where_the_operator_allows_it() -> None:
    assert hashlib.sha256(opened(message(UNSIGNED), ANYBODY)).hexdigest() == clear_digest(UNSIGNED)
    with pytest.raises(Dropped, match="without a signature"):
        opened(message(UNSIGNED), RECORDED)


def test_what_stands_beside_the_payload_is_not_looked_at() -> None:
    assert opened(message("malformed/env_header_lies"), RECORDED) == opened(message(SIGNED), RECORDED)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_signature", "without a signature"),
        ("no_fingerprint", "without the fingerprint"),
        ("bad_signature", "not signed with the key SHA256:LS4QuwmVhTQSyE4knjE"),
        ("signature_not_b64", "no Ed25519 signature"),
        ("payload_tampered", "not signed with the key"),
        ("no_comma", "not signed with the key"),
        ("payload_none", "not signed with the key"),
    ],
)
def test_malformed_envelopes_are_dropped_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        opened(message(f"malformed/env_{name}"), RECORDED)


# --- signatures -----------------------------------------------------------------------------------------------------


def test_a_signature_as_ssh_wraps_it_is_as_good_as_the_bare_one() -> None:
    text = payload(b"clear")
    wrapped = string(b"ssh-ed25519") + string(OWN_SIGNER.sign(text.encode()).signature)
    assert opened(signed(text), OWN) == opened(signed(text, signature=b64(wrapped)), OWN) == b"clear"


@pytest.mark.parametrize(
    "wrapped",
    [
        string(b"ssh-rsa") + string(bytes(64)),
        string(b"ssh-ed25519") + string(bytes(63)),
        string(b"ssh-ed25519") + string(bytes(64)) + string(b""),
        string(b"ssh-ed25519") + b"\xff\xff\xff\xff" + bytes(64),
        string(b"ssh-ed25519"),
        bytes(63),
        bytes(2),
        bytes(100_000),
    ],
)
def test_what_is_wrapped_in_another_way_is_no_signature(wrapped: bytes) -> None:
    with pytest.raises(Dropped, match="no Ed25519 signature"):
        opened(signed(payload(), signature=b64(wrapped)), OWN)


def test_a_signature_of_somebody_else_names_the_key_that_was_expected_and_the_one_that_was_used() -> None:
    claimed = "SHA256:" + "x" * 43
    with pytest.raises(Dropped, match=f"not signed with the key SHA256:LS4Quwm.*signed with {claimed}"):
        opened(signed(payload(), fingerprint=claimed), RECORDED)


def test_a_wrong_fingerprint_beside_a_right_signature_does_no_harm() -> None:
    assert opened({**message(SIGNED), "fingerprint": "SHA256:wrong"}, RECORDED) == opened(message(SIGNED), RECORDED)


@pytest.mark.parametrize("rules", [Rules(), UNSIGNED_TOO])
def test_a_signature_that_is_there_must_be_right_whatever_the_policy(rules: Rules) -> None:
    broken = message("malformed/env_bad_signature")
    with pytest.raises(Dropped, match="not signed with the key"):
        opened(broken, Reading(keys=RecordedKeys(), rules=rules))
    with pytest.raises(Dropped, match="nobody is known"):
        opened(broken, Reading(queue="lab", keys=RecordedKeys(signer=False), rules=rules))


# --- encryption -----------------------------------------------------------------------------------------------------


def test_an_envelope_for_a_queue_without_a_key_is_dropped() -> None:
    with pytest.raises(Dropped, match='no key that opens those of the queue "lab"'):
        opened(message(UNSIGNED), Reading(queue="lab", keys=NoKeys(), rules=UNSIGNED_TOO))


def test_an_envelope_for_another_agent_is_dropped() -> None:
    text = seal(private_key("report").public_key(), b"{}")
    with pytest.raises(Dropped, match="cannot be decrypted"):
        opened({"payload": text}, ANYBODY)


KEY, BOX = payload().split(",")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        KEY,
        f"{KEY},{BOX},",
        f"{KEY},{BOX},{BOX}",
        f"{KEY},",
        f",{BOX}",
        f" {KEY},{BOX}",
        f"{KEY},{BOX}\n",
        f"{KEY},{BOX.rstrip('=')}x",
        f"{KEY},{BOX[:-8]}",
        f"{KEY[4:]},{BOX}",
        f"{KEY},{b64(bytes(40))}",
        f"{b64(bytes(512))},{BOX}",
        f"{b64(bytes([255]) * 512)},{BOX}",
        payload(secret=bytes(31)),
        payload(digest=SHA1),
        "é,é",
        "\ud800,\ud800",
    ],
    ids=itertools.count(),
)
def test_whatever_payload_is_signed_or_not_it_opens_or_is_dropped(text: str) -> None:
    with pytest.raises(Dropped):
        opened({"payload": text}, ANYBODY)
    if text.isascii():
        with pytest.raises(Dropped):
            opened(signed(text), OWN)


@pytest.mark.parametrize("text", [KEY, f"{KEY},{BOX},", f"{KEY},{BOX},{BOX}", f",{KEY},{BOX}"], ids=itertools.count())
def test_a_payload_has_exactly_one_comma(text: str) -> None:
    with pytest.raises(Dropped, match="one comma"):
        opened({"payload": text}, ANYBODY)


def test_base64_in_another_way_than_an_encoder_writes_it_is_refused() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = KEY[-2]  # before the one "=": two of its bits mean nothing
    other = f"{KEY[:-2]}{alphabet[alphabet.index(last) + 1]}="
    assert base64.b64decode(other) == base64.b64decode(KEY)
    with pytest.raises(Dropped, match="no base64 text"):
        opened({"payload": f"{other},{BOX}"}, ANYBODY)


def test_errors_never_show_what_a_message_holds() -> None:
    text = payload(b"the clear text")
    for envelope in ({"payload": text}, signed(f"{text}="), signed(text, signature=b64(bytes(64)))):
        with pytest.raises(Dropped) as caught:
            opened(envelope, Reading(queue="lab", keys=RecordedKeys()))
        assert text[:20] not in str(caught.value)
        assert b64(bytes(64)) not in str(caught.value)


def mutated(value: object, chance: random.Random) -> object:
    """Something else than the value, in one of the ways that senders can think of."""
    others: list[object] = [
        None,
        0,
        -1,
        True,
        1e300,
        "",
        "A",
        "\0",
        "\ud800",
        "é" * 10,
        [],
        [value],
        {},
        {"payload": value},
    ]
    if isinstance(value, str) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        cut = value[:at]
        return chance.choice([cut, cut + chance.choice("A=,\n-_é") + value[at + 1 :], cut + value, value[at:] + cut])
    return chance.choice(others)


@pytest.mark.parametrize("name", [SIGNED, UNSIGNED, "malformed/env_bad_signature", "malformed/env_payload_none"])
@pytest.mark.parametrize("reading", [RECORDED, ANYBODY])
def test_no_message_can_raise_anything_but_dropped(name: str, reading: Reading) -> None:
    chance = random.Random(name)
    whole = message(name)
    outcomes = set()
    for _ in range(250):
        fields = chance.sample(["payload", "signature", "fingerprint"], chance.randint(1, 3))
        broken = {**whole, **{field: mutated(whole.get(field), chance) for field in fields}}
        try:
            opened(broken, reading)
        except Dropped:
            outcomes.add("dropped")
        else:
            outcomes.add("opened")
    assert "dropped" in outcomes


# --- sealing --------------------------------------------------------------------------------------------------------


def test_what_is_sealed_is_opened_by_the_owner_of_the_key() -> None:
    key = load_public(public_pem(private_key("request")))
    first, second = seal(key, b"report"), seal(key, b"report")
    assert first != second
    assert opened({"payload": first}, ANYBODY) == opened({"payload": second}, ANYBODY) == b"report"


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pkcs8", [False, True])
@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_private_keys_load_in_all_forms_that_operators_have(pkcs8: bool, passphrase: bytes | None) -> None:
    pem = private_pem(private_key("request"), passphrase, pkcs8=pkcs8)
    key = load_private(pem, passphrase)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.private_numbers() == private_key("request").private_numbers()


def test_the_pem_encryption_of_the_go_runner_loads() -> None:
    pem = private_pem(private_key("request"), b"open sesame")
    assert b"Proc-Type: 4,ENCRYPTED" in pem
    assert load_private(pem, b"open sesame")


def test_an_empty_passphrase_is_none() -> None:
    assert load_private(private_pem(private_key("request")), b"")


@pytest.mark.parametrize(
    ("passphrase", "given", "reason"),
    [
        (b"right", None, "without its passphrase"),
        (b"right", b"", "without its passphrase"),
        (b"right", b"wrong", "or the wrong passphrase"),
        (None, b"needless", "remove the passphrase"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_named(passphrase: bytes | None, given: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        load_private(private_pem(private_key("request"), passphrase), given)


@pytest.mark.parametrize("pkcs1", [True, False])
def test_public_keys_load_in_both_forms(pkcs1: bool) -> None:
    key = load_public(public_pem(private_key("report"), pkcs1=pkcs1))
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.public_numbers() == private_key("report").public_key().public_numbers()


SHORT = rsa.generate_private_key(65537, 1024)  # noqa: S505
CURVE = generate_private_key(SECP256R1())
CURVE_PRIVATE = CURVE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
CURVE_PUBLIC = CURVE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "no private key that can be read"),
        (b"\xff\0", "no private key that can be read"),
        (public_pem(private_key("report")), "no private key that can be read"),
        (CURVE_PRIVATE, "of another kind"),
        (private_pem(SHORT), "an RSA key of 1024 bits"),
    ],
)
def test_what_is_no_usable_private_key_is_said(pem: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        load_private(pem, None)


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"", "no public key that can be read"),
        (private_pem(private_key("report")), "no public key that can be read"),
        (CURVE_PUBLIC, "of another kind"),
        (public_pem(SHORT), "an RSA key of 1024 bits"),
    ],
)
def test_what_is_no_usable_public_key_is_said(pem: bytes, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason):
        load_public(pem)


def test_a_signer_is_a_line_of_openssh_with_or_without_a_comment() -> None:
    kind, key, comment = signer_line().split()
    raw = load_signer(signer_line())
    assert len(raw) == 32
    assert load_signer(b"%s %s" % (kind, key)) == raw
    assert load_signer(b"\n  %s\t%s %s with spaces \r\n\n" % (kind, key, comment)) == raw


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"ssh-ed25519",
        b"ssh-ed25519 !!!!",
        b"ssh-ed25519 \xff\xff",
        b"ssh-ed25519 " + base64.b64encode(string(b"ssh-ed25519") + string(bytes(31))),
        b"ssh-ed25519 " + base64.b64encode(string(b"ssh-rsa") + string(bytes(32))),
        b"ssh-rsa AAAAB3NzaC1yc2E= comment",
        signer_line() + b"\n" + signer_line(),
        b"# comment\n" + signer_line(),
    ],
)
def test_any_other_line_is_no_signer(line: bytes) -> None:
    with pytest.raises(InvalidInput, match=r'"ssh-ed25519 AAAA'):
        load_signer(line)


def test_reading_messages_loads_no_cryptography_before_the_first_envelope() -> None:
    code = "import sys, agent.wire, agent.studioml.envelope; print({'nacl', 'cryptography'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "set()\n"
