"""The device tree: what the firmware says of a board that has no DMI, and of some that have."""

from __future__ import annotations

from agent.ports import Host

# The first is a link to the second; a recording may hold either.
_BASES = ("/proc/device-tree", "/sys/firmware/devicetree/base")


def strings(host: Host, name: str) -> tuple[str, ...]:
    """Return the texts of a property of the root node, such as `compatible`; empty when it is absent.

    Containers often mask /sys/firmware, and with it the whole tree.
    """
    for base in _BASES:
        content = host.read(f"{base}/{name}")
        if content is not None:
            return parse_strings(content)
    return ()


def parse_strings(content: bytes) -> tuple[str, ...]:
    """Return the texts of a property: each ends with a NUL."""
    texts = (text.decode(errors="replace").strip() for text in content.split(b"\0"))
    return tuple(text for text in texts if text)
