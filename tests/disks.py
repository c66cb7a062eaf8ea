"""Small file systems for tests: full, read-only, and gone at a word. Only root may mount them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount file systems")
MIB = 1024**2
_EXT4_SHUTDOWN, _NO_LOG_FLUSH = 0x8004587D, struct.pack("I", 2)


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """An ext4 file system of `size` bytes at `place`, in a file beside it."""
    place.mkdir(parents=True, exist_ok=True)
    image = place.with_name(f"{place.name}.ext4")
    with image.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """Write to a file until not one byte more fits on its disk; return it."""
    filler = place / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (MIB, 4096):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"x" * size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return filler


def break_down(place: Path) -> None:
    """Let the ext4 file system at `place` fail for good: names are found, each read and write is an I/O error."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.ioctl(descriptor, _EXT4_SHUTDOWN, _NO_LOG_FLUSH)
    finally:
        os.close(descriptor)
