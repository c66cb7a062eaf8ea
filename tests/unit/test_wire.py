from __future__ import annotations

import json
from typing import Any

import pytest
from agent import wire
from agent.errors import JobError
from agent.model.job import Job, Requires

MINIMAL = {"api": "edge-agent/v1", "image": "file:///srv/a.sif"}


def _body(**keys: Any) -> bytes:
    return json.dumps({**MINIMAL, **keys}).encode()


def test_a_native_message_becomes_its_job() -> None:
    job = wire.decode_native(_body(name="n", requires={"memory": "2GiB"}), {})
    assert job == Job(image="file:///srv/a.sif", name="n", requires=Requires(memory=2 * 1024**3))


def test_encoding_is_canonical_and_gives_the_same_job_back() -> None:
    job = wire.decode_native(_body(env={"B": "ü", "A": "1"}, command=["x"], timeout="2m"), {})
    encoded = wire.encode(job)
    assert (
        encoded
        == (
            '{"api":"edge-agent/v1","command":["x"],"env":{"A":"1","B":"ü"},"image":"file:///srv/a.sif","timeout":120.0}'
        ).encode()
    )
    assert wire.decode_native(encoded, {}) == job


BROKEN = {
    "empty": (b"", "not JSON"),
    "no JSON": (b"hello", "not JSON: Expecting value, line 1 column 1"),
    "truncated": (_body()[:-5], "not JSON: "),
    "two objects": (_body() + _body(), "Extra data"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
    "a byte order mark": (b"\xef\xbb\xbf" + _body(), "not JSON"),
    "UTF-16": (_body().decode().encode("utf-16"), "not UTF-8"),
    "an array": (b"[1]", "a JSON array, not an object"),
    "null": (b"null", "a JSON null, not an object"),
    "a key twice": (b'{"api": "edge-agent/v1", "api": "x"}', 'the key "api" is there twice'),
    "a key twice, deep": (b'{"api": {"a": [{"b": 1, "b": 2}]}}', 'the key "b" is there twice'),
    "NaN": (b'{"a": NaN}', "NaN is not a JSON number"),
    "infinity": (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
    "a float too large": (b'{"a": 1e999}', "the number 1e999 is too large"),
    "an integer too long": (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON that can be read"),
    "half a surrogate pair": (b'{"a": "\\ud800"}', "half a surrogate pair"),
    "deep arrays": (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested more than 64 levels"),
    "deep objects": (b'{"a": ' * 50_000, "nested more than 64 levels"),
    "too large": (b'{"a": "' + b"x" * wire.MAX_BYTES + b'"}', "at most 4194304 bytes"),
    "another form": (b'{"experiment": {}}', 'no "api" key: not a native job'),
    "another version": (b'{"api": "edge-agent/v9"}', 'api = "edge-agent/v9" is not understood'),
    "no image": (b'{"api": "edge-agent/v1"}', "missing required field image"),
    "an unknown key": (_body(comand=["x"]), 'unknown key "comand" (did you mean "command"?)'),
    "a wrong type": (_body(requires={"cpus": "two"}), "requires.cpus = 'two': Expected float, got str"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_message_is_refused_with_the_reason_and_becomes_a_dead_letter(name: str) -> None:
    body, reason = BROKEN[name]
    with pytest.raises(JobError) as caught:
        wire.decode_native(body, {})
    assert reason in str(caught.value)
    answer = wire.describe(body, {})
    expected = "dead-letter" if wire.form_of(body) == "native" else "drop"
    assert (answer["disposition"], answer["job"]) == (expected, None)
    assert wire.form_of(body) == "studioml" or answer["reason"] == str(caught.value)


def test_brackets_inside_texts_are_not_nesting() -> None:
    name = '\\"[[{{' * 200
    assert wire.decode_native(_body(name=name), {}).name == name


def test_a_message_that_says_its_form_is_described_with_it() -> None:
    assert wire.describe(_body(), {}) == {
        "disposition": "run",
        "reason": None,
        "form": "native",
        "job": MINIMAL,
    }
    assert wire.describe(_body(bad=1), {})["form"] == "native"
    assert wire.describe(b'{"experiment": {}}', {})["form"] == "studioml"
    assert wire.describe(b"{", {})["form"] is None


def test_a_job_file_needs_no_api_and_may_write_dates_without_quotes() -> None:
    job = wire.read_job_file('image = "file:///a.sif"\nexpires = 2030-01-01T00:00:00Z\n', "job.toml")
    assert job == Job(image="file:///a.sif", expires="2030-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'image = "file:///a.sif"\ncomand = ["x"]',
            'job.toml:2: unknown key "comand" (did you mean "command"?)',
        ),
        (
            'image = "file:///a.sif"\n[requires]\n\ncpus = "x"',
            "job.toml:4: requires.cpus = 'x': Expected float, got str",
        ),
        (
            'image = "file:///a.sif"\n[[inputs]]\nuri = "a:b"\npath = "x"\n[[inputs]]\nuri = "a:b"\npath = "../x"',
            'job.toml:7: inputs[1].path = "../x" (a path below the job',
        ),
        (
            'image = "file:///a.sif"\n[[inputs]]\nuri = "a:b"',
            "job.toml:2: inputs[0]: missing required field path",
        ),
        (
            'image = "file:///a.sif"\nrequires.where = [\n"a = 1",\n"a ~ 1"]',
            'job.toml:4: constraint "a ~ 1"',
        ),
        ('image = "a:b"\ntimeout = inf', "job.toml:2: timeout = inf (a finite number)"),
        ('name = "x"', "job.toml: missing required field image"),
        ('image = "a.sif"', 'job.toml:1: image = "a.sif": not a URI'),
        ("image = ", "job.toml:1: not valid TOML"),
    ],
)
def test_an_error_in_a_job_file_names_file_and_line(text: str, message: str) -> None:
    with pytest.raises(JobError) as caught:
        wire.read_job_file(text, "job.toml")
    assert str(caught.value).startswith(message)
