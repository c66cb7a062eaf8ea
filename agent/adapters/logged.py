"""The advert of a host without a broker: lines in its own log."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from agent.model.capabilities import Capabilities

log = logging.getLogger(__name__)


class LogAdvertiser:
    """An Advertiser that writes what others would be told to the log."""

    def capabilities(self, profile: Capabilities, digest: str) -> None:
        """Log what the host is, in short; the whole object is a field at debug level."""
        fields = {
            "event": "capabilities",
            "digest": digest[:12],
            "arch": profile.cpu.arch,
            "cpus": profile.cpu.effective,
            "memory": profile.memory.effective_bytes,
            "runtime": profile.runtime.name,
            "emulated": list(profile.runtime.emulated or ()),
        }
        log.info("host is", extra=fields)
        log.debug("capabilities", extra={"event": "capabilities-whole", "profile": profile.table()})

    def state(self, state: Mapping[str, Any]) -> None:
        """Log what the host is doing; the minute's repetition only at debug level."""
        log.debug("host does", extra={"event": "state", **state})
