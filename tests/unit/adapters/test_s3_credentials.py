from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.s3.client import connect
from agent.adapters.s3.credentials import EARLY, Refreshed, provider_of
from agent.config.s3 import S3Section
from agent.errors import StoreUnavailable
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider

ALONE = {"AWS_EC2_METADATA_DISABLED": "true"}
TOKEN = "a session with the metadata service"


class Metadata:
    """The metadata service of a machine with the role "edge", version 2 only: without a token it says no."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.knows_version_2 = True
        self.end = "2099-01-01T00:00:00Z"
        self.given = 0
        self.code = "Success"
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{self._server.server_address[1]}/"}

    def answer(self, method: str, path: str, headers: Any) -> tuple[int, str]:
        self.requests.append(f"{method} {path}")
        if (method, path) == ("PUT", "/latest/api/token"):
            if not self.knows_version_2:
                return 403, ""
            return (200, TOKEN) if headers["X-aws-ec2-metadata-token-ttl-seconds"] else (400, "")
        if headers["X-aws-ec2-metadata-token"] != TOKEN:
            return 401, ""
        roles = "/latest/meta-data/iam/security-credentials/"
        if path == roles:
            return 200, "edge"
        if path != f"{roles}edge":
            return 404, ""
        self.given += 1
        number = "" if self.given == 1 else f"-{self.given}"
        keys = {"AccessKeyId": f"role-key{number}", "SecretAccessKey": "role-secret", "Token": f"role-token{number}"}
        return 200, json.dumps({"Code": self.code, **keys, "Expiration": self.end})

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(metadata: Metadata) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            status, text = metadata.answer(self.command, self.path, self.headers)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_PUT = answer  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Nobody reads it."""

    return Handler


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    service = Metadata()
    yield service
    service.stop()


def keys_of(provider: Provider) -> tuple[str, str, str | None]:
    found = provider.retrieve()
    return found.access_key, found.secret_key, found.session_token


def test_the_configuration_is_stronger_than_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    file = tmp_path / "secret"
    file.write_text("from the file\n")
    section = S3Section(access_key="me", secret_key="written", session_token="t")
    assert keys_of(provider_of(section, {})) == ("me", "written", "t")
    section = S3Section(access_key="me", secret_key="written", secret_key_file=str(file))
    assert keys_of(provider_of(section, {})) == ("me", "from the file", None)


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    section = S3Section(access_key="me", secret_key_file=str(tmp_path / "gone"))
    with pytest.raises(StoreUnavailable, match=r"s3.secret_key_file: .*/gone: no such file"):
        provider_of(section, {})


def test_the_environment_comes_before_the_shared_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = file-key\naws_secret_access_key = file-secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    assert keys_of(provider_of(S3Section(), ALONE)) == ("file-key", "file-secret", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "env-token")
    assert keys_of(provider_of(S3Section(), ALONE)) == ("env-key", "env-secret", "env-token")


def test_a_profile_that_is_named_counts_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[edge]\naws_access_key_id = k\naws_secret_access_key = s\naws_session_token = t\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "env-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    assert keys_of(provider_of(S3Section(credentials_file=str(file), profile="edge"), {})) == ("k", "s", "t")
    with pytest.raises(StoreUnavailable, match="access key does not exist in profile lab"):
        provider_of(S3Section(credentials_file=str(file), profile="lab"), {}).retrieve()


def test_a_machine_with_a_role_has_its_credentials(metadata: Metadata) -> None:
    provider = provider_of(S3Section(), metadata.environ)
    assert keys_of(provider) == ("role-key", "role-secret", "role-token")
    assert metadata.requests[0] == "PUT /latest/api/token"
    asked = len(metadata.requests)
    assert keys_of(provider) == ("role-key", "role-secret", "role-token")
    assert len(metadata.requests) == asked


def test_credentials_of_a_role_that_end_soon_are_fetched_anew_with_a_new_session(metadata: Metadata) -> None:
    provider = provider_of(S3Section(), metadata.environ)
    metadata.end = f"{datetime.now(timezone.utc) + EARLY / 2:%Y-%m-%dT%H:%M:%SZ}"
    assert keys_of(provider) == ("role-key", "role-secret", "role-token")
    metadata.end = "2099-01-01T00:00:00Z"
    assert keys_of(provider) == ("role-key-2", "role-secret", "role-token-2")
    assert keys_of(provider) == ("role-key-2", "role-secret", "role-token-2")
    assert metadata.requests.count("PUT /latest/api/token") == 2


def test_a_role_without_version_2_of_the_metadata_service_is_none(metadata: Metadata) -> None:
    metadata.knows_version_2 = False
    with pytest.raises(StoreUnavailable, match=r"instance metadata: .*403"):
        provider_of(S3Section(), metadata.environ).retrieve()
    assert metadata.requests == ["PUT /latest/api/token"]


def test_a_role_that_the_metadata_service_cannot_take_on_is_none(metadata: Metadata) -> None:
    metadata.code = "AssumeRoleUnauthorizedAccess"
    with pytest.raises(StoreUnavailable, match=r"instance metadata: .*AssumeRoleUnauthorizedAccess") as caught:
        provider_of(S3Section(), metadata.environ).retrieve()
    assert "role-secret" not in str(caught.value)


def test_requests_of_a_machine_with_a_role_carry_and_sign_its_session(metadata: Metadata) -> None:
    with Recorder() as server:
        section = S3Section(endpoint=server.endpoint, region="eu-central-1")
        connect(section, metadata.environ).call("PUT", "bucket", "a", body=b"content")
    headers = server.headers[0]
    assert headers["x-amz-security-token"] == "role-token"
    assert "Credential=role-key/" in headers["authorization"]
    assert "x-amz-security-token" in re.findall("SignedHeaders=([^,]+)", headers["authorization"])[0].split(";")


class Recorder:
    """A server that says yes to everything and keeps the headers, their names in lower case."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                recorder.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *about: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_no_credentials_anywhere_is_one_clear_error(metadata: Metadata) -> None:
    metadata.stop()
    with pytest.raises(StoreUnavailable, match=r"set \[s3\] access_key.*environment.*shared file.*instance metadata"):
        provider_of(S3Section(), metadata.environ).retrieve()


class Role(Provider):
    """Credentials that end an hour after `now`; while `away` is set, nobody answers."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1)  # noqa: DTZ001 - the library's times are UTC without a zone
        self.away = False
        self.asked = 0

    def retrieve(self) -> Credentials:
        self.asked += 1
        if self.away:
            raise ValueError("nobody answers")
        return Credentials(f"key-{self.asked}", "secret", "token", self.now + timedelta(hours=1))


def test_credentials_with_an_end_are_fetched_anew_before_it() -> None:
    role = Role()
    provider = Refreshed(lambda: role, lambda: role.now)
    assert provider.retrieve().access_key == "key-1"
    role.now += timedelta(hours=1) - EARLY - timedelta(seconds=1)
    assert provider.retrieve().access_key == "key-1"
    role.now += timedelta(seconds=2)
    assert provider.retrieve().access_key == "key-2"


def test_credentials_are_used_to_their_end_when_no_new_ones_can_be_had() -> None:
    role = Role()
    provider = Refreshed(lambda: role, lambda: role.now)
    provider.retrieve()
    role.away = True
    role.now += timedelta(minutes=58)
    assert provider.retrieve().access_key == "key-1"
    role.now += timedelta(minutes=2)
    with pytest.raises(ValueError, match="nobody answers"):
        provider.retrieve()
