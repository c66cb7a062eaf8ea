"""Foreign architectures that Apptainer accepts because the kernel emulates them (binfmt_misc).

Apptainer's own rule: binfmt_misc is enabled, and so is an entry whose flags have F (its interpreter was opened when it
was registered, so it works in other mount namespaces) and whose magic is exactly the start of an executable ELF file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from agent.model.capabilities import RuntimeFacts
from agent.ports import Host
from agent.probes.host import read_text
from agent.probes.runtime import native_archs

_FOLDER = "/proc/sys/fs/binfmt_misc"
# EI_CLASS, byte order and e_machine of each architecture: the System V ABI's processor supplements.
_HEADERS = {
    "386": (1, "<", 3),
    "amd64": (2, "<", 62),
    "arm": (1, "<", 40),
    "arm64": (2, "<", 183),
    "ppc64le": (2, "<", 21),
    "riscv64": (2, "<", 243),
    "s390x": (2, ">", 22),
}
_EXECUTABLE = 2  # ET_EXEC


def _magic(bits: int, order: str, machine: int) -> str:
    identity = struct.pack("4sBBB9x", b"\x7fELF", bits, 1 if order == "<" else 2, 1)
    return (identity + struct.pack(f"{order}HH", _EXECUTABLE, machine)).hex()


_ARCHS = {_magic(*header): arch for arch, header in _HEADERS.items()}


def probe(host: Host) -> RuntimeFacts:
    """Return the emulated architectures; only that field is filled."""
    status = read_text(host, f"{_FOLDER}/status")
    if status is None:
        # Not mounted is known to be none, on a host whose /proc is there.
        return RuntimeFacts(emulated=() if host.list("/proc/sys/fs") else None)
    found = {entry.arch for entry in entries(host) if entry.works} if status == "enabled" else set()
    return RuntimeFacts(emulated=tuple(sorted(found.difference(native_archs(host) or ()))))


class Entry(NamedTuple):
    """One emulator that the kernel knows: for which architecture (Go names), switched on or not, with flag F or not."""

    name: str
    arch: str
    enabled: bool
    fixed: bool

    @property
    def works(self) -> bool:
        """Say whether it emulates in containers."""
        return self.enabled and self.fixed


def entries(host: Host) -> tuple[Entry, ...]:
    """Return the entries that are for an architecture, whether they work or not."""
    found = (parse_entry(read_text(host, f"{_FOLDER}/{name}") or "", name) for name in host.list(_FOLDER))
    return tuple(entry for entry in found if entry is not None)


def parse_entry(text: str, name: str = "") -> Entry | None:
    """Return the entry; None when it is not for an architecture as Apptainer knows them."""
    fields = _fields(text)
    arch = _ARCHS.get(fields.get("magic", ""))
    if arch is None or fields.get("offset", "0") != "0":
        return None
    return Entry(name, arch, "enabled" in fields, "F" in fields.get("flags:", ""))


def is_switched_on(host: Host) -> bool | None:
    """Say whether the kernel emulates at all; None where binfmt_misc is not mounted."""
    status = read_text(host, f"{_FOLDER}/status")
    return None if status is None else status == "enabled"


def _fields(text: str) -> Mapping[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}
