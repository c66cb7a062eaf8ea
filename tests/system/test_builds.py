"""What `make packages` makes: the same bytes each time, and what the checkers of the distributions find in it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from agent.process import run

from tests.system.built import BUILD_TIMEOUT, TOP, Packages, build

pytestmark = pytest.mark.timeout(BUILD_TIMEOUT)
LINT_TIMEOUT = 900.0


def digest(file: Path) -> str:
    """What a file contains, in 64 digits."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_same_checkout_gives_the_same_packages(packages: Packages, tmp_path: Path) -> None:
    build(tmp_path, "amd64", EDGE_AGENT_LEVEL="0")
    first = (packages.deb, packages.rpm)
    assert [digest(tmp_path / each.name) for each in first] == [digest(each) for each in first]


def test_lintian_finds_nothing_that_is_not_explained(packages: Packages) -> None:
    done = run(("lintian", "--allow-root", "--fail-on=error,warning", str(packages.deb)), LINT_TIMEOUT)
    assert (done.status, done.out) == (0, "")


def test_rpmlint_finds_nothing_that_is_not_explained(packages: Packages) -> None:
    done = run(("rpmlint", "--config", str(TOP / "packaging/rpm/rpmlint.toml"), str(packages.rpm)), LINT_TIMEOUT)
    assert "0 errors, 0 warnings" in done.out, done.out
