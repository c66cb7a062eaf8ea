"""The header of a SIF file: for which CPU the image is, and whether it is one that can be run.

An image is one squashfs, the primary system partition, with what describes and signs it beside. What this agent does
not know could be something that the runtime does know, so it is refused. The architecture is that of the partition:
Apptainer decides by it, and signatures cover it, while nothing protects the one in the file's own header. Layout
(little endian, packed), codes and limits after the SIF format version 01.
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
MAGIC, _MAGIC_AT = b"SIF_MAGIC\0", 32
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
PARTITION_TYPE, SIGNATURE_TYPE, ENCRYPTION_TYPE = 0x4004, 0x4005, 0x4008
OCI_TYPES = (0x400A, 0x400B)
# Definition file, variables, labels, partition, signature, JSON, other data, encryption, bill of materials, OCI.
_KNOWN_TYPES = range(0x4001, 0x400C)
PRIMARY_SYSTEM, OVERLAY = 2, 4
_KNOWN_KINDS = range(1, 5)  # system, primary system, data, overlay
SQUASHFS = 1
_FILE_SYSTEMS = {2: "ext3", 3: "an archive", 4: "raw data"}
_ENCRYPTED = (5, 6)
_MOST_DESCRIPTORS = 4096  # Apptainer makes room for 48


class Rules(msgspec.Struct, frozen=True):
    """What an image may have beyond its one root file system. overlay: a partition that is laid over it."""

    overlay: bool = False


STRICT = Rules()


class SifFacts(msgspec.Struct, frozen=True):
    """arch in Go names; size of the file in bytes; problem says why the image cannot be run, or is None.

    signed: whether it carries a signature, right or wrong.
    """

    arch: str | None
    size: int
    problem: str | None = None
    signed: bool = False


class _Object(msgspec.Struct, frozen=True):
    """One object of the file, by its descriptor; extra: what that says beyond kind and place."""

    kind: int
    extra: bytes


class _Partition(msgspec.Struct, frozen=True):
    file_system: int
    kind: int
    arch: bytes


def read_sif(stream: BinaryIO, size: int | None = None, rules: Rules = STRICT) -> SifFacts:
    """Return the facts of the image in `stream` (seekable), reading the header and the descriptors only.

    size: of the whole image in bytes, where `stream` is only its beginning. Raises InvalidInput when this is no SIF
    file, or a damaged or truncated one.
    """
    size = stream.seek(0, os.SEEK_END) if size is None else size
    objects = _objects(stream, size)
    signed = any(each.kind == SIGNATURE_TYPE for each in objects)
    partitions = [_partition(each.extra) for each in objects if each.kind == PARTITION_TYPE]
    primary = [partition for partition in partitions if partition.kind == PRIMARY_SYSTEM]
    if len(primary) != 1:
        return SifFacts(None, size, _without_one(len(primary), objects), signed)
    problem = _problem(primary[0]) or _beside(objects, partitions, rules)
    return SifFacts(ARCH_CODES.get(primary[0].arch), size, problem, signed)


def is_sif(stream: BinaryIO) -> bool:
    """Say whether the file in `stream` (seekable) has the header of a SIF file, right or wrong."""
    stream.seek(0)
    return stream.read(HEADER.size)[_MAGIC_AT : _MAGIC_AT + len(MAGIC)] == MAGIC


def _without_one(primaries: int, objects: list[_Object]) -> str:
    if not primaries and any(each.kind in OCI_TYPES for each in objects):
        return "it is an OCI image in a SIF file, which Apptainer does not run; build it without --oci"
    return f"{primaries or 'no'} primary system partitions instead of one"


def _problem(primary: _Partition) -> str | None:
    """Return why this partition cannot be the root of a container."""
    if primary.arch not in ARCH_CODES:
        return f'unknown architecture code "{primary.arch.decode(errors="replace")}"'
    if primary.file_system in _ENCRYPTED:
        return "the image is encrypted, and encrypted images are not supported"
    if primary.file_system != SQUASHFS:
        name = _FILE_SYSTEMS.get(primary.file_system, f"file system type {primary.file_system}")
        return f"its primary system partition is {name}, and only squashfs is supported"
    return None


def _beside(objects: list[_Object], partitions: list[_Partition], rules: Rules) -> str | None:
    """Return what must not be in the image beside its root."""
    for each in objects:
        if each.kind == ENCRYPTION_TYPE:
            return "it has an object with keys of an encryption, and encrypted images are not supported"
        if each.kind not in _KNOWN_TYPES:
            return f"it has an object of the unknown type {each.kind:#x}"
    for partition in partitions:
        if partition.kind not in _KNOWN_KINDS:
            return f"it has a partition of the unknown kind {partition.kind}"
        if partition.kind == OVERLAY and not rules.overlay:
            return "it has an overlay partition, which changes what is run; allow it: [policy] image_overlay = true"
    return None


def _objects(stream: BinaryIO, size: int) -> list[_Object]:
    """Return all objects in use."""
    count, offset = _descriptor_table(stream, size)
    stream.seek(offset)
    table = stream.read(count * DESCRIPTOR.size)
    if len(table) != count * DESCRIPTOR.size:
        raise InvalidInput("a truncated SIF file: its descriptors are not all there")
    objects = []
    for kind, used, _id, _group, _link, start, length, *_rest, extra in DESCRIPTOR.iter_unpack(table):
        if not used:
            continue
        if start < 0 or length < 0 or start + length > size:
            raise InvalidInput(f"a truncated SIF file: {size} bytes, its header speaks of {start + length}")
        objects.append(_Object(kind, extra))
    return objects


def _descriptor_table(stream: BinaryIO, size: int) -> tuple[int, int]:
    """Return (number of descriptors, offset of the first)."""
    stream.seek(0)
    header = stream.read(HEADER.size)
    if header[_MAGIC_AT : _MAGIC_AT + len(MAGIC)] != MAGIC:
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
