from __future__ import annotations

import copy
import json
import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from agent import wire
from agent.errors import Dropped, JobError
from agent.jsontext import MAX_BYTES
from agent.matching import is_below
from agent.model.cargo import Access, Cargo, Decoded
from agent.model.job import parse_job
from agent.studioml.origin import Database
from agent.studioml.reading import Reading, Rules
from agent.studioml.request import decode, is_request
from nacl.signing import SigningKey

from tests.studioml_keys import VECTORS, RecordedKeys
from tests.unit.studioml.envelopes import enveloped
from tests.unit.studioml.requests import READING, body, changed, origin, read, read_changed, refusal, table

SEALED = Reading(queue="lab", keys=RecordedKeys())
META = "s3+http://127.0.0.1:5185/studioml-meta/"

# --- whose message it is --------------------------------------------------------------------------------------------

REQUESTS = {
    "a request": b'{"experiment": {}, "config": {}}',
    "a request in another order": b' \n{"config": {"a": ["]", "}"]}, "experiment": {}}',
    "an envelope": b'{"message": {"payload": "x"}}',
    "one cut in half": body("malformed/truncated"),
    "one that is nested without end": b'{"experiment": ' + b"[" * 100_000,
    "one that is too large": b'{"experiment": "' + b"x" * MAX_BYTES + b'"}',
    "an experiment of no kind": b'{"experiment": null}',
    "broken behind its first key": b'{"experiment" 5',
}
OTHERS = {
    "nothing": b"",
    "null": b"null",
    "a pickle": (VECTORS / "malformed/not_json.bin").read_bytes(),
    "a native job": b'{"api": "edge-agent/v1", "image": "file:///a.sif"}',
    "a native job with a label": b'{"api": "edge-agent/v1", "image": "file:///a", "labels": {"experiment": "1"}}',
    "a native job that says more": b'{"experiment": {}, "api": "edge-agent/v1"}',
    "the word in a text": b'{"name": "\\"experiment\\": {}"}',
    "the word as a value": b'{"name": "experiment"}',
    "a message without payload": b'{"message": {"text": "x"}}',
    "the word further down": b'{"config": {"experiment": {}}}',
    "a list": b'[{"experiment": {}}]',
    "a text": b'"experiment"',
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_message_is_a_request_by_its_outermost_keys(name: str) -> None:
    assert is_request(REQUESTS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_other_messages_are_no_requests(name: str) -> None:
    assert not is_request(OTHERS[name])


def test_the_outermost_keys_of_a_large_message_are_found_at_once() -> None:
    hostile = b'{"experiment": [' + b"{}," * (MAX_BYTES // 3 - 20) + b"{}"
    quotes = b'{"experiment": "' + b'\\"' * (MAX_BYTES // 2 - 20)
    began = time.monotonic()
    assert is_request(hostile)
    assert is_request(quotes)
    assert time.monotonic() - began < 5


def test_a_native_job_never_becomes_an_experiment() -> None:
    with pytest.raises(JobError) as failure:
        wire.decode(OTHERS["a native job that says more"], {}, 0.0, READING)
    assert not isinstance(failure.value, Dropped)


# --- malformed ones -------------------------------------------------------------------------------------------------

EXPECTATIONS: dict[str, dict[str, str]] = json.loads((VECTORS / "malformed/expectations.json").read_bytes())
# What is wrong with these is seen by who runs them.
SEEN_LATER = {"expired_lifetime.json", "immutable_missing_object.json", "filename_injection.json"}
RUNS = {name for name, each in EXPECTATIONS.items() if each["want"].startswith(("accept", "last wins"))} | SEEN_LATER
REASONS = {
    "truncated.json": "not JSON",
    "no_artifacts.json": "nothing to run",
    "artifacts_list.json": r"experiment\.artifacts = \[\] \(an object\)",
    "no_key.json": r"experiment\.key is missing",
    "no_filename.json": r"experiment\.filename = null",
    "no_resources.json": r"resources_needed = null",
    "bad_ram_unit.json": r'resources_needed\.ram = "lots" \(a size such as',
    "negative_cpus.json": r"resources_needed\.cpus = -1 \(a number of cores\)",
    "bad_max_duration.json": r'experiment\.max_duration = "2 days" \(a duration such as "20m"',
    "unknown_scheme.json": r'artifacts\.workspace: "ftp://h/b/x\.tar" \(URLs of s3, gs, http, https or file\)',
    "python_filename_escape.json": r'experiment\.filename = "\.\./\.\./outside\.py" \(a script in the workspace\)',
    "env_no_signature.json": "without a signature",
    "env_no_fingerprint.json": "without the fingerprint",
    "env_bad_signature.json": "not signed with the key",
    "env_signature_not_b64.json": "no Ed25519 signature",
    "env_payload_tampered.json": "not signed with the key",
    "env_no_comma.json": "not signed with the key",
    "env_payload_none.json": "not signed with the key",
    "not_json.bin": "not UTF-8",
    "empty.bin": "not JSON",
    "json_null.json": "null",
    "no_experiment.json": "no.*key",
}


@pytest.mark.parametrize("name", sorted(EXPECTATIONS))
def test_a_malformed_message_runs_or_is_dropped_with_its_reason(name: str) -> None:
    message = (VECTORS / "malformed" / name).read_bytes()
    if name in RUNS or name == "env_header_lies.json":
        assert isinstance(wire.decode(message, {}, 0.0, SEALED), Decoded)
        return
    with pytest.raises(JobError, match=REASONS[name]):
        wire.decode(message, {}, 0.0, SEALED)
    assert wire.describe(message, {}, SEALED)["disposition"] == "drop"


def test_only_the_clear_text_of_an_envelope_counts() -> None:
    lying = (VECTORS / "malformed/env_header_lies.json").read_bytes()
    assert decode(lying, SEALED).job == decode(body("05_encrypted_signed"), SEALED).job


def test_of_equal_keys_the_last_one_counts() -> None:
    decoded = decode(body("malformed/dup_keys"), READING)
    assert decoded.expires_at is None
    assert "STEPS" not in decoded.job.env


def test_a_lifetime_that_is_over_is_known_by_its_end() -> None:
    added = table("malformed/expired_lifetime")["experiment"]["time_added"]
    decoded = decode(body("malformed/expired_lifetime"), Reading(now=added + 1e9))
    assert decoded.expires_at is not None
    assert decoded.expires_at < added + 1e9


def test_a_script_with_shell_syntax_is_one_word() -> None:
    job = decode(body("malformed/filename_injection"), READING).job
    assert job.command is not None
    assert job.command[1] == "train.py; touch /tmp/pwn3"


def test_the_key_is_never_a_path() -> None:
    decoded = decode(body("malformed/key_traversal"), READING)
    job = decoded.job
    assert origin(decoded.cargo).experiment == "../../../tmp/x"
    assert job.name == "tmp-x"
    paths = [job.workdir or "", *(item.path for item in job.inputs), *(each.path for each in job.outputs)]
    assert all(path.startswith(f"experiments/{job.env['STUDIOML_EXPERIMENT']}/") for path in paths)
    assert "tmp" not in job.env["STUDIOML_EXPERIMENT"]


def test_minutes_may_come_as_a_number() -> None:
    job = decode(body("malformed/save_freq_number"), READING).job
    assert {output.every for output in job.outputs} == {60.0}


# --- whatever it is, it is a job or dropped -------------------------------------------------------------------------

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 1.5, 1e308, float("nan"), float("inf"), 10**400),
    *(
        "",
        "x",
        "1",
        "-",
        "\0",
        "a\nb",
        "../..",
        "/",
        "~",
        "s3://",
        "s3://h/b/k",
        "s3://a:b@h:9/b/k",
        "gs://b",
        "file://",
    ),
    *(
        "http://[",
        "http://h/%2f..",
        "dockerhub://",
        "20m",
        "9" * 5000 + "h",
        "1e999g",
        "\u202e",
        "%PATH%",
        "'",
        "😀" * 300,
    ),
    *(
        [],
        [[]],
        [None],
        ["x"],
        [1, "-m"],
        {},
        {"": ""},
        {"x": None},
        {"aws": {"access_key": "x"}},
        {"jwt": {"token": "\n"}},
    ),
]


def small() -> dict[str, Any]:
    """Return a recorded request that has everything once."""
    request = table("malformed/save_freq_number")
    artifacts = request["experiment"]["artifacts"]
    for tag in ("retval", "tb", "_metrics"):
        del artifacts[tag]
    artifacts["_singularity"] = {"qualified": "dockerhub://python:3.11", "unpack": False}
    artifacts["_status"] = {**artifacts["output"], "saveFrequency": 30, "bucket": None}
    artifacts["csv"] = {"url": "http://h/a.csv", "credentials": {"plain": {"user": "u", "password": "p"}}}
    request["experiment"]["resources_needed"] |= {"gpuMem": "4gb", "gpuCount": "1"}
    return request


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield (*path, key)
        yield from paths(below, (*path, key))


def outcome(message: bytes, reading: Reading = READING) -> Decoded | Dropped:
    """Return the job or the refusal; any other exception is a bug."""
    is_request(message)
    try:
        decoded = decode(message, reading)
    except Dropped as error:
        return error
    assert parse_job(wire.plain(decoded.job)) == decoded.job
    assert msgspec.json.decode(msgspec.json.encode(decoded.cargo), type=Cargo) == decoded.cargo
    assert msgspec.json.encode(decoded.job)
    for uri in [item.uri for item in decoded.job.inputs] + [output.uri or "" for output in decoded.job.outputs]:
        scheme, place = uri.partition("?")[0].split("://", 1)
        assert is_below(f"{scheme}://{place}", (f"{scheme}://" if scheme != "file" else "file:///",))
    return decoded


def test_any_value_anywhere_gives_a_job_or_a_reason() -> None:
    original = small()
    assert isinstance(outcome(json.dumps(original).encode()), Decoded)
    counts = {Decoded: 0, Dropped: 0}
    for index, path in enumerate(paths(original)):
        for value in VALUES[index % 3 :: 3]:
            request = copy.deepcopy(original)
            place: Any = request
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            counts[type(outcome(json.dumps(request).encode()))] += 1
    assert counts[Decoded] > 300
    assert counts[Dropped] > 300


def test_any_name_of_a_field_gives_a_job_or_a_reason() -> None:
    for path in paths(small()):
        for name in ("", "..", "a/b", "\0", "x" * 300, "é", "AWS=1"):
            request = small()
            place: Any = request
            for key in path[:-1]:
                place = place[key]
            if isinstance(place, dict):
                place[name] = place.pop(path[-1])
                outcome(json.dumps(request).encode())


def test_any_bytes_give_a_job_or_a_reason() -> None:
    chance = random.Random(7)
    message = json.dumps(small()).encode()
    for _ in range(1500):
        start = chance.randrange(len(message))
        noise = bytes(chance.choice(b'\\"{}[],:\x00\xff0eE.-+nNuU') for _ in range(chance.randrange(4)))
        outcome(message[:start] + noise + message[start + chance.randrange(6) :])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b'{"experiment": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 64 levels"),
        (b'{"experiment": ' * 50_000, "nested more than 64 levels"),
        (b'{"experiment": "' + b"x" * MAX_BYTES + b'"}', "at most 4194304 bytes"),
        (b'{"experiment": {"key": "\\ud800"}}', "half a surrogate pair"),
        (b'{"experiment": {"key": "\xff"}}', "not UTF-8"),
        (b'{"experiment": {"key": 1' + b"0" * 9000 + b"}}", "cannot be read|can be read"),
        (b'{"experiment": 5}', r"experiment = 5 \(an object\)"),
        (b'{"experiment": {"key": ""}}', 'experiment.key = ""'),
        (b'{"experiment": {"key": 7}}', "experiment.key = 7"),
        (json.dumps({"experiment": {"key": "k" * 501}}).encode(), "at most 500 bytes"),
        (b'{"message": {"payload": {}}}', "payload of an envelope"),
        (b'{"message": "hello", "payload": "x"}', "experiment is missing"),
    ],
)
def test_bodies_that_are_no_requests_are_dropped(message: bytes, reason: str) -> None:
    with pytest.raises(Dropped, match=reason) as failure:
        decode(message, READING)
    assert failure.value.about is None


def test_long_arguments_are_read_in_a_moment_and_refused_where_no_kernel_takes_them() -> None:
    began = time.monotonic()
    assert "at most 131071 bytes" in str(refusal(changed("experiment.args", ["'" + "x" * 2_000_000 + "'"])))
    assert "at most 1048576 bytes" in str(refusal(changed("experiment.args", ["'" + "x" * 100_000 + "'"] * 30)))
    assert "at most 131071 bytes" in str(refusal(changed("config.env.STEPS", "x" * 200_000)))
    assert time.monotonic() - began < 5


# --- who is told ----------------------------------------------------------------------------------------------------


def test_the_client_of_a_wrong_request_can_be_told() -> None:
    error = refusal(changed("experiment.max_duration", "2 days"))
    cargo = error.about
    assert isinstance(cargo, Cargo)
    assert cargo.access == {META: Access(access_key="AKIAEDGE", secret_key="secretEDGE", region="us-west-2")}
    told = origin(cargo)
    assert (told.experiment, told.project, told.queue) == (table()["experiment"]["key"], "edge", "lab")
    assert told.database == Database("s3", META)


def test_the_client_is_told_whatever_else_is_wrong() -> None:
    request = changed("config.env", "AWS")
    request["experiment"]["artifacts"] = 5
    assert origin(refusal(request).about).database.uri == META
    assert origin(refusal(changed("config.database", ["s3"]) | {"experiment": {"key": "k"}}).about).database.uri is None


def test_a_request_in_clear_text_is_refused_where_that_is_the_rule_and_nobody_is_told() -> None:
    error = refusal(table(), Reading(rules=Rules(allow_clear_text=False)))
    assert "clear text" in str(error)
    assert error.about is None


SIGNER = SigningKey(bytes(range(32)))


class OwnKeys(RecordedKeys):
    """The recorded keys, with a signer whose private half is here."""

    def signer(self, queue: str) -> bytes | None:
        return bytes(SIGNER.verify_key)


def test_the_sender_of_a_wrong_request_in_an_envelope_is_told_when_it_is_signed() -> None:
    wrong = json.dumps(changed("experiment.filename", "/etc/passwd")).encode()
    reading = Reading(queue="lab", keys=OwnKeys(), rules=Rules(require_signature=False))
    signed = outcome(enveloped(wrong, SIGNER), reading)
    assert isinstance(signed, Dropped)
    assert origin(signed.about).sealed
    unsigned = outcome(enveloped(wrong, None), reading)
    assert isinstance(unsigned, Dropped)
    assert unsigned.about is None


# --- what the job may and shall -------------------------------------------------------------------------------------


def test_the_rules_of_the_operator_hold_for_every_job() -> None:
    rules = Rules(network="host", retries=3)
    job = read(table(), Reading(attempt=4, rules=rules)).job
    assert (job.network, job.retries) == ("host", 3)
    assert job.env["STUDIOML_EXPERIMENT"].endswith(".4")
    assert (job.workdir or "").endswith(".4/workspace")


def test_a_run_ends_with_the_lifetime_that_is_left_of_the_experiment() -> None:
    added = table()["experiment"]["time_added"]
    almost = read(table(), Reading(now=added + 96 * 3600 + 1790)).job.timeout
    assert almost == pytest.approx(10)
    assert read(table(), Reading(now=added)).job.timeout == 1200
    assert read(table(), Reading(now=added + 1e9)).job.timeout == 0
    assert read(changed("experiment.max_duration", None), Reading(now=added)).job.timeout == 96 * 3600


@pytest.mark.parametrize("added", [None, 0, 10.0, -5, ...])
def test_a_client_without_a_clock_has_no_lifetime(added: Any) -> None:
    assert read_changed("experiment.time_added", added, reading=Reading(now=1e10)).expires_at is None


@pytest.mark.parametrize("duration", ["0", "-5m", "5", 5, "1d", "1 h", "m", [], True])
def test_durations_that_are_none_are_refused(duration: Any) -> None:
    assert "a duration such as" in str(refusal(changed("experiment.max_duration", duration)))
    assert "a duration such as" in str(refusal(changed("config.experimentLifetime", duration)))


def test_a_2017_configuration_travels_along() -> None:
    request = table("01_plain_seed_v0.0.11")
    request["config"] = {
        "database": {
            "type": "FireBase",
            "apiKey": "AIza-dummy",
            "projectId": "lab-1",
            "messagingSenderId": 123456789012,
            "authDomain": "lab-1.firebaseapp.com",
            "databaseURL": "https://lab-1.firebaseio.com",
            "storageBucket": "lab-1.appspot.com",
            "use_email_auth": True,
            "email": "a@example.com",
            "password": "p8ssw0rd",
        },
        "storage": {"type": "gcloud", "bucket": "lab-1.appspot.com"},
        "saveWorkspaceFrequency": 1,
        "experimentLifetime": "48h",
        "verbose": "error",
        "cloud": {"type": "none"},
        "env": {
            "AWS_ACCESS_KEY_ID": "$AWS_ACCESS_KEY_ID",
            "AWS_DEFAULT_REGION": "us-west-2",
            "AWS_SECRET_ACCESS_KEY": "$AWS_SECRET_ACCESS_KEY",
        },
    }
    workspace = request["experiment"]["artifacts"]["workspace"]
    workspace["qualified"] = "gs://lab-1.appspot.com/experiments/k/workspace.tar"
    decoded = read(request)
    assert decoded.job.inputs[0].uri == "gs://lab-1.appspot.com/experiments/k/workspace.tar"
    assert decoded.job.inputs[0].uri not in decoded.cargo.access
    assert {output.every for output in decoded.job.outputs} == {60.0}
    told = origin(decoded.cargo)
    assert told.database == Database("firebase")
    # A variable that its client did not have is no key.
    assert decoded.cargo.access[decoded.job.inputs[1].uri] == Access()


@pytest.mark.parametrize("value", [None, 5, "none", [], {"type": 5}, {"type": "s3", "bucket": 5}, {"type": "s3"}])
def test_a_database_that_cannot_be_made_out_costs_no_job(value: Any) -> None:
    decoded = read_changed("config.database", value)
    assert origin(decoded.cargo).database.uri is None
    assert not any("meta" in uri for uri in decoded.cargo.access if "metadata" not in uri)


def test_a_database_on_amazon_needs_no_endpoint() -> None:
    decoded = read_changed("config.database", {"type": "S3", "bucket": "meta"})
    assert origin(decoded.cargo).database == Database("s3", "s3+https://s3.amazonaws.com/meta/")
    assert decoded.cargo.access["s3+https://s3.amazonaws.com/meta/"].access_key == "AKIAEDGE"


def test_secrets_are_in_no_refusal() -> None:
    secret = "hush-hush"  # not to be seen
    requests = [
        changed("experiment.artifacts.workspace.credentials", secret),
        changed("experiment.artifacts.workspace.credentials.aws", secret),
        changed("experiment.artifacts.workspace.credentials.aws.access_key", {"k": secret}),
        changed("experiment.artifacts.workspace.credentials.aws", {"secret_key": secret}),
        changed("experiment.artifacts.workspace.qualified", f"ftp://u:{secret}@h/x?sig={secret}"),
        changed("experiment.artifacts.workspace.qualified", f"https://u:{secret}@h/?sig={secret}"),
        changed("config.env", {"A": {"B": secret}}),
        changed("config.env", secret),
        changed("experiment.pythonenv", [f"--index-url https://u:{secret}@h"]),
    ]
    for request in requests:
        assert secret not in str(refusal(request))
