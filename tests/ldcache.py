"""Tables of shared libraries, as ldconfig writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable

X86_64, AARCH64, I386 = 0x0303, 0x0A03, 0x0003


def ldcache(entries: Iterable[tuple[int, str, str]]) -> bytes:
    """Return the content of an ld.so.cache with these (flags, name, path)."""
    listed = list(entries)
    strings, table = b"", b""
    start = 48 + 24 * len(listed)
    for flags, name, path in listed:
        key = start + len(strings)
        strings += name.encode() + b"\0"
        table += struct.pack("=iIIIQ", flags, key, start + len(strings), 0, 0)
        strings += path.encode() + b"\0"
    return struct.pack("=20sII20x", b"glibc-ld.so.cache1.1", len(listed), len(strings)) + table + strings
