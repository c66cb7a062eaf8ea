from __future__ import annotations

import io
import struct

import pytest
from agent.errors import InvalidInput
from agent.images.sif import ARCH_CODES, DESCRIPTOR, HEADER, OVERLAY, read_sif

from tests.siffile import ENCRYPTED, EXT3, Part, sif_bytes

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
    parts = (Part("386", SYSTEM_PARTITION), Part("arm64", file_system=EXT3), Part("amd64", DATA_PARTITION))
    assert facts_of(sif_bytes(*parts)) == ("arm64", None)


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ((), "no primary system partitions"),
        ((Part(kind=DATA_PARTITION),), "no primary system partitions"),
        ((Part(), Part("arm64")), "2 primary system partitions"),
        ((Part(), Part(kind=OVERLAY)), "overlay"),
        ((Part(file_system=ENCRYPTED),), "encrypted"),
        ((Part(file_system=77),), "file system type 77"),
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
