"""Guards that hold for every test: nothing of the developer's own environment leaks in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.servers import (
    bucket,
    emulator,
    gcs,
    gcs_bucket,
    minio,
    mosquitto,
    new_minio,
    new_mosquitto,
    own_emulator,
    own_gcs,
    registry,
)

__all__ = [
    "bucket",
    "emulator",
    "gcs",
    "gcs_bucket",
    "minio",
    "mosquitto",
    "new_minio",
    "new_mosquitto",
    "own_emulator",
    "own_gcs",
    "registry",
]

_OWN_FOLDERS = {
    "HOME": "home",
    "XDG_CACHE_HOME": "home/.cache",
    "XDG_CONFIG_HOME": "home/.config",
    "XDG_DATA_HOME": "home/.local/share",
    "XDG_STATE_HOME": "home/.local/state",
    "XDG_RUNTIME_DIR": "run",
}

# Read before any test changes the environment.
_CACHE_HOME = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@pytest.fixture(scope="session")
def tools_cache() -> Path:
    """Where packaging/install-test-tools.sh keeps what it fetched, such as busybox-arm64/busybox."""
    return _CACHE_HOME / "edge-agent-tests"


@pytest.fixture(scope="session")
def _folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The user's folders of the whole run: made once, since thousands of tests need them to be there only."""
    top = tmp_path_factory.mktemp("environment")
    for below in _OWN_FOLDERS.values():
        (top / below).mkdir(mode=0o700, parents=True, exist_ok=True)
    return {name: str(top / below) for name, below in _OWN_FOLDERS.items()}


@pytest.fixture(autouse=True)
def _own_environment(_folders: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith(("EDGE_AGENT_", "AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST"))
    ]:
        monkeypatch.delenv(name)
    for name, folder in _folders.items():
        monkeypatch.setenv(name, folder)
