"""Which lines of a requirements file a job may bring: packages by name or by address, and no option of the installer.

An option or a path would read files of this host, and `${NAME}` would send variables of the agent to an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agent.errors import JobFault
from agent.redact import mask_text

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\s*\[[A-Za-z0-9._,\s-]*\])?"
_VERSIONS = r"(?:\(?\s*[<>=!~]{1,3}\s*[A-Za-z0-9][A-Za-z0-9.*+!_-]*\s*\)?(?:\s*,\s*[<>=!~]{1,3}[^,;@]+)*)?"
_MARKER = r"(?:\s*;.+)?"
_URL = r"(?:git\+)?https?://\S+"
_ALLOWED = re.compile(rf"{_NAME}\s*{_VERSIONS}{_MARKER}|(?:{_NAME}\s*@\s*)?{_URL}{_MARKER}")
_EDITABLE = re.compile(r"(?:-e|--editable)[\s=]\s*(git\+https?://\S+)")
_EGG = re.compile(r"egg=([^&]+)&?")
_COMMENT = re.compile(r"(?:^|\s)#.*")
# Debian's pip lists a package of this name that exists nowhere.
_NO_PACKAGE = re.compile(r"pkg[-_.]resources", re.IGNORECASE)
_LONGEST = 2000
_HINT = "write NAME, NAME==VERSION, NAME @ https://..., or git+https://..."


def checked(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the lines to install, without comments and what is no package. Raises JobFault for any other line."""
    stripped = (_COMMENT.sub("", line).strip() for line in lines)
    return tuple(_checked(line) for line in stripped if line and not _NO_PACKAGE.match(line))


def _checked(line: str) -> str:
    plain = _not_editable(line)
    # Whoever reads the file breaks lines at more characters than the newline, and at a backslash joins them.
    sound = len(plain) <= _LONGEST and plain.isascii() and plain.isprintable() and not set("$\\`") & set(plain)
    if not sound or any(word.startswith("-") for word in plain.split()) or not _ALLOWED.fullmatch(plain):
        shown = "".join(letter if letter.isprintable() else "?" for letter in line[:200])
        raise JobFault(f'the requirement "{mask_text(shown)}" is not allowed; {_HINT}')
    return plain


def _not_editable(line: str) -> str:
    """Return `-e git+https://...#egg=NAME` as `NAME @ git+https://...`: nobody edits it here."""
    match = _EDITABLE.fullmatch(line)
    if match is None:
        return line
    url, _, fragment = match[1].partition("#")
    name, rest = _EGG.search(fragment), _EGG.sub("", fragment).strip("&")
    address = f"{url}#{rest}" if rest else url
    return f"{name[1]} @ {address}" if name else address
