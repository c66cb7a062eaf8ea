"""Packages of this checkout, built once for all tests of a session."""

from __future__ import annotations

import pytest

from tests.system.built import Packages, build_packages


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Those for amd64."""
    return build_packages(tmp_path_factory.mktemp("packages"), "amd64", "x86_64")


@pytest.fixture(scope="session")
def arm_packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Those for arm64."""
    return build_packages(tmp_path_factory.mktemp("arm-packages"), "arm64", "aarch64")
