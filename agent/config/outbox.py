"""The section [outbox]: what may wait for a way out before no new jobs are taken."""

from __future__ import annotations

from typing import Annotated

import msgspec

from agent.config.base import Section
from agent.model.units import Bytes


class OutboxSection(Section, frozen=True):
    """Finished jobs whose results cannot leave. limit: bytes on disk; None = half of the disk that jobs may use."""

    limit: Bytes | None = None
    results: Annotated[int, msgspec.Meta(ge=1)] = 1000
