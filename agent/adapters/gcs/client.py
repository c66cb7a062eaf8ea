"""One client of Cloud Storage: the calls that the agent makes, errors translated, repeated where that is safe.

The library's own repeating is switched off everywhere: it counts in minutes from the start of a call, where a call that
takes long for good reason would not be repeated at all.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

import google.auth
from google.api_core.exceptions import from_http_response
from google.auth.credentials import AnonymousCredentials, Credentials
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from google.oauth2 import service_account

from agent.adapters.gcs.errors import GcsFailure, translated, with_credentials
from agent.adapters.gcs.place import Place
from agent.adapters.gcs.reader import ObjectReader
from agent.adapters.gcs.upload import SMALL_BYTES, Body, in_parts, upload

if TYPE_CHECKING:
    from requests import Response

GOOGLE = "https://storage.googleapis.com"
EMULATOR_VARIABLE = "STORAGE_EMULATOR_HOST"
TIMEOUT = (5.0, 15.0)  # seconds to connect, and between two pieces of an answer; of getting a token as well
# The server copies for so long before it answers that it is not done yet.
REWRITE_TIMEOUT = (5.0, 60.0)
# Seconds before the second and third try of a request.
PAUSES = (0.1, 0.5)
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_BINARY = "application/octet-stream"

# At debug level the library reads whole answers, however large, in order to log them. What urllib3 would print about
# each lost connection, the agent says in its own words.
logging.getLogger("google").setLevel(logging.WARNING)
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)

T = TypeVar("T")


class Found(NamedTuple):
    """What is known of an object: size in bytes, generation, and checksums, which may be None."""

    size: int
    generation: int
    crc32c: str | None
    md5: str | None


def connect(endpoint: str | None, credentials_file: str | None) -> GcsClient:
    """Return a client; no object is touched yet. Raises StoreUnavailable when there are no credentials.

    endpoint: None = the variable STORAGE_EMULATOR_HOST, else Google's. With http:// it is an emulator, which is spoken
    to anonymously unless there is a credentials_file: the key of a service account. None = Application Default
    Credentials: GOOGLE_APPLICATION_CREDENTIALS, or what the user or the machine has.
    """
    emulator = os.environ.get(EMULATOR_VARIABLE)
    if endpoint is None and emulator:
        endpoint = emulator if "://" in emulator else f"http://{emulator}"
    with with_credentials():
        credentials = _credentials(endpoint, credentials_file)
    options = {"api_endpoint": endpoint.rstrip("/")} if endpoint else None
    with translated("Cloud Storage"):
        client = storage.Client(project=None, credentials=credentials, client_options=options)
        session = AuthorizedSession(credentials)  # type: ignore[no-untyped-call]
        session.configure_mtls_channel()  # type: ignore[no-untyped-call]
    return GcsClient(client, session, endpoint or GOOGLE)


def _credentials(endpoint: str | None, credentials_file: str | None) -> Credentials:
    if credentials_file is not None:
        read = service_account.Credentials.from_service_account_file
        return read(credentials_file, scopes=_SCOPES)  # type: ignore[no-any-return, no-untyped-call]
    if endpoint is not None and endpoint.startswith("http://"):
        return AnonymousCredentials()  # type: ignore[no-untyped-call]
    found, _ = google.auth.default(scopes=_SCOPES)
    return found


class GcsClient:
    """Objects of one server, seen with one account's rights. All methods raise StoreUnavailable."""

    def __init__(
        self,
        client: storage.Client,
        session: AuthorizedSession,
        server: str,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """session: for the requests that the library has no call for; wait: waits so many seconds before a repeat."""
        self._client = client
        self._session = session
        self._server = server
        self._wait = wait or (lambda seconds: threading.Event().wait(seconds))

    def find(self, place: Place) -> Found | None:
        """Return what is known of the object, None when there is none."""
        blob = self._blob(place)
        try:
            self.call(place, partial(blob.reload, timeout=TIMEOUT, retry=None))
        except GcsFailure as error:
            if error.status != 404:
                raise
            self._need_bucket(place)
            return None
        return Found(blob.size, blob.generation, blob.crc32c, blob.md5_hash)

    def _need_bucket(self, place: Place) -> None:
        """Fail when the bucket is not there: who may read objects may not always read what the bucket is."""

        def look() -> object:
            return list(self._client.list_blobs(place.bucket, max_results=1, timeout=TIMEOUT, retry=None))

        self.call(place, look)

    def reader(self, place: Place, found: Found) -> ObjectReader:
        """Return a stream of the object as it was found."""
        return ObjectReader(self, place, found)

    def fetch_once(self, place: Place, generation: int, first: int, last: int, target: BinaryIO) -> None:
        """Write the bytes from `first` to `last` of a generation of the object, both included, to `target`.

        What was written before an error is right.
        """
        blob = self._blob(place, generation)
        with translated(self.where(place)):
            blob.download_to_file(
                target, start=first, end=last, raw_download=True, checksum=None, timeout=TIMEOUT, retry=None
            )

    def write(self, place: Place, chunks: Iterable[bytes]) -> None:
        """Store the chunks as the object, which appears when it is complete; in parts when it is large."""
        parts = in_parts(chunks)
        first = [next(parts)]
        if len(first[0]) > SMALL_BYTES:
            # Popped, so that the first part does not stay in memory until the last one is sent.
            upload(self, place, chain((first.pop() for _ in range(1)), parts))
            return
        send = self._blob(place).upload_from_string
        self.call(place, partial(send, first[0], content_type=_BINARY, checksum="auto", timeout=TIMEOUT, retry=None))

    def begin(self, place: Place) -> str:
        """Begin an upload and return its URL, which is a secret: it gives the right to write this object."""
        begin = self._blob(place).create_resumable_upload_session
        return str(self.call(place, partial(begin, content_type=_BINARY, timeout=TIMEOUT, retry=None)))

    def send_once(self, place: Place, method: str, url: str, body: Body, headers: Mapping[str, str]) -> Response:
        """Return the answer to a request to the URL of an upload: 200, 201 or 308 (incomplete)."""
        with translated(self.where(place)):
            response: Response = self._session.request(  # type: ignore[no-untyped-call]
                method, url, data=body or None, headers=dict(headers), timeout=TIMEOUT, allow_redirects=False
            )
            if response.status_code not in (200, 201, 308):
                raise from_http_response(response)  # type: ignore[no-untyped-call]
        return response

    def rewrite(self, source: Place, found: Found, target: Place) -> None:
        """Copy the object as it was found on the server, which answers large copies in several steps."""
        origin, goal = self._blob(source, found.generation), self._blob(target)
        token: str | None = None
        while True:
            step = partial(goal.rewrite, origin, token=token, timeout=REWRITE_TIMEOUT, retry=None)
            token, _, _ = self.call(target, step)
            if token is None:
                return

    def call(self, place: Place, request: Callable[[], T]) -> T:
        """Return the answer to a request about `place` that may be repeated."""
        for pause in PAUSES:
            try:
                return self._call_once(place, request)
            except GcsFailure as error:
                if not error.transient:
                    raise
            self.wait(pause)
        return self._call_once(place, request)

    def _call_once(self, place: Place, request: Callable[[], T]) -> T:
        with translated(self.where(place)):
            return request()

    def _blob(self, place: Place, generation: int | None = None) -> storage.Blob:
        return self._client.bucket(place.bucket).blob(place.key, generation=generation)

    def where(self, place: Place) -> str:
        """Return what to call an object in messages."""
        return str(place) if self._server == GOOGLE else f"{place} at {self._server}"

    def wait(self, seconds: float) -> None:
        """Wait `seconds`, and up to as long again so that many hosts do not come back at once."""
        self._wait(seconds * (1 + random.random()))
