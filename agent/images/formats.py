"""Every form of image that the runtime starts: SIF files, and file systems without such a header.

Singularity 2 made bare squashfs and ext3 images ("NAME.simg", "NAME.img"), which Apptainer still runs: the file system
starts at once or behind a line that runs it as a script. Nothing in them says for which CPU they are. They are taken
for amd64, what that release was used on; a host of another kind does not try them.
"""

from __future__ import annotations

import os
from typing import BinaryIO

from agent.errors import InvalidInput
from agent.images.sif import MAGIC, STRICT, Rules, SifFacts, read_sif

HEAD = 1024**2  # bytes of an image that are enough for its facts
BARE_ARCH = "amd64"

_LAUNCH = b" run-singularity"
_START = 2048
_SIF_AT = 32
_SQUASHFS = b"hsqs"
_EXT3_AT, _EXT3 = 1080, b"\x53\xef"


def is_image(start: bytes) -> bool:
    """Say whether a file that starts like this, with 2 KiB or more of it, is an image of a known form."""
    return start[_SIF_AT:].startswith(MAGIC) or _bare_size(start[:_START]) is not None


def read_image(stream: BinaryIO, size: int | None = None, rules: Rules = STRICT) -> SifFacts:
    """Return the facts of the image in `stream` (seekable), reading its beginning only.

    size: of the whole image in bytes, where `stream` is only its first HEAD bytes. Raises InvalidInput when this is
    no image, or a damaged or truncated one.
    """
    stream.seek(0)
    start = stream.read(_START)
    needed = None if start[_SIF_AT:].startswith(MAGIC) else _bare_size(start)
    if needed is None:
        return read_sif(stream, size, rules)
    size = stream.seek(0, os.SEEK_END) if size is None else size
    if size < needed:
        raise InvalidInput(f"a truncated image: {size} bytes, its file system has {needed}")
    return SifFacts(BARE_ARCH, size)


def _bare_size(start: bytes) -> int | None:
    """Return the bytes that an image without a SIF header needs at least; None when this is none."""
    line, end, _ = start.partition(b"\n")
    offset = len(line + end) if line.startswith(b"#!") and line.endswith(_LAUNCH) else 0
    if len(start) < offset + _EXT3_AT + len(_EXT3):
        return None
    if start[offset:].startswith(_SQUASHFS):
        return offset + int.from_bytes(start[offset + 40 : offset + 48], "little")
    if start[offset + _EXT3_AT :].startswith(_EXT3):
        blocks, exponent = _number(start, offset + 1028), _number(start, offset + 1048)
        return offset + (blocks << (10 + min(exponent, 6)))
    return None


def _number(start: bytes, at: int) -> int:
    return int.from_bytes(start[at : at + 4], "little")
