"""SIF files for tests: headers as Apptainer writes them, and every way in which they can be wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from agent.images.sif import ARCH_CODES, DESCRIPTOR, HEADER, MAGIC, PARTITION, PARTITION_TYPE, PRIMARY_SYSTEM

SQUASHFS, EXT3, ENCRYPTED = 1, 2, 5
_CODES = {arch: code for code, arch in ARCH_CODES.items()}
_TABLE_AT = 4096
_SLOTS = 48


class Part(NamedTuple):
    """One partition, or an object of another type."""

    arch: str = "amd64"
    kind: int = PRIMARY_SYSTEM
    file_system: int = SQUASHFS
    content: bytes = b"hsqs" + bytes(60)
    type: int = PARTITION_TYPE


def sif_bytes(*parts: Part, header_arch: str | None = None) -> bytes:
    """Return a SIF file with the partitions; the header's architecture is the first one's unless told."""
    data_at = _TABLE_AT + _SLOTS * DESCRIPTOR.size
    first = parts[0].arch if parts else "amd64"
    file = io.BytesIO()
    file.write(_header(header_arch or first, len(parts), data_at, sum(len(part.content) for part in parts)))
    file.seek(_TABLE_AT)
    file.write(_table(parts, data_at))
    file.seek(data_at)
    for part in parts:
        file.write(part.content)
    return file.getvalue()


def write_sif(path: Path, *parts: Part) -> Path:
    """Write a SIF file for tests that need a path."""
    path.write_bytes(sif_bytes(*(parts or (Part(),))))
    return path


def _header(arch: str, used: int, data_at: int, data_size: int) -> bytes:
    numbers = (0, 0, _SLOTS - used, _SLOTS, _TABLE_AT, _SLOTS * DESCRIPTOR.size, data_at, data_size)
    return HEADER.pack(b"#!/usr/bin/env run-singularity\n", MAGIC, b"01\0", _code(arch), bytes(16), *numbers)


def _table(parts: Sequence[Part], data_at: int) -> bytes:
    table, offset = b"", data_at
    for number, part in enumerate(parts, 1):
        extra = PARTITION.pack(part.file_system, part.kind, _code(part.arch))
        sizes = (offset, len(part.content), len(part.content), 0, 0, 0, 0)
        table += DESCRIPTOR.pack(part.type, True, number, 0xF0000001, 0, *sizes, b"squash", extra)
        offset += len(part.content)
    return table.ljust(_SLOTS * DESCRIPTOR.size, b"\0")


def _code(arch: str) -> bytes:
    return _CODES.get(arch, arch.encode())
