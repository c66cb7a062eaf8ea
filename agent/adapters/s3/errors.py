"""What an S3 server and the way to it say, as the agent's errors: one table for records and artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from xml.etree.ElementTree import ParseError

import urllib3.exceptions as http
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from agent.errors import StoreUnavailable

_KEYS = "check [s3] access_key and secret_key, or the AWS_* variables or file they come from"
_RIGHTS = "give these credentials the right to list, read, write and delete there"
_REGION = "set [s3] region, or the endpoint of the bucket's region"
_FULL = "free some space on the server, or raise the quota"
_LATER = "it is overloaded or starting; the agent tries again"

# Error codes of S3 and of MinIO -> what would put it right.
REMEDIES = {
    "AccessDenied": _RIGHTS,
    "AllAccessDisabled": _RIGHTS,
    "AccountProblem": _RIGHTS,
    "InvalidAccessKeyId": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "ExpiredToken": _KEYS,
    "InvalidToken": _KEYS,
    "RequestTimeTooSkewed": "set this host's clock, for example with systemd-timesyncd or chrony",
    "NoSuchBucket": "make the bucket: edge-agent queue init",
    "InvalidBucketName": "check the bucket's name in the URL",
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "PermanentRedirect": _REGION,
    "Redirect": _REGION,
    "SlowDown": _LATER,
    "InternalError": _LATER,
    "ServiceUnavailable": _LATER,
    "XMinioServerNotInitialized": _LATER,
    "XMinioStorageFull": _FULL,
    "QuotaExceeded": _FULL,
    "XMinioAdminBucketQuotaExceeded": _FULL,
}
_ANSWER = "check that an S3 server answers there, and its log"

_UNREACHED = "check the address, the network and that the server runs"
_CERTIFICATE = "set [s3] ca_file to the certificate of the server's own authority, or use the name it was issued for"
_SILENT = "check the network on the way and the server's load"

# Kinds of failure on the way -> (what happened, what would put it right); the first that fits counts.
TRANSPORT: tuple[tuple[type[Exception], str, str], ...] = (
    (http.SSLError, "no secure connection", _CERTIFICATE),
    (http.NameResolutionError, "its name cannot be resolved", _UNREACHED),
    (http.NewConnectionError, "no connection", _UNREACHED),
    (http.ProxyError, "no connection through the proxy", _UNREACHED),
    (http.TimeoutError, "no answer in time", _SILENT),
    (http.ProtocolError, "the connection broke", _UNREACHED),
    (http.HTTPError, "the request failed", _UNREACHED),
    (HTTPException, "the connection broke", _UNREACHED),
    (OSError, "the connection failed", _UNREACHED),
    (ParseError, "the answer is not S3's", _ANSWER),
    (ValueError, "the answer is not S3's", _ANSWER),
)
FOREIGN: tuple[type[Exception], ...] = (MinioException, *(kind for kind, _, _ in TRANSPORT))

_RETRIED_STATUSES = (429, 500, 502, 503, 504)
_BROKEN = (http.ProtocolError, http.NewConnectionError, ConnectionError, HTTPException)


class S3Failure(StoreUnavailable):
    """A request that failed. code: the server's word for it; status: HTTP status, None when no answer came.

    transient: trying at once again may help.
    """

    def __init__(self, message: str, code: str | None, status: int | None, *, transient: bool) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.transient = transient

    @property
    def is_ambiguous(self) -> bool:
        """True when the request may have had its effect all the same."""
        return self.status is None or self.status == 409 or self.status >= 500


def failure(what: str, error: Exception) -> S3Failure:
    """Return the error to raise for a foreign `error`, met while `what` was used."""
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        error = error.reason
    if isinstance(error, MinioException):
        code, status, words = _answer(error)
        remedy = REMEDIES.get(code or "", _ANSWER)
        return S3Failure(f"{what}: {words}; {remedy}", code, status, transient=status in _RETRIED_STATUSES)
    happened, remedy = next((said, remedy) for kind, said, remedy in TRANSPORT if isinstance(error, kind))
    transient = isinstance(error, _BROKEN) and not isinstance(error, http.TimeoutError)
    return S3Failure(f"{what}: {happened} ({_words(error)}); {remedy}", None, None, transient=transient)


def _answer(error: MinioException) -> tuple[str | None, int | None, str]:
    """Return code, HTTP status and the words of an answer."""
    if isinstance(error, S3Error):
        return error.code, error.response.status, f"{error.code}: {(error.message or '').rstrip('.')}"
    if isinstance(error, ServerError):
        return None, error.status_code, f"HTTP status {error.status_code}"
    if isinstance(error, InvalidResponseError):
        return None, error._code, f"HTTP status {error._code} without an S3 error"
    return None, None, str(error)


def _words(error: Exception) -> str:
    """Return the cause in a few words: urllib3 puts its own objects and the whole chain in front of it."""
    text = str(error.__cause__ or error.__context__ or error)
    return text.rpartition(": ")[2].strip("()<>'\" ") or type(error).__name__


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn every foreign error of the block into S3Failure about `what`."""
    try:
        yield
    except FOREIGN as error:
        raise failure(what, error) from error
