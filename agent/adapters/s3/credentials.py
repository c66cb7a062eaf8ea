"""Whose rights are used: the configuration's, else the environment's, a shared file's, or this machine's own role."""

from __future__ import annotations

import configparser
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

from minio.credentials.credentials import Credentials
from minio.credentials.providers import AWSConfigProvider, EnvAWSProvider, IamAwsProvider, Provider, StaticProvider
from urllib3.exceptions import HTTPError

from agent.adapters.http.pool import make_pool
from agent.config.s3 import S3Section
from agent.errors import StoreUnavailable

EARLY = timedelta(minutes=5)
_METADATA_SECONDS = 2.0
# What a source raises that has no credentials, or cannot be read or reached.
_NONE_THERE = (ValueError, KeyError, OSError, HTTPError, configparser.Error)


def provider_of(section: S3Section, environ: Mapping[str, str]) -> Provider:
    """Return where credentials come from. Raises StoreUnavailable when the file of the secret key is unreadable."""
    if section.access_key is not None:
        return StaticProvider(section.access_key, _secret_key(section), section.session_token)
    file = ("the shared file", AWSConfigProvider(section.credentials_file, section.profile))
    if section.credentials_file is not None or section.profile is not None:
        return Chain([file])
    # Own roles exist in the cloud only: elsewhere nobody answers, and each look would wait for that.
    own_role = [] if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" else [_own_role(environ)]
    return Chain([("the environment", EnvAWSProvider()), file, *own_role])


def _secret_key(section: S3Section) -> str:
    if section.secret_key_file is None:
        return section.secret_key or ""
    try:
        return Path(section.secret_key_file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        words = getattr(error, "strerror", None) or "not a text"
        raise StoreUnavailable(f"s3.secret_key_file: {section.secret_key_file}: {words.lower()}") from None


def _own_role(environ: Mapping[str, str]) -> tuple[str, Provider]:
    pool = make_pool(connect=_METADATA_SECONDS, read=_METADATA_SECONDS)
    endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    endpoint = endpoint.rstrip("/") if endpoint else None
    make = lambda: IamAwsProvider(custom_endpoint=endpoint, http_client=pool)  # noqa: E731
    return "the instance metadata", Refreshed(make)


class Chain(Provider):
    """The first source that has credentials; the others are asked again only when it has none any more."""

    def __init__(self, sources: Sequence[tuple[str, Provider]]) -> None:
        self._sources = tuple(sources)

    def retrieve(self) -> Credentials:
        """Return credentials. Raises StoreUnavailable saying what each source answered."""
        tried = []
        for name, provider in self._sources:
            try:
                return provider.retrieve()
            except _NONE_THERE as error:
                tried.append(f"{name}: {error}")
        raise StoreUnavailable("no credentials for S3; set [s3] access_key and secret_key_file. " + "; ".join(tried))


class Refreshed(Provider):
    """Credentials with an end: fetched anew some minutes before it, kept until then when that fails.

    make: returns a provider that remembers nothing yet.
    """

    def __init__(
        self,
        make: Callable[[], Provider],
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc).replace(tzinfo=None),
    ) -> None:
        self._make = make
        self._now = now
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None

    def retrieve(self) -> Credentials:
        """Return credentials that are valid now."""
        with self._lock:
            held = self._credentials
            if held is not None and self._is_good_for(held, EARLY):
                return held
            try:
                self._credentials = self._make().retrieve()
            except _NONE_THERE:
                if held is None or not self._is_good_for(held, timedelta(seconds=10)):
                    raise
            return self._credentials or held  # type: ignore[return-value]

    def _is_good_for(self, credentials: Credentials, least: timedelta) -> bool:
        return credentials.expiration is None or credentials.expiration - self._now() > least
