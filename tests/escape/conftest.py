"""What the escapes share: an image with tools for them, cells to break out of, sites to send hostile jobs to."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent.adapters.local_image import make_root

from tests.e2e.conftest import image, new_site, site
from tests.e2e.plain_user import USER, as_plain_user
from tests.e2e.site import Site
from tests.escape.cell import Cell
from tests.escape.images import TOOLS, build, install

__all__ = ["image", "new_site", "site"]

USERS = ["this user", "a plain user"]


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


@pytest.fixture(params=USERS)
def cell(request: pytest.FixtureRequest, tools: Path, token: str) -> Iterator[Cell]:
    """A container to break out of."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-cell-"))
    folder.chmod(0o755)
    yield Cell(folder, tools, token, plain=request.param != "this user")
    shutil.rmtree(folder)


class PlainSite(Site):
    """A site whose commands all run as a plain user, whoever runs the tests."""

    def argv(self, *arguments: str) -> list[str]:
        """See Site. What the tests put there meanwhile is the user's, too."""
        give_away(self.folder)
        return as_plain_user(*super().argv(*arguments))


def give_away(place: Path) -> None:
    """Make everything there the plain user's, where the tests run as root."""
    if os.geteuid() == 0:
        for path in (place, *place.rglob("*")):
            os.chown(path, USER, USER, follow_symlinks=False)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may look into."""
    folder = Path(tempfile.mkdtemp(prefix="edge-agent-place-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=USERS)
def users_site(request: pytest.FixtureRequest, place: Path, tools: Path) -> Iterator[Callable[..., Site]]:
    """A function that makes a site of one user or the other, with the hostile image."""
    sites: list[Site] = []

    def make(**options: object) -> Site:
        kind = Site if request.param == "this user" else PlainSite
        (place / "host-a").mkdir()
        give_away(place)
        sites.append(kind(place / "host-a", tools, **options))  # type: ignore[arg-type]
        return sites[-1]

    yield make
    for each in sites:
        each.end()
