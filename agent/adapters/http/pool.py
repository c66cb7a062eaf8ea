"""The HTTP connections: timeouts that hold on slow and on dead lines alike, and addresses that jobs never reach."""

from __future__ import annotations

import io
import socket
import ssl
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from agent.adapters.http.addresses import is_forbidden
from agent.errors import JobFault, StoreUnavailable

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
_CONNECTIONS = 16
_SLICE_BYTES = 64 * 1024
_BLOCK_BYTES = 256 * 1024  # of a file that is sent
_ANSWER_BYTES = 1024**2  # of an answer that is read at once


class _Slices:
    """Sends large bodies in slices.

    A socket's timeout counts for a whole send. Sent at once, a part of 16 MiB would time out on every line slower
    than 3 MiB/s, or else a dead line would be noticed only after minutes.
    """

    def send(self, data: Any) -> None:
        if not isinstance(data, (bytes, bytearray, memoryview)):
            super().send(data)  # type: ignore[misc]
            return
        whole = memoryview(data)
        for start in range(0, len(whole), _SLICE_BYTES):
            super().send(whole[start : start + _SLICE_BYTES])  # type: ignore[misc]


class _Guarded:
    """Looks at the addresses of a host before it connects to one of them. Raises JobFault for a forbidden one.

    They are resolved once: a name that is given another address a moment later gains nothing by it.
    """

    _dns_host: str
    port: int

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            return self._connected(_addresses(self, name))
        finally:
            self._dns_host = name

    def _connected(self, addresses: list[str]) -> socket.socket:
        for address in addresses[:-1]:
            self._dns_host = address
            try:
                return super()._new_conn()  # type: ignore[misc,no-any-return]
            except (NewConnectionError, ConnectTimeoutError):
                pass
        self._dns_host = addresses[-1]
        return super()._new_conn()  # type: ignore[misc,no-any-return]


def _addresses(connection: Any, name: str) -> list[str]:
    try:
        found = socket.getaddrinfo(name.strip("[]"), connection.port, allowed_gai_family(), socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameResolutionError(name, connection, error) from error
    except UnicodeError:
        raise LocationParseError(f'"{name}", a label is empty or too long') from None
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if is_forbidden(address):
            raise JobFault(
                f'the host "{name}" has the address {address}: it is link-local or of a metadata service, and no job '
                "may use it; name another host"
            )
    return addresses


class _PlainConnection(_Slices, HTTPConnection):
    pass


class _SecureConnection(_Slices, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _GuardedPlainConnection(_Guarded, _PlainConnection):
    pass


class _GuardedSecureConnection(_Guarded, _SecureConnection):
    pass


class _GuardedPlainPool(HTTPConnectionPool):
    ConnectionCls = _GuardedPlainConnection


class _GuardedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _GuardedSecureConnection


class _Modest(urllib3.PoolManager):
    """Trusts no server: follows no redirection, whose target nobody has looked at, and reads no endless answers.

    Of an answer that tells how a request ended it reads 1 MiB at most.
    """

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = False, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        at_once = options.pop("preload_content", True)
        response = super().urlopen(method, url, redirect=False, preload_content=False, **options)
        if not at_once and response.status < 300:
            return response
        try:
            body = response.read(_ANSWER_BYTES, decode_content=False)
        finally:
            response.close()  # nothing is closed when all was read
        return urllib3.HTTPResponse(
            io.BytesIO(body), response.headers, response.status, request_method=method, decode_content=False
        )

    def clear(self) -> None:
        """Keep the connections: a client of the S3 library that goes would end those of all others."""


def make_pool(
    ca_file: str | None = None,
    connect: float = CONNECT_SECONDS,
    read: float = READ_SECONDS,
    *,
    ca: str | None = None,
) -> urllib3.PoolManager:
    """Return a pool that checks certificates and never repeats a request: what may be repeated, its users know.

    ca_file, else ca in PEM: the only authorities that count; None = those of the system. Raises ssl.SSLError.
    """
    context = ssl.create_default_context(cafile=ca_file, cadata=ca if ca_file is None else None)
    pool = urllib3.PoolManager(**_settings(context, connect, read))
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool


def make_guarded_pool(
    ca_file: str | None = None,
    connect: float = CONNECT_SECONDS,
    read: float = READ_SECONDS,
    *,
    ca: str | None = None,
) -> urllib3.PoolManager:
    """Return such a pool for hosts that jobs name: connections raise JobFault for addresses that are forbidden.

    ca_file, else ca in PEM: authorities besides those of the system. Raises StoreUnavailable for what is none.
    """
    context = ssl.create_default_context()
    try:
        if ca_file is not None or ca is not None:
            context.load_verify_locations(ca_file, cadata=ca if ca_file is None else None)
    except ssl.SSLError:
        raise StoreUnavailable(f"{_named(ca_file)}: it holds no certificate") from None
    except OSError as error:
        raise StoreUnavailable(f"{_named(ca_file)}: {(error.strerror or str(error)).lower()}") from None
    pool = _Modest(**_settings(context, connect, read))
    pool.pool_classes_by_scheme = {"http": _GuardedPlainPool, "https": _GuardedSecurePool}
    return pool


def _named(ca_file: str | None) -> str:
    return "s3.ca" if ca_file is None else f"s3.ca_file: {ca_file}"


def _settings(context: ssl.SSLContext, connect: float, read: float) -> dict[str, Any]:
    return {
        "maxsize": _CONNECTIONS,
        "timeout": urllib3.Timeout(connect=connect, read=read),
        "retries": False,
        "ssl_context": context,
        "blocksize": _BLOCK_BYTES,
    }
