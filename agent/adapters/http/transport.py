"""What goes wrong on the way to a server, as the agent's errors: one table for all that speak HTTP."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException

import urllib3.exceptions as http
from urllib3 import BaseHTTPResponse
from urllib3.util.ssl_match_hostname import CertificateError

from agent.errors import JobFault, StoreUnavailable

_UNREACHED = "check the address, the network and that the server runs"
_CERTIFICATE = "set [s3] ca_file to the certificate of the server's own authority, or use the name it was issued for"
_SILENT = "check the network on the way and the server's load"

# Kinds of failure on the way -> (what happened, what would put it right); the first that fits counts.
TRANSPORT: tuple[tuple[type[Exception], str, str], ...] = (
    (http.SSLError, "no secure connection", _CERTIFICATE),
    (http.NameResolutionError, "its name cannot be resolved", _UNREACHED),
    (http.LocationParseError, "this cannot be an address", "correct it"),
    (http.NewConnectionError, "no connection", _UNREACHED),
    (http.ProxyError, "no connection through the proxy", _UNREACHED),
    (http.TimeoutError, "no answer in time", _SILENT),
    (http.ProtocolError, "the connection broke", _UNREACHED),
    (http.HTTPError, "the request failed", _UNREACHED),
    (HTTPException, "the connection broke", _UNREACHED),
    (OSError, "the connection failed", _UNREACHED),
)

RETRIED_STATUSES = (429, 500, 502, 503, 504)
_BROKEN = (http.ProtocolError, http.NewConnectionError, ConnectionError, HTTPException)
# OpenSSL's numbers for a certificate that was issued for another host, address or mailbox.
_OTHER_NAME = (62, 63, 64)


class Failure(StoreUnavailable):
    """A request that failed. status: HTTP status, None when no answer came.

    transient: trying at once again may help. lasting: no later try will help, whoever makes it.
    """

    def __init__(self, message: str, status: int | None = None, *, transient: bool, lasting: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.transient = transient
        self.lasting = lasting


class Refused(JobFault):
    """A request that a job wants and that fails whenever it is made. status: HTTP status, None when no answer came."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


def failure(what: str, error: Exception) -> Failure:
    """Return the error to raise for one of the kinds in TRANSPORT, met while `what` was used."""
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        error = error.reason
    happened, remedy = next((said, remedy) for kind, said, remedy in TRANSPORT if isinstance(error, kind))
    message = f"{what}: {happened} ({words_of(error)}); {remedy}"
    return Failure(message, transient=is_transient(error), lasting=is_lasting(error))


def is_transient(error: Exception) -> bool:
    """Say whether the same request may succeed on a new connection at once."""
    return isinstance(error, _BROKEN) and not isinstance(error, http.TimeoutError)


def is_lasting(error: Exception) -> bool:
    """Say whether it stays so: an address that is none, a certificate for another name.

    A certificate that is too old or too new may be this host's clock, one of an unknown authority its configuration.
    """
    if isinstance(error, http.LocationParseError):
        return True
    cause = error.args[0] if isinstance(error, http.SSLError) and error.args else None
    return isinstance(cause, CertificateError) or (
        isinstance(cause, ssl.SSLCertVerificationError) and cause.verify_code in _OTHER_NAME
    )


def words_of(error: Exception) -> str:
    """Return the cause in a few words: urllib3 puts its own objects and the whole chain in front of it."""
    text = str(error.__cause__ or error.__context__ or error)
    return text.rpartition(": ")[2].strip("()<>'\" ") or type(error).__name__


def length_of(response: BaseHTTPResponse) -> int | None:
    """Return the bytes that the answer says its body has, None when it does not say so clearly."""
    text = response.headers.get("Content-Length", "")
    chunked = "Transfer-Encoding" in response.headers
    return int(text) if not chunked and text.isascii() and text.isdigit() and len(text) < 20 else None


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn every error of the way in the block into Failure about `what`."""
    try:
        yield
    except tuple(kind for kind, _, _ in TRANSPORT) as error:
        raise failure(what, error) from error


@contextmanager
def judged(what: str) -> Iterator[None]:
    """Translate likewise, for addresses that jobs name: what stays so is their fault, JobFault."""
    try:
        with translated(what):
            yield
    except Failure as error:
        if error.lasting:
            raise Refused(str(error)) from error
        raise
