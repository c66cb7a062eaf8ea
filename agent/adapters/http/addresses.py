"""Addresses that nobody reaches through a job: what answers there serves this machine alone, often with its rights."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# Link-local addresses, where clouds put their metadata services, and those services that lie elsewhere.
_FORBIDDEN = tuple(
    ip_network(text)
    for text in (
        *("169.254.0.0/16", "fe80::/10"),
        *("fd00:ec2::/32", "fd20:ce::/32"),  # AWS, Google
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),  # Alibaba, Azure, Oracle
    )
)
# A translator on the way turns these into the IPv4 address of their last four bytes.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_forbidden(address: str) -> bool:
    """Say whether the numeric address, with or without a zone ("fe80::1%eth0"), is one of them."""
    found = ip_address(address.partition("%")[0])
    inner = _inner(found) if isinstance(found, IPv6Address) else None
    return any(each in network for network in _FORBIDDEN for each in (found, inner) if each is not None)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
