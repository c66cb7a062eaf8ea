"""Records as objects: the key "a/b/3" is PREFIX/a/b/3.json, the same layout as in a directory."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime

from minio.datatypes import Object, parse_list_objects
from urllib3 import BaseHTTPResponse

from agent.adapters.keys import is_part, key_parts, prefix_parts
from agent.adapters.s3.client import PAUSES, S3Client
from agent.adapters.s3.errors import S3Failure, translated
from agent.errors import StoreUnavailable
from agent.ports import Listing, Stored

log = logging.getLogger(__name__)

MAX_RECORD_BYTES = 16 * 1024**2
_SUFFIX = ".json"
_JSON = {"Content-Type": "application/json"}
_NEW = {**_JSON, "If-None-Match": "*"}


class S3Records:
    """A RecordStore in a bucket, below `prefix` ("" or "a/b"). Ages count by the server's clock."""

    def __init__(
        self, client: S3Client, bucket: str, prefix: str = "", weak: Callable[[str], None] = lambda where: None
    ) -> None:
        """weak: called with the place when the server is seen to ignore conditions."""
        self._weak = weak
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._testing = threading.Lock()
        self._conditional: bool | None = None

    def make(self) -> None:
        """Make the bucket where it is not there. Raises StoreUnavailable."""
        self._client.ensure_bucket(self._bucket)

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        """Store the record; with `create` only if there is none. ValueError for a key that is none."""
        name = self._name(key)
        self._check_size(name, len(body))
        if create:
            return self._create(name, body) if self.conditional_put_works() else self._create_weakly(name, body)
        self._client.call("PUT", self._bucket, name, body=body, headers=_JSON)
        return True

    def get(self, key: str) -> Stored | None:
        """Return the record, or None. ValueError for a key that is none."""
        name = self._name(key)
        response = self._find(name)
        if response is None:
            return None
        where = self._client.where(self._bucket, name)
        with translated(where):
            body = response.read(MAX_RECORD_BYTES + 1)
            response.release_conn()
            self._check_size(name, len(body))
            return Stored(body, _age(where, response, parsedate_to_datetime(response.headers["Last-Modified"])))

    def list(self, prefix: str) -> Listing:
        """Return the records and prefixes directly below `prefix`, names without it. ValueError for none."""
        prefix_parts(prefix)
        above = self._prefix + prefix
        records: dict[str, float] = {}
        prefixes: list[str] = []
        for response, found in self._pages(above):
            for each in found:
                name = (each.object_name or "").removeprefix(above)
                if name.endswith("/"):
                    prefixes.append(name[:-1])
                elif name.endswith(_SUFFIX) and each.last_modified is not None:
                    age = _age(self._client.where(self._bucket, each.object_name), response, each.last_modified)
                    records[name.removesuffix(_SUFFIX)] = age
        return Listing(
            {name: records[name] for name in sorted(records) if is_part(name)},
            tuple(sorted(name for name in prefixes if is_part(name) and not name.endswith(_SUFFIX))),
        )

    def delete(self, key: str) -> None:
        """Remove the record, durably. ValueError for a key that is none."""
        self._client.call("DELETE", self._bucket, self._name(key))

    def clear(self, prefix: str) -> None:
        """See ports.Clearing."""
        if not prefix_parts(prefix):
            raise ValueError("a whole store is never cleared")
        for _, found in self._pages(self._prefix + prefix, delimiter=""):
            for each in found:
                self._client.call("DELETE", self._bucket, each.object_name or "")

    def conditional_put_works(self) -> bool:
        """Say whether the server keeps what is there when it is told so; tried once, on an object of its own."""
        with self._testing:
            if self._conditional is None:
                self._conditional = self._try_conditional_put()
                if not self._conditional:
                    where = self._client.where(self._bucket, self._prefix)
                    fields = {"event": "weak-store", "store": where}
                    log.warning("the store ignores If-None-Match: two hosts may run one job", extra=fields)
                    self._weak(where)
            return self._conditional

    def _try_conditional_put(self) -> bool:
        # Hidden: no record has such a name.
        name = f"{self._prefix}.edge-agent-test-{secrets.token_hex(8)}"
        try:
            return self._create(name, secrets.token_bytes(16)) and not self._create(name, secrets.token_bytes(16))
        finally:
            with suppress(StoreUnavailable):
                self._client.call("DELETE", self._bucket, name)

    def _create(self, name: str, body: bytes, pauses: tuple[float, ...] = PAUSES, *, in_doubt: bool = False) -> bool:
        """Store the record if there is none.

        When the answer is lost, or says neither yes nor no, the record that is there tells who stored it: whatever is
        created bears a token or an id made for it, so that nobody else writes the same bytes.
        """
        try:
            self._client.call("PUT", self._bucket, name, body=body, headers=_NEW, repeat=False)
            return True
        except S3Failure as error:
            if error.status == 412 and not in_doubt:
                return False
            if error.status != 412 and not error.is_ambiguous:
                raise
            found = self._read(name)
            if found is not None:
                return found == body
            if not pauses:
                raise
        self._client.wait(pauses[0])
        return self._create(name, body, pauses[1:], in_doubt=True)

    def _create_weakly(self, name: str, body: bytes) -> bool:
        """Store the record if there seems to be none. Of two at the same time, both may be told yes."""
        if self._read(name) is not None:
            return False
        self._client.call("PUT", self._bucket, name, body=body, headers=_JSON)
        return self._read(name) == body

    def _find(self, name: str) -> BaseHTTPResponse | None:
        try:
            return self._client.call("GET", self._bucket, name, stream=True)
        except S3Failure as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def _read(self, name: str) -> bytes | None:
        try:
            return self._client.call("GET", self._bucket, name).data
        except S3Failure as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def _pages(self, prefix: str, delimiter: str = "/") -> Iterator[tuple[BaseHTTPResponse, Sequence[Object]]]:
        query = {"list-type": "2", "delimiter": delimiter, "encoding-type": "url", "prefix": prefix}
        while True:
            response = self._client.call("GET", self._bucket, query=query)
            with translated(self._client.where(self._bucket, prefix)):
                found, more, token, _ = parse_list_objects(response, self._bucket)
            yield response, found
            if not more or not token:
                return
            query["continuation-token"] = token

    def _name(self, key: str) -> str:
        key_parts(key)
        return f"{self._prefix}{key}{_SUFFIX}"

    def _check_size(self, name: str, size: int) -> None:
        if size > MAX_RECORD_BYTES:
            where = self._client.where(self._bucket, name)
            raise StoreUnavailable(f"{where}: too large for a record (the limit is {MAX_RECORD_BYTES} bytes)")


def _age(where: str, response: BaseHTTPResponse, modified: datetime) -> float:
    """Return the seconds since `modified` by the server's own clock: this host's may be wrong by years."""
    date = response.headers.get("Date")
    if date is None:
        raise StoreUnavailable(f"{where}: the server tells no time (no Date header); use another server or proxy")
    with translated(where):
        return max(0.0, (parsedate_to_datetime(date) - modified).total_seconds())
