from __future__ import annotations

import struct
import sys
from pathlib import Path

import pytest
from agent.images.elf import elf_arch, elf_loader


def header(bits: int, order: int, machine: int) -> bytes:
    sign = "<" if order == 1 else ">"
    return b"\x7fELF" + bytes([bits, order, 1]) + bytes(9) + struct.pack(f"{sign}HH", 2, machine)


@pytest.mark.parametrize(
    ("bits", "order", "machine", "arch"),
    [
        (2, 1, 62, "amd64"),
        (1, 1, 3, "386"),
        (1, 1, 40, "arm"),
        (2, 1, 183, "arm64"),
        (2, 1, 21, "ppc64le"),
        (2, 2, 22, "s390x"),
        (2, 1, 243, "riscv64"),
        (2, 1, 9999, None),
        (9, 1, 62, None),
    ],
)
def test_architectures(bits: int, order: int, machine: int, arch: str | None) -> None:
    assert elf_arch(header(bits, order, machine)) == arch


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x02\x01"])
def test_other_files_have_none(content: bytes) -> None:
    assert elf_arch(content) is None
    assert elf_loader(content) is None


def test_the_loader_of_a_32_bit_program() -> None:
    name = b"/lib/ld-linux-armhf.so.3\0"
    start = header(1, 1, 40) + struct.pack("<IIIIIHHHHHH", 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack("<IIIIIIII", 3, 84, 0, 0, len(name), len(name), 4, 1)
    assert elf_loader(start + segment + name) == "/lib/ld-linux-armhf.so.3"


def test_the_loader_of_this_interpreter_exists() -> None:
    loader = elf_loader(Path(sys.executable).read_bytes())
    assert loader is None or Path(loader).exists()


def test_a_header_that_points_outside_has_no_loader() -> None:
    content = header(2, 1, 62) + struct.pack("<IQQQIHHHHHH", 1, 0, 2**63, 0, 0, 64, 56, 9, 0, 0, 0)
    assert elf_loader(content) is None
