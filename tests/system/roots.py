"""Root file systems of Debian and Ubuntu with systemd, made once and kept; hosts boot from overlays on them."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
from pathlib import Path

from agent.process import run

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-agent-tests/roots"
# Minutes where the scripts of the packages run under an emulator.
BUILD_TIMEOUT = 1800.0
# What Apptainer of this machine, copied into the root, needs of the distribution.
_RUNTIME = ("fuse-overlayfs", "libseccomp2", "libsqlite3-0", "squashfs-tools", "squashfuse", "uidmap")
_PACKAGES = ("ca-certificates", "dbus", "init", "libpam-systemd", "procps", "sudo", "tzdata")
# It is built for a newer distribution than some: these libraries go with it, where it looks first.
_APPTAINER_LIBRARIES = ("libseccomp.so.2", "libsqlite3.so.0")
_APPTAINER = ("/etc/apptainer", "/opt/apptainer", "/usr/bin/apptainer", "/var/lib/apptainer")


UBUNTU = frozenset({"noble"})
_UBUNTU = "http://archive.ubuntu.com/ubuntu"
# Debian has no package of the keys by which Ubuntu's archive is recognized; this one is known by its content.
_KEYS = "/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb"
_KEYS_SHA256 = "36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8"


def root_of(release: str, arch: str = "amd64", more: tuple[str, ...] = ()) -> Path:
    """Return the root of a release ("bookworm"), made where it is not there yet, with `more` packages.

    Needs root and the network, once.
    """
    runtime = _RUNTIME if arch == "amd64" else ()
    packages = ",".join((*_PACKAGES, *runtime, *more))
    key = hashlib.sha256("\n".join((packages, *_APPTAINER, *_APPTAINER_LIBRARIES)).encode()).hexdigest()[:8]
    root = CACHE / f"{release}-{arch}-{key}"
    if not root.exists():
        made = root.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        made.parent.mkdir(parents=True, exist_ok=True)
        command = ("mmdebstrap", "--variant=minbase", f"--architectures={arch}", f"--include={packages}")
        archive, options = (_UBUNTU, _of_ubuntu()) if release in UBUNTU else ("", ())
        done = run((*command, *options, release, str(made), *filter(None, (archive,))), BUILD_TIMEOUT)
        assert done.status == 0, f"mmdebstrap ended with status {done.status}: {done.err[-2000:]}"
        if arch == "amd64":
            _copy_apptainer(made)
        made.rename(root)
    return root


def _of_ubuntu() -> tuple[str, ...]:
    """How mmdebstrap is told of Ubuntu's archive; its keys are fetched where they are not there yet."""
    keys = CACHE / f"ubuntu-keys-{_KEYS_SHA256[:8]}"
    if not keys.exists():
        with urllib.request.urlopen(_UBUNTU + _KEYS, timeout=60) as answer:  # noqa: S310 - a fixed address
            package = answer.read()
        assert hashlib.sha256(package).hexdigest() == _KEYS_SHA256, f"{_UBUNTU + _KEYS} is another package than it was"
        file = CACHE / "ubuntu-keys.deb"
        file.write_bytes(package)
        _call("dpkg-deb", "-x", str(file), str(keys))
    return (
        "--components=main,universe",
        "--include=apt",
        f"--keyring={keys}/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    )


def mount_overlay(base: Path, folder: Path) -> Path:
    """Mount what may be changed of a root at `folder`/root: changes go into a tmpfs. The path of the mount."""
    layers, root = folder / "layers", folder / "root"
    for each in (layers, root):
        each.mkdir(parents=True)
    _call("mount", "-t", "tmpfs", "-o", "size=4g", "layers", str(layers))
    upper, work = layers / "upper", layers / "work"
    upper.mkdir()
    work.mkdir()
    _call("mount", "-t", "overlay", "-o", f"lowerdir={base},upperdir={upper},workdir={work}", "root", str(root))
    return root


def unmount_overlay(folder: Path) -> None:
    """Leave nothing of mount_overlay; nothing to do where it mounted nothing."""
    for mount in (folder / "root", folder / "layers"):
        run(("umount", "-R", "-l", str(mount)), 30.0)


def _call(*argv: str) -> None:
    done = run(argv, 60.0)
    assert done.status == 0, f"{' '.join(argv)}: {done.err}"


def _copy_apptainer(root: Path) -> None:
    """Put this machine's Apptainer into the root: no release that is tested has a package of it."""
    for each in (*map(Path, _APPTAINER), *Path("/usr/lib").glob("*-linux-gnu/apptainer")):
        if each.exists():
            (root / each.relative_to("/")).parent.mkdir(parents=True, exist_ok=True)
            _call("cp", "-a", str(each), str(root / each.relative_to("/").parent))
    for name in _APPTAINER_LIBRARIES:
        shutil.copy(Path("/usr/lib/x86_64-linux-gnu") / name, root / "opt/apptainer/lib")
