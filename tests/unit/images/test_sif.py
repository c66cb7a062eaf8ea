from __future__ import annotations

import io
import random
import struct

import pytest
from agent.errors import InvalidInput
from agent.images.formats import read_image
from agent.images.sif import ARCH_CODES, DESCRIPTOR, HEADER, OVERLAY, SIGNATURE_TYPE, Rules, read_sif

from tests.siffile import ENCRYPTED, EXT3, SQUASHFS, Part, sif_bytes

DATA_PARTITION, SYSTEM_PARTITION = 3, 1


def facts_of(content: bytes) -> tuple[str | None, str | None]:
    found = read_sif(io.BytesIO(content))
    assert found.size == len(content)
    return found.arch, found.problem


@pytest.mark.parametrize("arch", ARCH_CODES.values())
def test_the_architecture_of_the_primary_partition(arch: str) -> None:
    assert facts_of(sif_bytes(Part(arch))) == (arch, None)


def test_the_architecture_in_the_header_of_the_file_does_not_count() -> None:
    assert facts_of(sif_bytes(Part("arm64"), header_arch="amd64")) == ("arm64", None)


def test_other_partitions_do_not_decide() -> None:
    parts = (Part("386", SYSTEM_PARTITION, EXT3), Part("arm64"), Part("amd64", DATA_PARTITION))
    assert facts_of(sif_bytes(*parts)) == ("arm64", None)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((), "no primary system partitions"),
        ((Part(kind=DATA_PARTITION),), "no primary system partitions"),
        ((Part(), Part("arm64")), "2 primary system partitions"),
        ((Part(), Part(kind=OVERLAY)), "overlay"),
        ((Part(file_system=ENCRYPTED),), "encrypted"),
        ((Part(file_system=77),), "is file system type 77, and only squashfs"),
        ((Part(file_system=EXT3),), "is ext3, and only squashfs"),
        ((Part(), Part(kind=9)), "a partition of the unknown kind 9"),
        ((Part(), Part(type=0x4008)), "keys of an encryption"),
        ((Part(), Part(type=0x4FFF)), "an object of the unknown type 0x4fff"),
        ((Part(type=0x400A), Part(type=0x400B)), "an OCI image in a SIF file"),
        ((Part("99"),), 'unknown architecture code "99"'),
    ],
)
def test_images_that_cannot_be_run_have_a_problem(parts: tuple[Part, ...], problem: str) -> None:
    assert problem in (facts_of(sif_bytes(*parts))[1] or "")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF" + bytes(500), b"hsqs" + bytes(8000)])
def test_other_files_are_no_sif(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="not a SIF file"):
        read_sif(io.BytesIO(content))


def test_a_file_cut_anywhere_is_refused() -> None:
    whole = sif_bytes(Part())
    for length in (45, HEADER.size - 1, HEADER.size, 4096, 4096 + DESCRIPTOR.size, len(whole) - 1):
        with pytest.raises(InvalidInput, match="truncated"):
            read_sif(io.BytesIO(whole[:length]))


def patched(at: int, form: str, value: int) -> io.BytesIO:
    content = bytearray(sif_bytes(Part()))
    struct.pack_into(form, content, at, value)
    return io.BytesIO(bytes(content))


# Positions: dtotal and doff in the header; offset and size in the first descriptor.
@pytest.mark.parametrize("at", [64 + 3 * 8, 64 + 4 * 8, 4096 + 17, 4096 + 25])
@pytest.mark.parametrize("value", [-1, 2**62, -(2**63)])
def test_numbers_that_cannot_be_are_refused_before_anything_is_read(at: int, value: int) -> None:
    with pytest.raises(InvalidInput, match=r"damaged|truncated"):
        read_sif(patched(at, "<q", value))


def test_a_descriptor_that_is_not_in_use_is_skipped() -> None:
    assert "no primary" in (read_sif(patched(4096 + 4, "<B", 0)).problem or "")


def test_what_describes_and_signs_an_image_may_be_beside_it() -> None:
    beside = [Part(type=kind) for kind in (0x4001, 0x4002, 0x4003, 0x4006, 0x4007, 0x4009)]
    assert facts_of(sif_bytes(*beside, Part())) == ("amd64", None)


def test_an_overlay_partition_needs_leave() -> None:
    content = sif_bytes(Part(), Part(kind=OVERLAY, file_system=EXT3))
    assert "[policy] image_overlay" in (read_sif(io.BytesIO(content)).problem or "")
    assert read_sif(io.BytesIO(content), rules=Rules(overlay=True)).problem is None


def test_a_signature_is_seen() -> None:
    assert not read_sif(io.BytesIO(sif_bytes(Part()))).signed
    assert read_sif(io.BytesIO(sif_bytes(Part(), Part(type=SIGNATURE_TYPE)))).signed


def mangled(chance: random.Random) -> bytes:
    """Return an image with bytes set at random, most of them where its header and first descriptors are, and cut."""
    parts = [Part(kind=chance.choice((0, 1, 2, 3, 4, 9)), file_system=chance.choice((0, SQUASHFS, EXT3, ENCRYPTED)))]
    content = bytearray(sif_bytes(Part(), *parts))
    for _ in range(chance.randrange(1, 12)):
        at = chance.choice((chance.randrange(128), 4096 + chance.randrange(1200), chance.randrange(len(content))))
        content[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(content[: chance.choice((len(content), chance.randrange(len(content))))])


def test_no_bytes_bring_anything_but_facts_or_a_refusal() -> None:
    """The seed of a failure is in its message."""
    facts, refused = 0, 0
    for seed in range(4000):
        content = mangled(random.Random(seed))
        for size in (None, 2**40):
            try:
                found = read_image(io.BytesIO(content), size)
            except InvalidInput:
                refused += 1
            except Exception as error:
                raise AssertionError(f"seed {seed}, size {size}") from error
            else:
                facts += 1
                assert found.arch is not None or found.problem is not None
    assert facts > 500
    assert refused > 500
