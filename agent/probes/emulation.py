"""Foreign architectures that Apptainer accepts because the kernel emulates them (binfmt_misc).

Apptainer's own rule: binfmt_misc is enabled, and so is an entry whose flags have F (its interpreter was opened when it
was registered, so it works in other mount namespaces) and whose magic is exactly the start of an executable ELF file.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from agent.model.capabilities import RuntimeFacts
from agent.ports import Host
from agent.probes.cpu import userland_arch
from agent.probes.host import read_text

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
    entries = [read_text(host, f"{_FOLDER}/{name}") or "" for name in host.list(_FOLDER)]
    found = {parse_entry(entry) for entry in entries} if status == "enabled" else set()
    found -= {None, userland_arch(host)}
    return RuntimeFacts(emulated=tuple(sorted(arch for arch in found if arch is not None)))


def parse_entry(text: str) -> str | None:
    """Return the architecture (Go names) that an entry emulates in containers; None when it does not."""
    fields = _fields(text)
    if "enabled" not in fields or "F" not in fields.get("flags:", "") or fields.get("offset", "0") != "0":
        return None
    return _ARCHS.get(fields.get("magic", ""))


def _fields(text: str) -> Mapping[str, str]:
    pairs = (line.partition(" ") for line in text.splitlines())
    return {key: value.strip() for key, _, value in pairs}
