"""Compression of a stream, chunk by chunk, in bounded memory."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Protocol

from agent.model.cargo import Compression

_GZIP = 16 + zlib.MAX_WBITS
# More than this costs an edge host minutes and brings a few percent.
_XZ_PRESET = 3


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressed(source: Iterable[bytes], compression: Compression) -> Iterator[bytes]:
    """Yield the stream compressed; "none" passes it on as it is."""
    compressor = _compressor(compression)
    if compressor is None:
        yield from source
        return
    for piece in source:
        if done := compressor.compress(piece):
            yield done
    yield compressor.flush()


def _compressor(compression: Compression) -> _Compressor | None:
    if compression == "gzip":
        return zlib.compressobj(wbits=_GZIP)
    if compression == "bzip2":
        return bz2.BZ2Compressor()
    return lzma.LZMACompressor(preset=_XZ_PRESET) if compression == "xz" else None
