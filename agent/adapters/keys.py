"""The form of record keys, the same for every record store.

A key that breaks the form is a programming error (ValueError): what comes from outside is checked before it
becomes part of a key (agent.results.check_sid, agent.results.key_part).
"""

from __future__ import annotations

MAX_KEY_BYTES = 900  # S3 allows 1024, the root of a store included
MAX_PART_BYTES = 240  # file systems allow 255, the suffix of the file included


def key_parts(key: str) -> tuple[str, ...]:
    """Return the parts of the slash-separated `key`. Raises ValueError for a key no store can keep."""
    parts = tuple(key.split("/"))
    if len(key.encode()) > MAX_KEY_BYTES or not all(is_part(part) for part in parts):
        raise ValueError(f"not a record key: {key!r}")
    # A directory of this name could be a record of the store in files.
    if any(part.endswith(".json") for part in parts[:-1]):
        raise ValueError(f"not a record key: {key!r}: .json may only end its last part")
    return parts


def prefix_parts(prefix: str) -> tuple[str, ...]:
    """Return the parts of a prefix such as "a/b/", none for "". Raises ValueError for anything else."""
    if not prefix:
        return ()
    if not prefix.endswith("/"):
        raise ValueError(f"not a prefix of record keys: {prefix!r}: it has to end with a slash")
    return key_parts(prefix[:-1] + "/x")[:-1]


def is_part(text: str) -> bool:
    """Say whether `text` can be one part of a key: not empty, hidden or too long; no slash, no NUL."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= MAX_PART_BYTES and not text.startswith(".") and "/" not in text and "\0" not in text
