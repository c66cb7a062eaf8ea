"""The header of an ELF file: for which CPU it is, and which loader it asks for.

Layout and numbers: the System V ABI, "Object Files", and the processor supplements (as in elf.h).
"""

from __future__ import annotations

import struct

_MACHINES = {
    (3, 32, "<"): "386",
    (62, 64, "<"): "amd64",
    (62, 32, "<"): "amd64",  # x32: 64-bit instructions with short pointers
    (40, 32, "<"): "arm",
    (183, 64, "<"): "arm64",
    (21, 64, "<"): "ppc64le",
    (21, 64, ">"): "ppc64",
    (22, 64, ">"): "s390x",
    (243, 64, "<"): "riscv64",
    (258, 64, "<"): "loong64",
}
_INTERPRETER = 3  # PT_INTERP
_MOST_SEGMENTS = 64


def elf_arch(header: bytes) -> str | None:
    """Return the architecture (Go names) that the file's first 20 bytes tell; None when it is no known ELF."""
    form = _form(header)
    if form is None or len(header) < 20:
        return None
    bits, order = form
    (machine,) = struct.unpack_from(f"{order}H", header, 18)
    return _MACHINES.get((machine, bits, order))


def elf_loader(content: bytes) -> str | None:
    """Return the path of the loader that the program asks for; None for a static program or no ELF file."""
    form = _form(content)
    if form is None or len(content) < 64:
        return None
    bits, order = form
    # e_phoff, then e_phentsize and e_phnum; in a segment: p_offset and p_filesz.
    table_at, sizes_at, segment = (32, 54, "8xQ16xQ") if bits == 64 else (28, 42, "4xI8xI")
    (table,) = struct.unpack_from(f"{order}{'Q' if bits == 64 else 'I'}", content, table_at)
    entry, count = struct.unpack_from(f"{order}HH", content, sizes_at)
    for index in range(min(count, _MOST_SEGMENTS)):
        at = table + index * entry
        if at + 40 > len(content):
            break
        if struct.unpack_from(f"{order}I", content, at)[0] == _INTERPRETER:
            offset, size = struct.unpack_from(f"{order}{segment}", content, at)
            return content[offset : offset + size].rstrip(b"\0").decode()
    return None


def _form(header: bytes) -> tuple[int, str] | None:
    """Return (32 or 64, byte order), or None when this is no ELF file."""
    if len(header) < 6 or header[:4] != b"\x7fELF" or header[4] not in (1, 2) or header[5] not in (1, 2):
        return None
    return (32 if header[4] == 1 else 64), ("<" if header[5] == 1 else ">")
