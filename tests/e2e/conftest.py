"""What the end-to-end tests share: one tiny image per run, sites that are cleaned up."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent.adapters.local_image import build_image

from tests.e2e.site import Site


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image of this host's own programs."""
    program = shutil.which("apptainer")
    assert program is not None, "Apptainer is missing; packaging/install-apptainer.sh installs it"
    target = tmp_path_factory.mktemp("image") / "tiny.sif"
    build_image(target, program)
    target.chmod(0o644)
    return target


@pytest.fixture
def new_site(tmp_path: Path, image: Path) -> Iterator[Callable[..., Site]]:
    """A function that makes sites by name; at the end of the test nothing of them runs on."""
    sites: list[Site] = []

    def make(name: str = "host-a", **options: object) -> Site:
        site = Site(tmp_path / name, image, **options)  # type: ignore[arg-type]
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.end()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """One site."""
    return new_site()
