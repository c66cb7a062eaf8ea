"""The section [metrics]: where a monitoring system asks."""

from __future__ import annotations

import re

from agent.config.base import Section, wrong

_ADDRESS = re.compile(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})")
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


class MetricsSection(Section, frozen=True):
    """Metrics for Prometheus. listen: "HOST:PORT" of this host; None = they are not served."""

    listen: str | None = None


def check_metrics(metrics: MetricsSection) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    if metrics.listen is None:
        return
    found = _ADDRESS.fullmatch(metrics.listen)
    if found is None or not 1 <= int(found[3]) <= 65535:
        raise wrong("metrics.listen", metrics.listen, 'an address and a port of this host, such as "127.0.0.1:9469"')


def address_of(listen: str) -> tuple[str, int]:
    """Return host and port of a checked address."""
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


def is_loopback(listen: str) -> bool:
    """Say whether only this host itself reaches a checked address."""
    return _LOOPBACK.fullmatch(address_of(listen)[0]) is not None
