"""The lists of NVIDIA's container runtime on Jetsons: lines "dev|dir|lib|sym, /path"."""

from __future__ import annotations

from typing import NamedTuple

_KINDS = ("dev", "dir", "lib", "sym")


class Entry(NamedTuple):
    """kind: a device node, a folder, a file, or a link; path may hold wildcards (*)."""

    kind: str
    path: str


def parse_csv(text: str) -> tuple[Entry, ...]:
    """Return the entries; lines that are none, as comments, are left out."""
    pairs = (line.partition(",") for line in text.splitlines())
    entries = (Entry(kind.strip(), path.strip()) for kind, _, path in pairs)
    return tuple(each for each in entries if each.kind in _KINDS and _is_plain(each.path))


def _is_plain(path: str) -> bool:
    return path.startswith("/") and ".." not in path.split("/")
