from __future__ import annotations

import http.client
import inspect
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import google.api_core.exceptions as api
import google.auth.exceptions as auth
import google.cloud.storage.exceptions as storage
import google.resumable_media as media
import pytest
import requests.exceptions as sent
import urllib3.exceptions
from agent.adapters.gcs.errors import FOREIGN, KINDS, STATUSES, GcsFailure, failure, translated, with_credentials
from agent.errors import StoreUnavailable
from requests import Request, Response

LIBRARIES: tuple[ModuleType, ...] = (api, auth, storage, media, sent, urllib3.exceptions, http.client)


def foreign_errors() -> Iterator[type[Exception]]:
    """Every error class that the libraries have."""
    for module in LIBRARIES:
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and not issubclass(kind, Warning):
                yield kind
    yield from (socket.gaierror, ConnectionResetError, TimeoutError, ssl.SSLError, json.JSONDecodeError)


@pytest.mark.parametrize(
    "kind", sorted(set(foreign_errors()), key=str), ids=lambda kind: f"{kind.__module__}.{kind.__name__}"
)
def test_no_error_of_the_libraries_gets_through_untranslated(kind: type[Exception]) -> None:
    assert issubclass(kind, FOREIGN)


def test_each_line_of_the_table_can_be_reached() -> None:
    for number, (kind, _, _) in enumerate(KINDS):
        assert not issubclass(kind, FOREIGN[:number]), kind


def made(kind: Callable[..., Any], *about: Any) -> Any:
    """Return an error of the libraries, most of which have no type hints."""
    return kind(*about)


def answer(status: int, body: bytes = b'{"error": {"message": "Words of the server."}}') -> Response:
    response = Response()
    response.status_code = status
    response._content = body
    response.headers["Content-Type"] = "application/json"
    response.request = Request("PUT", "http://server/upload?upload_id=secret").prepare()
    return response


STATUS_CODES = [*(status for status in STATUSES if isinstance(status, int)), 301, 418, 500, 501, 502, 503, 504]


@pytest.mark.parametrize("status", STATUS_CODES)
def test_each_status_says_what_it_means_and_what_to_do(status: int) -> None:
    found = failure("gs://b/k", made(api.from_http_response, answer(status)))
    meaning, remedy = STATUSES.get(status) or STATUSES[f"{status // 100}xx"]
    assert str(found) == f"gs://b/k: {meaning} (Words of the server); {remedy}"
    assert (found.status, found.recoverable) == (status, True)
    assert found.transient == (status in (408, 429, 500, 502, 503, 504))


def test_an_answer_that_the_library_did_not_read_has_its_status() -> None:
    found = failure("gs://b/k", storage.InvalidResponse(answer(503), "Request failed with status code", 503))
    assert (found.status, found.transient) == (503, True)


def refused() -> Exception:
    """Return what the library makes of a port on which nobody listens."""
    cause = made(urllib3.exceptions.NewConnectionError, None, "Failed to connect: [Errno 111] Connection refused")
    wrapped = made(urllib3.exceptions.MaxRetryError, None, "/upload?upload_id=secret", cause)
    return sent.ConnectionError(wrapped)


def broken() -> Exception:
    """Return what the library makes of a connection that broke before the answer."""
    cause = urllib3.exceptions.ProtocolError(
        "Connection aborted.", ConnectionResetError(104, "Connection reset by peer")
    )
    return sent.ConnectionError(cause)


@pytest.mark.parametrize(
    ("error", "words", "transient"),
    [
        (refused(), "no connection ([Errno 111] Connection refused); check the network", False),
        (broken(), "the connection broke ([Errno 104] Connection reset by peer); ", True),
        (
            sent.ChunkedEncodingError(urllib3.exceptions.IncompleteRead(1, 2)),
            "broke (IncompleteRead(1 bytes read,",
            True,
        ),
        (urllib3.exceptions.IncompleteRead(1, 2), "the connection broke (", True),
        (http.client.RemoteDisconnected("gone"), "the connection broke (gone)", True),
        (sent.ReadTimeout("read timed out"), "no answer in time (read timed out)", False),
        (sent.ConnectTimeout("timed out"), "no answer in time (timed out)", False),
        (sent.SSLError("certificate has expired"), "no secure connection (certificate has expired)", False),
        (made(auth.TransportError, refused()), "no connection ([Errno 111] Connection refused)", False),
        (made(auth.TransportError, broken()), "the connection broke (", True),
        (made(api.RetryError, "too long", made(api.ServiceUnavailable, "busy")), "the server failed (busy); ", True),
        (
            made(auth.RefreshError, "invalid_grant: bad", {"error": "x"}),
            "not accept the credentials (invalid_grant: bad); ",
            False,
        ),
        (storage.DataCorruption(answer(200), "Checksum mismatch"), "arrived damaged (Checksum mismatch); ", False),
        (json.JSONDecodeError("no value", "", 0), "the answer is not Cloud Storage's (", False),
    ],
)
def test_a_failure_says_what_happened(error: Exception, words: str, transient: bool) -> None:
    with pytest.raises(GcsFailure) as caught, translated("gs://b/k"):
        raise error
    assert words in str(caught.value)
    assert caught.value.transient == transient


@pytest.mark.parametrize(
    "error", [refused(), broken(), made(api.from_http_response, answer(403)), made(auth.TransportError, refused())]
)
def test_the_address_of_an_upload_is_in_no_message(error: Exception) -> None:
    assert "secret" not in str(failure("gs://b/k", error))


def test_endless_words_are_cut_off() -> None:
    assert len(str(failure("gs://b/k", made(api.from_http_response, answer(500, b"x" * 100_000))))) < 600


@pytest.mark.parametrize(
    "error", [made(auth.MalformedError, "no key"), FileNotFoundError(2, "No such file"), ValueError("bad")]
)
def test_missing_credentials_are_named_with_the_remedy(error: Exception) -> None:
    with (
        pytest.raises(StoreUnavailable, match=r"no Google credentials .*GOOGLE_APPLICATION_CREDENTIALS"),
        with_credentials(),
    ):
        raise error
