"""Images of every form: SIF, and file systems without its header."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

import pytest
from agent.errors import InvalidInput
from agent.images.formats import HEAD, is_image, read_image
from agent.images.sif import SifFacts

from tests.siffile import Part, sif_bytes

LAUNCH = b"#!/usr/bin/env run-singularity\n"


def squashfs(used: int = 4096) -> bytes:
    return (b"hsqs" + bytes(36) + struct.pack("<Q", used)).ljust(used, b"\0")


def ext3(blocks: int = 8) -> bytes:
    image = bytearray(blocks * 1024)
    struct.pack_into("<I", image, 1024 + 4, blocks)
    image[1080:1082] = b"\x53\xef"
    return bytes(image)


FORMS = {
    "SIF": (sif_bytes(Part("arm64")), "arm64"),
    "squashfs": (squashfs(), "amd64"),
    "squashfs that can be run": (LAUNCH + squashfs(), "amd64"),
    "ext3": (ext3(), "amd64"),
    "ext3 that can be run": (LAUNCH + ext3(), "amd64"),
}


@pytest.mark.parametrize(("content", "arch"), FORMS.values(), ids=FORMS)
def test_every_form_that_the_runtime_starts_is_an_image(content: bytes, arch: str) -> None:
    assert is_image(content[:4096])
    assert read_image(io.BytesIO(content)) == SifFacts(arch, len(content))


@pytest.mark.parametrize(("content", "arch"), FORMS.values(), ids=FORMS)
def test_the_beginning_is_enough_when_the_size_is_known(content: bytes, arch: str) -> None:
    large = content + bytes(3 * HEAD)
    assert read_image(io.BytesIO(large[:HEAD]), len(large)) == SifFacts(arch, len(large))


@pytest.mark.parametrize("content", [LAUNCH + squashfs(9000), ext3(), sif_bytes(Part())])
def test_one_that_is_cut_off_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="truncated"):
        read_image(io.BytesIO(content[:-1]))


@pytest.mark.parametrize("content", [b"", LAUNCH, b"SIFDUMMY", b"#!/bin/sh\n" + bytes(4096), bytes(4096)])
def test_anything_else_is_none(content: bytes) -> None:
    assert not is_image(content)
    with pytest.raises(InvalidInput, match="not a SIF"):
        read_image(io.BytesIO(content))


def test_what_the_common_tools_make_is_known(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x" * 10_000)
    made = tmp_path / "image.sqsh"
    argv = ["mksquashfs", str(tmp_path / "tree"), str(made), "-quiet", "-no-progress"]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    with made.open("rb") as file:
        assert read_image(file) == SifFacts("amd64", made.stat().st_size)
