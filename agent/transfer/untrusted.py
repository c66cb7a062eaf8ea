"""Reading tar archives of strangers in bounded memory."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

# tarfile reads these members whole into memory: names, links and attributes of the member after them.
_READ_WHOLE = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_MOST_BYTES = 1024**2


class _Member(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _READ_WHOLE and member.size > _MOST_BYTES:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member


def open_tar(stream: BinaryIO) -> tarfile.TarFile:
    """Return the archive in a stream that is read once, compressed or not. Raises tarfile.TarError."""
    kind: dict[str, Any] = {"tarinfo": _Member}
    with _headers_end():
        return tarfile.open(fileobj=stream, mode="r|*", **kind)


def members_of(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members one by one; each is forgotten when the next one is asked for. Raises tarfile.TarError."""
    while True:
        with _headers_end():
            member = archive.next()
        if member is None:
            return
        yield member
        archive.members = []  # type: ignore[attr-defined]


@contextmanager
def _headers_end() -> Iterator[None]:
    """Headers that announce headers are read by a function that calls itself."""
    try:
        yield
    except RecursionError:
        raise tarfile.ReadError("headers without end") from None
