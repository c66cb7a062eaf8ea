"""What Cloud Storage, the way to it and the credentials say, as the agent's errors: by status, else by kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import google.auth.exceptions as auth
import google.cloud.storage.exceptions as media
import requests.exceptions as sent
import urllib3.exceptions as http
from google.api_core.exceptions import (
    AsyncRestUnsupportedParameterError,
    GoogleAPICallError,
    GoogleAPIError,
    RetryError,
)
from google.resumable_media import DataCorruption, InvalidResponse

from agent.errors import StoreUnavailable

_KEY = (
    "set gcs.credentials_file or GOOGLE_APPLICATION_CREDENTIALS to the key of a service account, and check that the key"
    " is in use and this host's clock"
)
_ROLE = "grant the agent's account the role roles/storage.objectUser on the bucket"
_BUCKET = "make the bucket, or correct its name in the URL"
_LATER = "it is overloaded or has a fault; the agent tries again"
_AGAIN = "somebody else changed it; the agent tries again"
_SERVER = "check gcs.endpoint or STORAGE_EMULATOR_HOST: does Cloud Storage or its emulator answer there?"
_NETWORK = "check the network, a proxy or firewall on the way, and the name server"
_SILENT = "check the network on the way and the server's load"
_CERTIFICATE = "check this host's clock and certificates, and gcs.endpoint"

# HTTP status -> (what it means, what would put it right); "4xx" and "5xx" are all others of their kind.
STATUSES: dict[int | str, tuple[str, str]] = {
    400: ("the server refused the form of the request", "check the name in the URL"),
    401: ("the server does not accept the credentials", _KEY),
    403: ("permission denied", _ROLE),
    404: ("does not exist", _BUCKET),
    407: ("the proxy wants a password", "set it in HTTPS_PROXY"),
    408: ("no answer in time", _SILENT),
    409: ("changed at the same time", _AGAIN),
    410: ("is gone", _AGAIN),
    412: ("changed meanwhile", _AGAIN),
    413: ("too large", "Cloud Storage takes objects of at most 5 TiB"),
    416: ("shorter than it was", _AGAIN),
    429: ("too many requests", "raise the quota of the project, or wait: the agent tries again"),
    "3xx": ("the answer is not Cloud Storage's", _SERVER),
    "4xx": ("the server refused the request", _SERVER),
    "5xx": ("the server failed", _LATER),
}
_RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)

# Kinds of failure without a status -> (what happened, what would put it right); the first that fits counts.
KINDS: tuple[tuple[type[Exception], str, str], ...] = (
    (auth.DefaultCredentialsError, "no Google credentials", _KEY),
    (auth.RefreshError, "Google does not accept the credentials", _KEY),
    (auth.MutualTLSChannelError, "no client certificate", "check the certificate that this host is to show to Google"),
    (auth.ClientCertError, "no client certificate", "check the certificate that this host is to show to Google"),
    (auth.TimeoutError, "no answer in time", _SILENT),
    (auth.TransportError, "no access token", _NETWORK),
    (auth.GoogleAuthError, "the Google credentials cannot be used", _KEY),
    (sent.SSLError, "no secure connection", _CERTIFICATE),
    (http.SSLError, "no secure connection", _CERTIFICATE),
    (sent.ProxyError, "no connection through the proxy", _NETWORK),
    (http.ProxyError, "no connection through the proxy", _NETWORK),
    (http.NameResolutionError, "its name cannot be resolved", _NETWORK),
    (http.NewConnectionError, "no connection", _NETWORK),
    (sent.Timeout, "no answer in time", _SILENT),
    (http.TimeoutError, "no answer in time", _SILENT),
    (sent.ConnectionError, "the connection broke", _NETWORK),
    (sent.ChunkedEncodingError, "the connection broke", _NETWORK),
    (sent.InvalidURL, "no address of a server", _SERVER),
    (sent.RequestException, "the request failed", _NETWORK),
    (http.ProtocolError, "the connection broke", _NETWORK),
    (HTTPException, "the connection broke", _NETWORK),
    (http.HTTPError, "the request failed", _NETWORK),
    (DataCorruption, "it arrived damaged", "the agent tries again"),
    (InvalidResponse, "the answer is not Cloud Storage's", _SERVER),
    (media.InvalidPathError, "the name cannot be used", "check the name in the URL"),
    (GoogleAPIError, "the request failed", _LATER),
    (AsyncRestUnsupportedParameterError, "the request failed", _LATER),
    (OSError, "the connection failed", _NETWORK),
    (ValueError, "the answer is not Cloud Storage's", _SERVER),
)
FOREIGN: tuple[type[Exception], ...] = tuple(kind for kind, _, _ in KINDS)

_BROKEN = (
    http.ProtocolError,
    sent.ConnectionError,
    sent.ChunkedEncodingError,
    ConnectionError,
    HTTPException,
)
_SLOW = (http.TimeoutError, sent.Timeout, http.SSLError, sent.SSLError)
_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")
_MOST_WORDS = 300  # characters


class GcsFailure(StoreUnavailable):
    """A request that failed. status: the HTTP status, None when no answer came; transient: trying at once may help."""

    def __init__(self, message: str, status: int | None, *, transient: bool) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient


def failure(what: str, error: Exception) -> GcsFailure:
    """Return the error to raise for a foreign `error`, met while `what` was used."""
    cause = _cause(error)
    status = _status(cause)
    if status is None:
        happened, remedy = next((said, remedy) for kind, said, remedy in KINDS if isinstance(cause, kind))
        transient = isinstance(cause, _BROKEN) and not isinstance(cause, _SLOW)
    else:
        happened, remedy = STATUSES.get(status) or STATUSES[f"{status // 100}xx"]
        transient = status in _RETRIED_STATUSES
    return GcsFailure(f"{what}: {happened} ({_words(cause)}); {remedy}", status, transient=transient)


def _cause(error: Exception) -> Exception:
    """Return the error that the libraries have wrapped in others."""
    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        return _cause(error.cause)
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        return _cause(error.reason)
    inner = error.args[0] if error.args else None
    if isinstance(error, (auth.TransportError, sent.RequestException)) and isinstance(inner, FOREIGN):
        return _cause(inner)
    return error


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer; None when there was none, or one that tells nothing."""
    found = None
    if isinstance(error, GoogleAPICallError):
        found = error.code
    elif isinstance(error, InvalidResponse):
        found = getattr(error.response, "status_code", None)
    return int(found) if found is not None and 300 <= found < 600 else None


def _words(error: Exception) -> str:
    """Return what happened in a few words: URLs are left out, since that of an upload is a secret."""
    if isinstance(error, GoogleAPICallError):
        text = _REQUEST.sub("", error.message or "")
    elif isinstance(error, auth.GoogleAuthError):
        text = str(error.args[0] if error.args else "")
    else:
        inner = [each for each in error.args if isinstance(each, Exception)]
        text = str(inner[0] if inner else error).rpartition(": ")[2]
    return " ".join(text.split())[:_MOST_WORDS].rstrip(".") or type(error).__name__


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn every foreign error of the block into GcsFailure about `what`."""
    try:
        yield
    except FOREIGN as error:
        raise failure(what, error) from error


@contextmanager
def with_credentials() -> Iterator[None]:
    """Turn every error of finding credentials into StoreUnavailable."""
    try:
        yield
    except (auth.GoogleAuthError, OSError, ValueError) as error:
        words = " ".join(str(error).split())[:_MOST_WORDS].rstrip(".")
        raise StoreUnavailable(f"no Google credentials for Cloud Storage: {words}; {_KEY}") from error
