"""Whether a URI lies below a prefix that the operator allowed, whatever it is dressed up as."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# An encoded slash, backslash or NUL means one thing to a reader of the path and another to who opens it.
_ENCODED = re.compile(r"%(?:2f|5c|00)", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\\\x00-\x20\x7f]")


class _Place(NamedTuple):
    scheme: str
    host: str
    segments: tuple[str, ...]


def is_below(uri: str, prefixes: Iterable[str]) -> bool:
    """Say whether `uri` is one of the prefixes or lies below one, by whole path segments.

    "file:///srv/in" allows file:///srv/in/a, not file:///srv/input; "s3://" allows every bucket. A URI with ".." in
    its path, encoded or not, or with an encoded slash lies below nothing, and no prefix allows nothing.
    """
    place = _place(uri)
    return place is not None and any(_covers(_place(prefix), place) for prefix in prefixes)


def prefix_for(uri: str) -> str | None:
    """Return the narrowest prefix worth allowing for `uri`: its folder, or itself at the top; None where none would do.

    "file:///srv/images/a.sif" gives "file:///srv/images/". Never a whole file system, nor all servers of a kind.
    """
    scheme, _, rest = uri.partition("?")[0].partition(":")
    whole = f"{scheme.lower()}:{rest}"
    if _place(whole) is None or '"' in whole:
        return None
    folder = whole[: whole.rindex("/") + 1] if "/" in whole else whole
    place = _place(folder)
    return folder if place is not None and (place.host or place.segments) else whole


def _covers(prefix: _Place | None, place: _Place) -> bool:
    if prefix is None or prefix.scheme != place.scheme:
        return False
    if prefix.scheme != "file" and not prefix.host:
        return True
    return prefix.host == place.host and place.segments[: len(prefix.segments)] == prefix.segments


def _place(uri: str) -> _Place | None:
    """Return where the URI points, decoded once; None when that cannot be said without doubt."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if _UNPRINTABLE.search(uri) or _ENCODED.search(parts.netloc + parts.path):
        return None
    if not parts.scheme or (parts.path and not parts.path.startswith("/")):
        return None
    segments = tuple(unquote(segment) for segment in parts.path.strip("/").split("/")) if parts.path else ()
    if {".", ".."} & set(segments):
        return None
    scheme, host = parts.scheme.lower(), parts.netloc
    if scheme == "file" and (parts.query or parts.fragment):
        return None
    if scheme == "file" and host == "localhost":
        host = ""
    return _Place(scheme, host, () if segments == ("",) else segments)
