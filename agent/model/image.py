"""What is known of an image without running it."""

from __future__ import annotations

import msgspec


class ImageFacts(msgspec.Struct, frozen=True):
    """What the image's header says. arch in Go names; problem is None for an image that can be run."""

    arch: str | None
    size: int
    problem: str | None = None
