"""The checksums that Cloud Storage keeps of its objects, counted up as bytes pass."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Literal

import google_crc32c

# Without its compiled half the package counts some hundred KB a second.
_FAST = google_crc32c.implementation == "c"


class Digest:
    """The CRC-32C of what has passed, or its MD5 where this machine has no fast code for the former."""

    name: Literal["crc32c", "md5"] = "crc32c" if _FAST else "md5"

    def __init__(self) -> None:
        self._sum: Any = hashlib.md5(usedforsecurity=False)
        if _FAST:
            self._sum = google_crc32c.Checksum()  # type: ignore[no-untyped-call]

    def update(self, data: bytes) -> None:
        """Take in the next bytes."""
        self._sum.update(data)

    @property
    def value(self) -> str:
        """The checksum as Cloud Storage writes it."""
        return base64.b64encode(self._sum.digest()).decode("ascii")

    def problem(self, crc32c: str | None, md5: str | None) -> str | None:
        """Say how the checksum differs from the object's, of which one may be unknown; None = it does not."""
        expected = crc32c if self.name == "crc32c" else md5
        if expected is None or expected == self.value:
            return None
        return f"its {self.name} is {self.value} here and {expected} there"
