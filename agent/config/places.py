"""Where stores can lie besides directories: a bucket in S3 and a prefix in it."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from agent.errors import InvalidInput

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
MAX_PREFIX_BYTES = 100  # S3 allows keys of 1024 bytes, the records below the prefix included


class Bucket(NamedTuple):
    """A bucket and the prefix in it, "" or "a/b", with the few operations of a path."""

    name: str
    prefix: str = ""

    def __truediv__(self, part: str) -> Bucket:
        return Bucket(self.name, f"{self.prefix}/{part}" if self.prefix else part)

    def __str__(self) -> str:
        return self.as_uri()

    def as_uri(self) -> str:
        """Return the s3:// URL."""
        return f"s3://{self.name}/{quote(self.prefix)}".rstrip("/")


def bucket_of(url: str) -> Bucket:
    """Return the bucket and prefix that an s3:// URL names. Raises InvalidInput."""
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidInput(f'"{url}" names a user', hint="write s3.access_key and s3.secret_key_file")
    prefix = unquote(parts.path).strip("/")
    if parts.scheme != "s3" or parts.query or parts.fragment or not _BUCKET.fullmatch(parts.netloc):
        raise InvalidInput(f'"{url}" names no bucket', hint='such as "s3://bucket/lab"')
    if prefix and not all(part and not part.startswith(".") for part in prefix.split("/")):
        raise InvalidInput(f'"{url}" has an unusable prefix', hint="no part may be empty or begin with a dot")
    if "\0" in prefix or len(prefix.encode()) > MAX_PREFIX_BYTES:
        raise InvalidInput(f'"{url}" has too long a prefix', hint=f"at most {MAX_PREFIX_BYTES} bytes")
    return Bucket(parts.netloc, prefix)
