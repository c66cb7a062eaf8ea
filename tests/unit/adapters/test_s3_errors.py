from __future__ import annotations

import inspect
import socket
import ssl
from collections.abc import Iterator
from xml.etree.ElementTree import ParseError

import minio.error
import pytest
import urllib3.exceptions
from agent.adapters.s3.errors import FOREIGN, REMEDIES, S3Failure, failure, translated
from agent.errors import StoreUnavailable
from minio.error import InvalidResponseError, S3Error, ServerError
from urllib3 import HTTPResponse


def foreign_errors() -> Iterator[type[Exception]]:
    """Every error class that the two libraries have."""
    for module in (minio.error, urllib3.exceptions):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if issubclass(kind, Exception) and not issubclass(kind, Warning) and "Admin" not in kind.__name__:
                yield kind
    yield from (socket.gaierror, ConnectionResetError, TimeoutError, ssl.SSLError, ParseError, UnicodeDecodeError)


@pytest.mark.parametrize("kind", sorted(set(foreign_errors()), key=str), ids=lambda kind: kind.__name__)
def test_no_error_of_the_libraries_gets_through_untranslated(kind: type[Exception]) -> None:
    assert issubclass(kind, FOREIGN)


def s3_error(code: str, status: int) -> S3Error:
    return S3Error(HTTPResponse(status=status), code, "Words of the server.", "/b/k", None, None)


@pytest.mark.parametrize("code", sorted(REMEDIES))
def test_each_code_of_the_table_says_what_to_do(code: str) -> None:
    found = failure("s3://b/k", s3_error(code, 400))
    assert str(found) == f"s3://b/k: {code}: Words of the server; {REMEDIES[code]}"
    assert (found.code, found.status, found.recoverable) == (code, 400, True)


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (s3_error("SomethingNew", 400), "SomethingNew: Words of the server; check that an S3 server answers", 400),
        (ServerError("failed", 502), "HTTP status 502; ", 502),
        (InvalidResponseError(200, "text/html", "<html>"), "HTTP status 200 without an S3 error; ", 200),
        (urllib3.exceptions.ProtocolError("Connection aborted."), "the connection broke (Connection aborted.); ", None),
        (ConnectionResetError(104, "Connection reset by peer"), "the connection failed (", None),
        (ParseError("not well-formed"), "the answer is not S3's (not well-formed); ", None),
    ],
)
def test_a_failure_says_what_happened(error: Exception, words: str, status: int | None) -> None:
    with pytest.raises(StoreUnavailable) as caught, translated("s3://b/k"):
        raise error
    assert words in str(caught.value)
    assert isinstance(caught.value, S3Failure)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("status", "transient", "ambiguous"), [(503, True, True), (409, False, True), (403, False, False)]
)
def test_what_may_be_tried_again_and_what_may_have_happened(status: int, transient: bool, ambiguous: bool) -> None:
    found = failure("s3://b/k", s3_error("Code", status))
    assert (found.transient, found.is_ambiguous) == (transient, ambiguous)


def test_an_answer_that_does_not_come_is_ambiguous_and_not_tried_again_at_once() -> None:
    found = failure("s3://b/k", urllib3.exceptions.TimeoutError("timed out"))
    assert (found.transient, found.is_ambiguous) == (False, True)
