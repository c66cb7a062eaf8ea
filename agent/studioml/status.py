"""The artifact `_status`, by which clients stop an experiment: a file status.json, bare or in an archive."""

from __future__ import annotations

import json
import tarfile
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from agent.errors import JobFault, UnsafeArchive
from agent.studioml.objects import Objects
from agent.studioml.record import is_stopped
from agent.transfer.sniff import as_tar
from agent.transfer.untrusted import members_of, open_tar

LARGEST = 100 * 1000**2  # bytes, of the object and of what is in it
NAME = "status.json"
_LARGEST_FILE = 64 * 1024
# What damaged archives say, of whatever kind.
_DAMAGED = (tarfile.TarError, UnsafeArchive, EOFError, OSError, RecursionError, TypeError, ValueError)


def stop_wanted(objects: Objects, uri: str) -> bool:
    """Say whether the artifact asks for the end of its experiment. Raises JobFault, Unavailable."""
    with objects.fetched(uri, LARGEST) as file:
        text = None if file is None else _status_text(file, uri)
    return text is not None and _says_stopped(text, uri)


def _status_text(file: BinaryIO, uri: str) -> bytes | None:
    """Return the content of the status file, None when the archive has none."""
    start = file.read(512).lstrip()
    file.seek(0)
    if start.startswith(b"{"):
        return file.read(_LARGEST_FILE)
    try:
        with as_tar(file) as stream, open_tar(stream) as archive:
            return _found(archive)
    except _DAMAGED as error:
        raise JobFault(f"{uri}: not a readable archive: {error}") from None


def _found(archive: tarfile.TarFile) -> bytes | None:
    left = LARGEST
    for member in members_of(archive):
        left -= max(member.size, tarfile.BLOCKSIZE)
        if left < 0:
            raise ValueError(f"its content is larger than {LARGEST} bytes")
        if member.isreg() and PurePosixPath(member.name).name == NAME:
            content = archive.extractfile(member)
            return None if content is None else content.read(_LARGEST_FILE)
    return None


def _says_stopped(text: bytes, uri: str) -> bool:
    try:
        status: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise JobFault(f"{uri}: its {NAME} is not JSON") from None
    return isinstance(status, dict) and is_stopped(status)
