"""One connection to one S3 server: requests with errors translated, and repeated where that is safe."""

from __future__ import annotations

import random
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from minio import Minio
from minio.error import S3Error
from urllib3 import BaseHTTPResponse

from agent.adapters.http.pool import make_pool
from agent.adapters.s3.credentials import provider_of
from agent.adapters.s3.errors import S3Failure, translated
from agent.config.s3 import S3Section
from agent.errors import StoreUnavailable

AWS = "https://s3.amazonaws.com"
# Seconds before the second and third try of a request: long enough for a connection that was closed meanwhile.
PAUSES = (0.1, 0.5)


class Request(NamedTuple):
    """One request; with `stream` the body of its answer is still to be read."""

    method: str
    bucket: str
    key: str | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    stream: bool = False


def send(minio: Minio, request: Request) -> BaseHTTPResponse:
    """Return the answer to a request. Raises the library's own errors."""
    # The library has no public way to send If-None-Match or to read the Date of an answer.
    response = minio._execute(
        request.method,
        request.bucket,
        request.key,
        body=request.body,
        headers=dict(request.headers),
        query_params=dict(request.query),
        preload_content=not request.stream,
    )
    # Copying and completing answer 200 before they are done, and say only then how it ended.
    if not request.stream and request.method in ("PUT", "POST") and b"<Error>" in response.data:
        raise S3Error.fromxml(response)
    return response


def connect(section: S3Section, environ: Mapping[str, str]) -> S3Client:
    """Return a client for the configured server; nothing is sent yet. Raises StoreUnavailable."""
    endpoint = (section.endpoint or AWS).rstrip("/")
    parts = urlsplit(endpoint)
    if section.ca_file is not None and not Path(section.ca_file).is_file():
        raise StoreUnavailable(f"s3.ca_file: there is no file {section.ca_file}")
    try:
        pool = make_pool(section.ca_file, ca=section.ca)
    except ssl.SSLError:
        named = "s3.ca" if section.ca_file is None else f"s3.ca_file: {section.ca_file}"
        raise StoreUnavailable(f"{named}: it holds no certificate") from None
    with translated(f"S3 at {endpoint}"):
        minio = Minio(
            parts.netloc,
            secure=parts.scheme == "https",
            region=section.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"),
            credentials=provider_of(section, environ),
            http_client=pool,
        )
    if section.style != "auto":
        minio._base_url.virtual_style_flag = section.style == "virtual"
    return S3Client(minio, endpoint)


class S3Client:
    """Requests to one server. All methods raise S3Failure."""

    def __init__(self, minio: Minio, endpoint: str, wait: Callable[[float], object] | None = None) -> None:
        """wait: waits that many seconds before a request is repeated."""
        self._minio = minio
        self._endpoint = endpoint
        self._wait = wait or (lambda seconds: threading.Event().wait(seconds))

    def call(
        self,
        method: str,
        bucket: str,
        key: str | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        stream: bool = False,
        repeat: bool = True,
    ) -> BaseHTTPResponse:
        """Return the answer to a request; with `stream` its body is still to be read.

        repeat: whether the request may be sent more than once.
        """
        request = Request(method, bucket, key, body, headers or {}, query or {}, stream)
        for pause in PAUSES if repeat else ():
            try:
                return self._answered(request)
            except S3Failure as error:
                if not error.transient:
                    raise
            self.wait(pause)
        return self._answered(request)

    def _answered(self, request: Request) -> BaseHTTPResponse:
        return self._sent(self._minio, request)

    def _sent(self, minio: Minio, request: Request) -> BaseHTTPResponse:
        with translated(self.where(request.bucket, request.key)):
            return send(minio, request)

    def ensure_bucket(self, bucket: str) -> None:
        """Make the bucket when it is not there."""
        try:
            self.call("HEAD", bucket)
        except S3Failure as error:
            if error.status != 404:
                raise
        else:
            return
        try:
            with translated(self.where(bucket, None)):
                self._minio.make_bucket(bucket)
        except S3Failure as error:
            if error.code != "BucketAlreadyOwnedByYou":  # by another host, in this moment
                raise

    def where(self, bucket: str, key: str | None) -> str:
        """Return what to call an object in messages."""
        return f"s3://{bucket}/{key or ''} at {self._endpoint}"

    def wait(self, seconds: float) -> None:
        """Wait `seconds`, and up to as long again so that many hosts do not come back at once."""
        self._wait(seconds * (1 + random.random()))
