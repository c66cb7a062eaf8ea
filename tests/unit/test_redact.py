from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator

import pytest
from agent import redact
from agent.logs import setup_logging

SECRET = "hunter2-S3cr3t"
SIGNED = "https://s3.lab/b/k?X-Amz-Credential={s}&X-Amz-Date=20260101&X-Amz-Signature={s}"


@pytest.mark.parametrize(
    "name",
    [
        *(
            "password",
            "DB_PASSWORD",
            "dbPassword",
            "passwd",
            "secret",
            "client_secret",
            "AWS_SECRET_ACCESS_KEY",
        ),
        *(
            "token",
            "authToken",
            "GITHUB_TOKEN",
            "access_token",
            "api_key",
            "apiKey",
            "X-Api-Key",
            "AWS_ACCESS_KEY_ID",
        ),
        *(
            "key_id",
            "private_key",
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "credentials",
            "X-Amz-Signature",
            "--token",
        ),
    ],
)
def test_names_of_secrets_are_known(name: str) -> None:
    assert redact.is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "key",
            "id",
            "keys",
            "keyboard",
            "artifact_key",
            "monkey",
            "tokenizer",
            "max_tokens",
            "name",
            "path",
        ),
        *(
            "public_key",
            "secretary",
            "author",
            "authority",
            "idle",
            "sid",
            "attempt_id",
            "compass",
            "uri",
            "sha256",
        ),
    ],
)
def test_names_that_only_look_similar_are_left_alone(name: str) -> None:
    assert not redact.is_secret_name(name)


@pytest.mark.parametrize(
    "text",
    [
        f"connect to amqp://me:{SECRET}@host/v",
        f"git clone https://{SECRET}@host/x.git",
        SIGNED.format(s=SECRET),
        f"https://storage.lab/o?X-Goog-Signature={SECRET}",
        f"https://blob.lab/o?sv=1&sig={SECRET}",
        f"https://api.lab/v1?key={SECRET}&x=1",
        f"https://api.lab/#access_token={SECRET}",
        f"failed with token={SECRET}, try again",
        f"DB_PASSWORD='{SECRET} and more'",
        f'{{"password": "{SECRET}"}}',
        f"{{'api_key': '{SECRET}'}}",
        f"password: {SECRET}",
        f"Authorization: Basic {SECRET}",
        f"curl -H 'Authorization: Bearer {SECRET}' x",
        f"Cookie: a=1; session={SECRET}",
        f"sent bearer {SECRET}-{SECRET}",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIx.{SECRET}",
    ],
)
def test_secrets_in_text_are_masked(text: str) -> None:
    assert SECRET not in redact.mask_text(text)
    assert redact.MASK in redact.mask_text(text)


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def url_coded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


NESTED = json.dumps({"payload": json.dumps({"env": {"DB_PASSWORD": f'{SECRET}"{SECRET}'}, "name": "n"})})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ('{"token": 12345, "n": 5}', '{"token": "***", "n": 5}'),
        ('{"passwords": ["a", "b"], "password": ["a", "b"]}', '{"passwords": ["a", "b"], "password": "***"}'),
        (NESTED, NESTED.replace(SECRET + '\\\\\\"' + SECRET, "***")),
        (f"X-Vault-Token: {SECRET} given", "X-Vault-Token: *** given"),
        (f"private-token:{SECRET}", "private-token:***"),
        (f"sent Basic {coded('me:' + SECRET)} to it", "sent Basic *** to it"),
        (f"Authorization: Basic {coded('me:' + SECRET)}", "Authorization: ***"),
        (
            f"git -c http.extraHeader='Authorization: basic {coded('me:' + SECRET)}'",
            "git -c http.extraHeader='Authorization: ***'",
        ),
        (f"config {coded(json.dumps({'password': SECRET}))} read", "config *** read"),
        (f"config {url_coded(json.dumps({'password': SECRET + '??>>'}))} read", "config *** read"),
        (f"twice {coded(coded('DB_PASSWORD=' + SECRET))}", "twice ***"),
        (f"https://host/x?state={url_coded('token=' + SECRET)}", "https://host/x?state=***"),
        (f"env A={coded('postgres://me:' + SECRET + '@db/x')}", "env A=***"),
        (coded(f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"), "***"),
    ],
)
def test_secrets_are_found_in_json_headers_urls_and_base64(text: str, masked: str) -> None:
    assert text != masked
    assert redact.mask_text(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "a basic understanding of it",
        f"basic {coded('no colon')}",
        "sha256:" + "0a1b2c3d" * 8,
        f"greeting {coded('hello, this is only a greeting')}",
        "file:///srv/images/some/where/below/tools.sif",
        "image-source: needs image file:///a.sif",
        "20261123-055947-3e51b05d.1 took over",
        '{"\\"name\\": \\"n\\""}',
        "SHA256:" + coded("x" * 32).rstrip("="),
    ],
)
def test_what_only_looks_like_coded_secrets_stays_as_it_is(text: str) -> None:
    assert redact.mask_text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "secret: needs DB, has none",
        "the key is data/train.csv",
        "key=data/a.csv sid=20260101-aa",
        "https://host/path?x=1&page=2",
        "file:///srv/data/a.csv",
        "mail somebody@example.org",
        "max_tokens=512",
        "bearer of bad news",
        "tokenizer: fast",
    ],
)
def test_text_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact.mask_text(text) == text


def test_a_signed_url_keeps_what_is_no_secret() -> None:
    assert redact.mask_url(SIGNED.format(s=SECRET)) == SIGNED.format(s="***")
    assert redact.mask_url(f"s3://me:{SECRET}@host:9000/b") == "s3://***@host:9000/b"


def test_secret_options_and_variables_in_argument_lists_are_masked() -> None:
    argv = [
        "x",
        "--token",
        SECRET,
        f"--password={SECRET}",
        "-e",
        f"DB_PASSWORD={SECRET} {SECRET}",
        "-u",
        f"me:{SECRET}",
    ]
    assert redact.mask_argv([*argv, "--name", "n", "--env", "A=1", f"https://a:{SECRET}@h"]) == [
        *("x", "--token", "***", "--password=***", "-e", "DB_PASSWORD=***", "-u", "me:***"),
        *("--name", "n", "--env", "A=1", "https://***@h"),
    ]


def test_environment_and_headers_are_masked_by_name() -> None:
    assert redact.mask_env({"API_KEY": SECRET, "HOME": "/h", "URL": f"a://u:{SECRET}@h"}) == {
        "API_KEY": "***",
        "HOME": "/h",
        "URL": "a://***@h",
    }
    headers = {"Authorization": SECRET, "Cookie": SECRET, "X-Api-Key": SECRET, "Accept": "*/*"}
    assert redact.mask_headers(headers) == {
        "Authorization": "***",
        "Cookie": "***",
        "X-Api-Key": "***",
        "Accept": "*/*",
    }


def test_nested_data_is_masked_by_key_at_every_depth() -> None:
    data = {
        "job": {"env": {"TOKEN": SECRET, "N": "1"}, "secrets": ["TOKEN"], "key": "data/a.csv"},
        "secrets": {"ANY": SECRET},
        "argv": ("run", "--password", SECRET),
        "rows": [{"api_key": {"nested": SECRET}}, 5, None, True],
        "token": 12345,
    }
    assert redact.mask_data(data) == {
        "job": {"env": {"TOKEN": "***", "N": "1"}, "secrets": ["TOKEN"], "key": "data/a.csv"},
        "secrets": {"ANY": "***"},
        "argv": ["run", "--password", "***"],
        "rows": [{"api_key": "***"}, 5, None, True],
        "token": "***",
    }


@pytest.fixture
def _restored_logging() -> Iterator[None]:
    root, agent = logging.getLogger(), logging.getLogger("agent")
    handlers, level, agent_level = list(root.handlers), root.level, agent.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    agent.setLevel(agent_level)


@pytest.mark.usefixtures("_restored_logging")
def test_json_log_lines_carry_event_and_masked_fields() -> None:
    stream = io.StringIO()
    setup_logging("info", "json", stream)
    log = logging.getLogger("agent.test")
    log.info(
        "job claimed from %s",
        f"s3://u:{SECRET}@h",
        extra={"event": "job-claimed", "sid": "s1", "token": SECRET},
    )
    log.debug("not this")
    logging.getLogger("library").info("nor this")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert len(lines) == 1
    assert lines[0].pop("time").endswith("+00:00")
    assert lines[0] == {
        "level": "info",
        "logger": "agent.test",
        "event": "job-claimed",
        "message": "job claimed from s3://***@h",
        "sid": "s1",
        "token": "***",
    }


@pytest.mark.usefixtures("_restored_logging")
@pytest.mark.parametrize("form", ["text", "json"])
def test_tracebacks_are_masked_and_odd_fields_do_not_break_a_line(form: str) -> None:
    stream = io.StringIO()
    setup_logging("debug", form, stream)
    error = (ValueError, ValueError(f"password={SECRET}"), None)
    logging.getLogger("agent").error(
        "failed", exc_info=error, extra={"thing": object(), "error": OSError(f"token={SECRET}")}
    )
    assert SECRET not in stream.getvalue()
    assert "password=***" in stream.getvalue()


@pytest.mark.usefixtures("_restored_logging")
def test_text_log_lines_show_control_characters_instead_of_obeying_them() -> None:
    stream = io.StringIO()
    setup_logging("info", "text", stream)
    logging.getLogger("agent").warning("name\n%s", "\x1b[2J", extra={"event": "e", "job": "a b", "n": 3, "x": "\r"})
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line[8:] == ' warning  name\\n\\x1b[2J  job="a b"  n=3  x=\\r\n'


@pytest.mark.usefixtures("_restored_logging")
def test_setting_up_again_replaces_what_was_there() -> None:
    first, second = io.StringIO(), io.StringIO()
    setup_logging("info", "text", first)
    setup_logging("error", "text", second)
    logging.getLogger("agent").warning("quiet")
    logging.getLogger("agent").error("loud")
    assert first.getvalue() == ""
    assert "loud" in second.getvalue()
    assert "quiet" not in second.getvalue()
