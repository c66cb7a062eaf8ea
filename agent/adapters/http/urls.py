"""URLs that jobs name: which ones are allowed, where a redirection may lead, and what to call them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit

from agent.errors import InvalidInput, JobFault
from agent.matching.uris import is_below
from agent.redact import mask_url

_UNFIT = re.compile(r"[\\#\x00-\x20\x7f]")
_PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]


def checked(url: str, prefixes: Sequence[str]) -> str:
    """Return the URL when it names a file below one of the prefixes. Raises InvalidInput."""
    shown = mask_url(url)
    if not is_address(url):
        raise InvalidInput(f'"{shown}" is no web address', hint='such as "https://data.lab/train.csv"')
    if not _is_allowed(url, prefixes):
        allowed = ", ".join(prefix for prefix in prefixes if prefix.startswith("http")) or "none"
        raise InvalidInput(f'"{shown}" is outside the allowed web addresses', hint=f"allowed: {allowed}")
    return url


def is_address(url: str) -> bool:
    """Say whether it is http or https, with a host, without a user, a password or a fragment."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in _PORTS and parts.hostname and parts.port != 0
    except ValueError:
        return False
    return bool(known) and "@" not in parts.netloc and not _UNFIT.search(url)


def origin(url: str) -> Origin:
    """Return scheme, host and port of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme]


def redirected(url: str, location: str, prefixes: Sequence[str]) -> str:
    """Return where `url` is redirected to. Raises JobFault for a place that is not allowed."""
    try:
        target = urljoin(url, location.partition("#")[0])
    except ValueError:
        target = location
    shown = f"{mask_url(url)}: the server points to {mask_url(target)}"
    if not is_address(target):
        raise JobFault(f"{shown}, which is no web address; name the file's own address")
    if url.startswith("https:") and not target.startswith("https:"):
        raise JobFault(f"{shown}, which is not encrypted any more; name an https address")
    if not _is_allowed(target, prefixes):
        raise JobFault(f"{shown}, which is outside the allowed web addresses; the operator may allow it in [policy]")
    return target


def _is_allowed(url: str, prefixes: Sequence[str]) -> bool:
    # A query leads nowhere else. Signed addresses have slashes there, encoded, which a path may not have.
    return is_below(url.partition("?")[0], prefixes)
