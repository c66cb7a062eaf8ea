"""Running a command as a user who is not root, although Python and the checkout may lie where only root may look."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
USER = 65534

# In a mount namespace of its own: what hides the needed directories is covered by an empty, readable directory, and
# the needed ones are bound to their places again.
_SCRIPT = """
set -e
mount -t tmpfs tmpfs /mnt
number=0
for needed in {needed}; do
    number=$((number + 1))
    mkdir /mnt/$number
    mount --bind "$needed" /mnt/$number
done
for hidden in {hidden}; do mount -t tmpfs -o mode=755 tmpfs "$hidden"; done
number=0
for needed in {needed}; do
    number=$((number + 1))
    [ -e "$needed" ] || mkdir -p "$needed"
    mount --bind /mnt/$number "$needed"
done
umount -l /mnt
exec setpriv --reuid={user} --regid={user} --clear-groups --no-new-privs -- "$@"
"""


def as_plain_user(*argv: str) -> list[str]:
    """Return the command line that runs `argv` as a plain user; `argv` itself when the tests run as one."""
    if os.geteuid() != 0:
        return list(argv)
    needed = sorted({str(Path(path).resolve()) for path in (sys.base_prefix, sys.prefix, PROJECT)})
    hidden = sorted({str(path) for place in needed for path in Path(place).parents if _is_closed(path)})
    words = {"needed": _words(needed), "hidden": _words(hidden)}
    return ["unshare", "--mount", "sh", "-c", _SCRIPT.format(user=USER, **words), "sh", *argv]


def _is_closed(path: Path) -> bool:
    return not path.stat().st_mode & 0o001


def _words(texts: list[str]) -> str:
    return " ".join(map(shlex.quote, texts))
