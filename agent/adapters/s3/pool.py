"""The HTTP connections: timeouts that hold on slow and on dead lines alike."""

from __future__ import annotations

import ssl
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
_CONNECTIONS = 16
_SLICE_BYTES = 64 * 1024


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


class _PlainConnection(_Slices, HTTPConnection):
    pass


class _SecureConnection(_Slices, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def make_pool(
    ca_file: str | None = None, connect: float = CONNECT_SECONDS, read: float = READ_SECONDS
) -> urllib3.PoolManager:
    """Return a pool that checks certificates and never repeats a request: what may be repeated, its users know."""
    context = ssl.create_default_context(cafile=ca_file)
    pool = urllib3.PoolManager(
        maxsize=_CONNECTIONS,
        timeout=urllib3.Timeout(connect=connect, read=read),
        retries=False,
        ssl_context=context,
    )
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool
