"""Setting up a MinIO server with its administrator's rights: a bucket, its rules, users and what they may do."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from minio.error import MinioAdminException
from minio.minioadmin import MinioAdmin

from agent.adapters.http.pool import make_pool
from agent.adapters.s3.client import S3Client, connect
from agent.adapters.s3.credentials import provider_of
from agent.adapters.s3.errors import translated
from agent.config.s3 import S3Section
from agent.errors import StoreUnavailable

_READY_SECONDS = 30.0
_PAUSE = 0.2


class User(NamedTuple):
    """Who may use the bucket: a name, which is that of its policy as well, a secret key, and rights."""

    name: str
    secret: str
    policy: Mapping[str, Any]


def set_up(section: S3Section, bucket: str, users: Sequence[User], short_lived: Sequence[str]) -> None:
    """Make the bucket, its rules and the users as they should be, whatever is there. Raises StoreUnavailable.

    section: the server, with its administrator's key. short_lived: beginnings of keys that go after a day.
    """
    client = connect(section, {})
    client.ensure_bucket(bucket)
    _set_rules(client, bucket, short_lived)
    parts = urlsplit(section.endpoint or "")
    admin = MinioAdmin(
        endpoint=parts.netloc,
        credentials=provider_of(section, {}),
        secure=parts.scheme == "https",
        http_client=make_pool(section.ca_file, ca=section.ca),
    )
    for user in users:
        _ask(f"policy {user.name}", partial(admin.policy_add, user.name, policy=dict(user.policy)))
        _ask(f"user {user.name}", partial(admin.user_add, user.name, user.secret))
        _ask(f"rights of {user.name}", partial(admin.policy_set, user.name, user=user.name))


def _set_rules(client: S3Client, bucket: str, prefixes: Sequence[str]) -> None:
    """Remove after a day what lies below the prefixes. (Parts of uploads that nobody ends MinIO removes by itself.)"""
    rules = "".join(
        f"<Rule><ID>short-lived-{number}</ID><Status>Enabled</Status><Filter><Prefix>{prefix}</Prefix></Filter>"
        "<Expiration><Days>1</Days></Expiration></Rule>"
        for number, prefix in enumerate(prefixes)
    )
    body = f"<LifecycleConfiguration>{rules}</LifecycleConfiguration>".encode()
    digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
    client.call("PUT", bucket, body=body, headers={"Content-MD5": digest}, query={"lifecycle": ""})


def _ask(what: str, request: Callable[[], object]) -> None:
    """Send a request to the administration, which starts a moment later than the store."""
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with translated(f"{what} on MinIO"):
                request()
            return
        except MinioAdminException as error:
            code, words = _answer(error)
            if not code.endswith("NotInitialized") or time.monotonic() > deadline:
                raise StoreUnavailable(f"{what} on MinIO: {words}") from None
        threading.Event().wait(_PAUSE)


def _answer(error: MinioAdminException) -> tuple[str, str]:
    """Return the server's code and words."""
    try:
        said = json.loads(error._body)
        return str(said["Code"]), str(said["Message"])
    except (ValueError, KeyError, TypeError):
        return "", f"HTTP status {error._code}"
