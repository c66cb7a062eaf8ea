"""The .rpm in a root of its own: what its scripts make and leave. The root is Debian's: rpm minds no other package."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from agent.process import Completed, run

from tests.system.built import BUILD_TIMEOUT, NEXT, VERSION, Packages
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import mount_overlay, root_of, unmount_overlay

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT)
CALL_TIMEOUT = 300.0


@pytest.fixture(params=["amd64", "arm64"])
def arch(request: pytest.FixtureRequest) -> str:
    """The architecture of the packages and the root; the programs of arm64 are run by an emulator."""
    return str(request.param)


@pytest.fixture
def rpms(request: pytest.FixtureRequest, arch: str) -> Packages:
    """The packages of the architecture."""
    return cast("Packages", request.getfixturevalue("packages" if arch == "amd64" else "arm_packages"))


@pytest.fixture
def root(tmp_path: Path, arch: str) -> Iterator[Path]:
    """A root with systemd in which nothing runs."""
    try:
        made = mount_overlay(root_of("bookworm", arch), tmp_path)
        mounted = run(("mount", "-t", "proc", "proc", str(made / "proc")), CALL_TIMEOUT)  # systemd-tmpfiles wants it
        assert mounted.status == 0, mounted.err
        yield made
    finally:
        unmount_overlay(tmp_path)


def rpm(root: Path, *argv: str) -> Completed:
    """Run rpm on the root. Its database knows nothing of Debian's packages, so no dependency is looked for."""
    done = run(("rpm", "--root", str(root), "--nodeps", "--define", "_dbpath /var/lib/rpm", *argv), CALL_TIMEOUT)
    assert done.status == 0, done.err
    return done


def inside(root: Path, *argv: str) -> str:
    """What a command in the root prints."""
    done = run(("chroot", str(root), *argv), CALL_TIMEOUT)
    assert done.status == 0, done.err
    return done.out.strip()


def test_install_upgrade_and_removal(rpms: Packages, root: Path) -> None:
    printed = rpm(root, "--ignorearch", "--install", str(rpms.rpm)).out
    assert "sudo systemctl enable --now edge-agent" in printed
    assert inside(root, "edge-agent", "--version") == f"edge-agent {VERSION}"
    assert inside(root, "stat", "-c", "%U:%G %a", "/var/lib/edge-agent") == "edge-agent:edge-agent 700"
    assert inside(root, "stat", "-c", "%U:%G %a", "/etc/edge-agent/config.toml") == "root:edge-agent 640"
    assert not (root / "etc/systemd/system/multi-user.target.wants/edge-agent.service").exists()

    settings = root / "etc/edge-agent/config.toml"
    settings.write_text(settings.read_text() + "# mine\n")
    kept = root / "var/lib/edge-agent/kept"
    kept.touch()
    rpm(root, "--ignorearch", "--upgrade", str(rpms.next_rpm))
    assert inside(root, "edge-agent", "--version") == f"edge-agent {NEXT}"
    assert settings.read_text().endswith("# mine\n")
    rpm(root, "--ignorearch", "--upgrade", "--oldpackage", str(rpms.rpm))
    assert inside(root, "edge-agent", "--version") == f"edge-agent {VERSION}"
    assert settings.read_text().endswith("# mine\n")

    rpm(root, "--erase", "edge-agent")
    assert kept.exists()
    assert not (root / "usr/lib/edge-agent").exists()
    assert settings.with_suffix(".toml.rpmsave").read_text().endswith("# mine\n")
