"""The header of a SIF file: for which CPU the image is, and whether it is one that can be run.

The architecture is that of the primary system partition: Apptainer decides by it, and signatures cover it, while
nothing protects the one in the file's own header. Layout (little endian, packed), codes and limits after the SIF
format version 01.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

import msgspec

from agent.errors import InvalidInput

HEADER = struct.Struct("<32s10s3s3s16s8q")
DESCRIPTOR = struct.Struct("<i?III7q128s384s")
PARTITION = struct.Struct("<ii3s")
MAGIC = b"SIF_MAGIC\0"
ARCH_CODES = {
    b"01": "386",
    b"02": "amd64",
    b"03": "arm",
    b"04": "arm64",
    b"05": "ppc64",
    b"06": "ppc64le",
    b"07": "mips",
    b"08": "mipsle",
    b"09": "mips64",
    b"10": "mips64le",
    b"11": "s390x",
    b"12": "riscv64",
    b"13": "loong64",
}
PARTITION_TYPE = 0x4004
PRIMARY_SYSTEM, OVERLAY = 2, 4
_RUNNABLE_FILE_SYSTEMS = {1: "squashfs", 2: "ext3"}
_ENCRYPTED = (5, 6)
_MOST_DESCRIPTORS = 4096  # Apptainer makes room for 48


class SifFacts(msgspec.Struct, frozen=True):
    """arch in Go names; size of the file in bytes; problem says why the image cannot be run, or is None."""

    arch: str | None
    size: int
    problem: str | None = None


class _Partition(msgspec.Struct, frozen=True):
    file_system: int
    kind: int
    arch: bytes


def read_sif(stream: BinaryIO, size: int | None = None) -> SifFacts:
    """Return the facts of the image in `stream` (seekable), reading the header and the descriptors only.

    size: of the whole image in bytes, where `stream` is only its beginning. Raises InvalidInput when this is no SIF
    file, or a damaged or truncated one.
    """
    size = stream.seek(0, os.SEEK_END) if size is None else size
    partitions = [_partition(extra) for extra in _partition_extras(stream, size)]
    primary = [partition for partition in partitions if partition.kind == PRIMARY_SYSTEM]
    if len(primary) != 1:
        return SifFacts(None, size, f"{len(primary) or 'no'} primary system partitions instead of one")
    arch = ARCH_CODES.get(primary[0].arch)
    return SifFacts(arch, size, _problem(primary[0], partitions))


def _problem(primary: _Partition, partitions: list[_Partition]) -> str | None:
    if primary.arch not in ARCH_CODES:
        return f'unknown architecture code "{primary.arch.decode(errors="replace")}"'
    if primary.file_system in _ENCRYPTED:
        return "the image is encrypted, and encrypted images are not supported"
    if primary.file_system not in _RUNNABLE_FILE_SYSTEMS:
        return f"file system type {primary.file_system} of the image is not supported"
    if any(partition.kind == OVERLAY for partition in partitions):
        return "it has an overlay partition, which could change what a signature covers"
    return None


def _partition_extras(stream: BinaryIO, size: int) -> list[bytes]:
    """Return the extra fields of all partitions in use."""
    count, offset = _descriptor_table(stream, size)
    stream.seek(offset)
    table = stream.read(count * DESCRIPTOR.size)
    if len(table) != count * DESCRIPTOR.size:
        raise InvalidInput("a truncated SIF file: its descriptors are not all there")
    extras = []
    for kind, used, _id, _group, _link, start, length, *_rest, extra in DESCRIPTOR.iter_unpack(table):
        if not used:
            continue
        if start < 0 or length < 0 or start + length > size:
            raise InvalidInput(f"a truncated SIF file: {size} bytes, its header speaks of {start + length}")
        if kind == PARTITION_TYPE:
            extras.append(extra)
    return extras


def _descriptor_table(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Return (number of descriptors, offset of the first)."""
    stream.seek(0)
    header = stream.read(HEADER.size)
    if header[32:42] != MAGIC:
        raise InvalidInput("not a SIF file", hint="images are made by `apptainer build NAME.sif ...`")
    if len(header) != HEADER.size:
        raise InvalidInput(f"a truncated SIF file: {size} bytes are less than its header")
    _launch, _magic, _version, _arch, _uuid, *numbers = HEADER.unpack(header)
    _created, _modified, _free, total, offset, *_areas = numbers
    if not 0 <= total <= _MOST_DESCRIPTORS:
        raise InvalidInput(f"a damaged SIF file: {total} descriptors")
    if not HEADER.size <= offset <= size:
        raise InvalidInput(f"a truncated SIF file: {size} bytes, its descriptors start at {offset}")
    return total, offset


def _partition(extra: bytes) -> _Partition:
    file_system, kind, arch = PARTITION.unpack_from(extra)
    return _Partition(file_system, kind, arch.rstrip(b"\0"))
