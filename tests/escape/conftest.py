"""What the escapes share: an image with tools for them, cells to break out of, sites to send hostile jobs to."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent.adapters.local_image import make_root

from tests.e2e.conftest import image, new_site, site
from tests.escape.cell import Cell
from tests.escape.images import TOOLS, build, install

__all__ = ["image", "new_site", "site"]


@pytest.fixture(scope="session")
def public() -> Iterator[Path]:
    """A folder that the plain user may look into, too."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-escape-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def root(public: Path) -> Path:
    """The root of a hostile image: tools, and a setuid program."""
    tree = public / "root"
    make_root(tree)
    install(tree, TOOLS)
    shutil.copy(tree / "bin/id", tree / "bin/setuid-id")
    (tree / "bin/setuid-id").chmod(0o6755)
    return tree


@pytest.fixture(scope="session")
def tools(public: Path, root: Path) -> Path:
    """The hostile image."""
    return build(public / "tools.sif", root)


@pytest.fixture
def token() -> str:
    """A text of the agent's that no payload may see."""
    return f"token-{random.randrange(10**12):012d}"


@pytest.fixture(params=["this user", "a plain user"])
def cell(request: pytest.FixtureRequest, tools: Path, token: str) -> Iterator[Cell]:
    """A container to break out of."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-cell-"))
    folder.chmod(0o755)
    yield Cell(folder, tools, token, plain=request.param != "this user")
    shutil.rmtree(folder)
