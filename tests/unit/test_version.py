from __future__ import annotations

from importlib.metadata import version

import agent


def test_the_package_and_the_installed_distribution_have_the_same_version() -> None:
    assert agent.__version__ == version("edge-agent")
