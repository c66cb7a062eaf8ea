"""The host's table of shared libraries (/etc/ld.so.cache), as glibc's dl-cache.h describes it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

PATH = "/etc/ld.so.cache"
_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("=20sII20x")
_ENTRY = struct.Struct("=iIIIQ")
# The low byte is the kind of libc, the next one the ABI. Machines that are not here have one ABI only.
_ABI = 0xFF00
_ABIS = {"x86_64": 0x0300, "aarch64": 0x0A00, "ppc64le": 0x0500, "riscv64": 0x1000}


class Library(NamedTuple):
    """A library's name as programs ask for it (libcuda.so.1), and the path of its file."""

    name: str
    path: str


def parse_ldcache(content: bytes, machine: str) -> tuple[Library, ...]:
    """Return the libraries for programs of the machine (uname -m); none of a cache that is in another form."""
    start = content.find(_MAGIC)  # an old table may be before it
    if start < 0 or len(content) < start + _HEADER.size:
        return ()
    table = content[start:]
    _, count, _ = _HEADER.unpack_from(table)
    wanted = _ABIS.get(machine)
    found: dict[str, Library] = {}
    for flags, name, path in _entries(table, count):
        if wanted is None or flags & _ABI == wanted:
            # The first one is what the dynamic loader takes.
            found.setdefault(name, Library(name, path))
    return tuple(found.values())


def _entries(table: bytes, count: int) -> Iterator[tuple[int, str, str]]:
    fitting = (len(table) - _HEADER.size) // _ENTRY.size
    for index in range(min(count, fitting)):
        flags, key, value, _, _ = _ENTRY.unpack_from(table, _HEADER.size + index * _ENTRY.size)
        yield flags, _text(table, key), _text(table, value)


def _text(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset)
    return table[offset : max(end, offset)].decode(errors="replace")
