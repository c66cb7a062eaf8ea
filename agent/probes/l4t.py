"""Jetson Linux (L4T) releases, and what belongs to each: JetPack, CUDA.

Sources: NVIDIA's Jetson Linux and JetPack archives, as collected in jetson_stats and checked against recorded boards.
"""

from __future__ import annotations

import re

# JetPack by L4T release, DP: developer preview, EA: early access. Left out is what one L4T release does not decide:
# 21.4, 21.5, 24.1, 24.2.1 and 28.2.1 belong to several releases of JetPack each, and for 36.5.0 sources disagree.
_JETPACK = """
    23.1.0 2.0, 23.2.0 2.1, 24.2.0 2.3, 27.1.0 3.0, 28.1.0 3.1, 28.2.0 3.2, 28.4.0 3.3.3,
    31.0.1 4.0, 31.0.2 4.1, 31.1.0 4.1.1, 32.1.0 4.2, 32.2.0 4.2.1, 32.2.1 4.2.2, 32.2.3 4.2.3, 32.3.1 4.3,
    32.4.2 4.4 DP, 32.4.3 4.4, 32.4.4 4.4.1, 32.5.0 4.5, 32.5.1 4.5.1, 32.5.2 4.5.1, 32.6.1 4.6,
    32.7.1 4.6.1, 32.7.2 4.6.2, 32.7.3 4.6.3, 32.7.4 4.6.4, 32.7.5 4.6.5, 32.7.6 4.6.6,
    34.0.1 5.0 PRE-DP, 34.1.0 5.0 DP, 34.1.1 5.0.1 DP,
    35.1.0 5.0.2, 35.2.1 5.1, 35.3.0 5.1.1 PRE, 35.3.1 5.1.1, 35.4.1 5.1.2, 35.5.0 5.1.3,
    35.6.0 5.1.4, 35.6.1 5.1.5, 35.6.2 5.1.5, 35.6.3 5.1.5, 35.6.4 5.1.6,
    36.0.0 6.0 EA, 36.2.0 6.0 DP, 36.3.0 6.0, 36.4.0 6.1, 36.4.2 6.1, 36.4.3 6.2, 36.4.4 6.2.1, 36.4.7 6.2.1,
    38.2.0 7.0, 38.2.1 7.0, 38.2.2 7.0, 38.4.0 7.1, 39.0.0 7.2 EA, 39.2.0 7.2
    """
# CUDA by the first L4T release that has it; it holds up to the next one of the same major version.
_CUDA = {
    (28, 1): "8.0",
    (28, 2): "9.0",
    (31, 0): "10.0",
    (32, 1): "10.0",
    (32, 4): "10.2",
    (34, 1): "11.4",
    (35, 1): "11.4",
    (36, 2): "12.2",
    (36, 3): "12.4",
    (36, 4): "12.6",
    (38, 2): "13.0",
    (39, 0): "13.2",
}


def _table(text: str) -> dict[str, str]:
    pairs = (entry.strip().partition(" ") for entry in text.split(","))
    return {release: jetpack for release, _, jetpack in pairs}


_JETPACKS = _table(_JETPACK)


def parse_release(text: str) -> str | None:
    """Return major.minor.patch from /etc/nv_tegra_release; None when no line has the form.

    Board and date are left alone: they tell neither the board nor, since R39, a date of the old form.
    """
    match = re.search(r"^#\s*R(\d{1,4})\s*\(release\),\s*REVISION:\s*(\d{1,4})(?:\.(\d{1,4}))?", text, re.MULTILINE)
    return _dotted(match) if match else None


def parse_package_version(text: str) -> str | None:
    """Return major.minor.patch of the installed nvidia-l4t-core from dpkg's status file; None when it is not there."""
    for entry in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == "nvidia-l4t-core" and fields.get("Status", "").endswith(" installed"):
            match = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", fields.get("Version", ""))
            return _dotted(match) if match else None
    return None


def _dotted(match: re.Match[str]) -> str:
    return ".".join(str(int(part or 0)) for part in match.groups())


def jetpack(l4t: str) -> str | None:
    """Return the JetPack release of an L4T release; None for an unknown one, and where it does not decide."""
    return _JETPACKS.get(l4t)


def cuda(l4t: str) -> str | None:
    """Return the highest CUDA version that the drivers of an L4T release run; None when it is not known."""
    major, minor, _ = (int(part) for part in l4t.split("."))
    known = [release for release in _CUDA if release[0] == major and release <= (major, minor)]
    return _CUDA[max(known)] if known else None
