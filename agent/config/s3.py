"""The section [s3]: which server all s3:// URLs mean, and by whose rights."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from agent.config.base import check_certificates
from agent.errors import InvalidInput

_ENDPOINT = re.compile(r"https?://[^/\s?#@]+/?")
_REGION = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


class S3Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The S3 server. endpoint None = AWS; without access_key credentials are looked for elsewhere.

    secret_key counts where there is no secret_key_file; ca, certificates in PEM, where there is no ca_file.
    """

    endpoint: str | None = None
    region: str | None = None
    style: Literal["auto", "path", "virtual"] = "auto"
    ca_file: str | None = None
    ca: str | None = None
    access_key: str | None = None
    secret_key: str | None = None
    secret_key_file: str | None = None
    session_token: str | None = None
    credentials_file: str | None = None
    profile: str | None = None


def check_s3(s3: S3Section) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    if s3.endpoint is not None and not _ENDPOINT.fullmatch(s3.endpoint):
        hint = 'http:// or https:// with host and port, such as "https://minio.lab:9000"'
        raise InvalidInput(f's3.endpoint = "{s3.endpoint}"', hint=hint)
    if s3.region is not None and not _REGION.fullmatch(s3.region):
        raise InvalidInput(f's3.region = "{s3.region}"', hint='a name such as "eu-central-1"')
    for name in ("ca_file", "secret_key_file", "credentials_file"):
        path = getattr(s3, name)
        if path is not None and (not path.startswith("/") or "\0" in path):
            raise InvalidInput(f's3.{name} = "{path}"', hint="an absolute path")
    check_certificates("s3.ca", s3.ca)
    _check_keys(s3)


def _check_keys(s3: S3Section) -> None:
    given = [name for name in ("secret_key_file", "secret_key") if getattr(s3, name) is not None]
    if given and not s3.access_key:
        raise InvalidInput(f"s3.{given[0]}: there is no s3.access_key", hint="set both or none")
    if s3.access_key is not None and not given:
        raise InvalidInput("s3.access_key: there is no secret key", hint="set s3.secret_key_file")
    if s3.session_token is not None and s3.access_key is None:
        raise InvalidInput("s3.session_token: there is no s3.access_key", hint="it belongs to a pair of keys")
