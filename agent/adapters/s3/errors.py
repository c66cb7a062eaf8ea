"""What an S3 server and the way to it say, as the agent's errors: one table for records and artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from agent.adapters.http import transport
from agent.adapters.http.transport import RETRIED_STATUSES, TRANSPORT, Failure
from agent.redact import mask_text

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

# Errors of the library's own reading of an answer.
_UNREADABLE = (ParseError, ValueError)
FOREIGN: tuple[type[Exception], ...] = (MinioException, *(kind for kind, _, _ in TRANSPORT), *_UNREADABLE)

_WORDS = 300  # characters of what a server says
_REGION_NAME = re.compile(r"[a-z0-9-]{1,32}")
_REGION_ELEMENT = re.compile(rb"<Region>([a-z0-9-]{1,32})</Region>")


class S3Failure(Failure):
    """A request that failed. code: the server's word for it; status: HTTP status, None when no answer came.

    said: the message without its remedy. region: the one that the server wants the request to be signed for.
    """

    def __init__(
        self,
        message: str,
        code: str | None,
        status: int | None,
        *,
        transient: bool,
        lasting: bool = False,
        said: str = "",
        region: str | None = None,
    ) -> None:
        super().__init__(message, status, transient=transient, lasting=lasting)
        self.code = code
        self.said = said or message
        self.region = region

    @property
    def is_ambiguous(self) -> bool:
        """True when the request may have had its effect all the same."""
        return self.status is None or self.status == 409 or self.status >= 500


def failure(what: str, error: Exception) -> S3Failure:
    """Return the error to raise for a foreign `error`, met while `what` was used."""
    if isinstance(error, MinioException):
        return _refusal(what, error)
    if isinstance(error, tuple(kind for kind, _, _ in TRANSPORT)):
        found = transport.failure(what, error)
        return S3Failure(str(found), None, None, transient=found.transient, lasting=found.lasting)
    said = f"{what}: the answer is not S3's ({transport.words_of(error)})"
    return S3Failure(f"{said}; {_ANSWER}", None, None, transient=False)


def _refusal(what: str, error: MinioException) -> S3Failure:
    answer = _answer(error)
    said = f"{what}: {mask_text(answer.words)[:_WORDS]}"
    message = f"{said}; {REMEDIES.get(answer.code or '', _ANSWER)}"
    transient = answer.status in RETRIED_STATUSES
    return S3Failure(message, answer.code, answer.status, transient=transient, said=said, region=_region_in(error))


class _Answer(NamedTuple):
    """Code, HTTP status and the words of an answer."""

    code: str | None
    status: int | None
    words: str


def _answer(error: MinioException) -> _Answer:
    if isinstance(error, S3Error):
        return _Answer(error.code, error.response.status, f"{error.code}: {(error.message or '').rstrip('.')}")
    if isinstance(error, ServerError):
        return _Answer(None, error.status_code, f"HTTP status {error.status_code}")
    if isinstance(error, InvalidResponseError):
        return _Answer(None, error._code, f"HTTP status {error._code} without an S3 error")
    return _Answer(None, None, str(error))


def _region_in(error: MinioException) -> str | None:
    """Return the region that an answer names: in a header, or where it has a body, there."""
    if not isinstance(error, S3Error):
        return None
    named = error.response.headers.get("x-amz-bucket-region") or ""
    if _REGION_NAME.fullmatch(named):
        return named
    element = _REGION_ELEMENT.search(error.response.data or b"")
    return element[1].decode() if element else None


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn every foreign error of the block into S3Failure about `what`."""
    try:
        yield
    except FOREIGN as error:
        raise failure(what, error) from error
