"""An agent that runs signed images only."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.site import Site
from tests.workshop import Workshop


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def strict(new_site: Callable[..., Site], workshop: Workshop) -> Site:
    keys = workshop.keys("own.pem")
    return new_site(more=f'[images]\nsignatures = "require"\nkeys_dir = "{keys}"\n')


def test_a_job_with_an_image_that_nobody_signed_fails_with_the_reason(strict: Site, workshop: Workshop) -> None:
    good = strict.submit("echo done > out", image=workshop.signed.as_uri())
    bad = strict.submit("echo done > out", image=workshop.bare.as_uri())
    changed = strict.submit("echo done > out", image=workshop.changed().as_uri())
    strict.until_empty()
    assert strict.output(good) == "done\n"
    rule = '[images] signatures = "require" wants a valid signature'
    for sid, path, why in (
        (bad, workshop.bare, "it is not signed"),
        (changed, workshop.folder / "changed.sif", "it was changed after it was signed"),
    ):
        view = strict.view(sid)
        assert view["state"] == "failed"
        assert f"image {path.as_uri()}: {why}, and {rule}" in view["reason"]


def test_a_running_job_keeps_the_image_that_was_verified(strict: Site, workshop: Workshop, tmp_path: Path) -> None:
    """Whoever owns the file writes over it in place, which an open descriptor or a hard link would not survive."""
    shared = Path(shutil.copy(workshop.signed, tmp_path / "shared.sif"))
    script = "echo up; while [ ! -e go ]; do sleep 0.05; done; cat /bin/* > /dev/null && echo whole > out"
    sid = strict.submit(script, image=shared.as_uri())
    with strict.agent():
        strict.wait_printed(sid, "up")
        with shared.open("r+b") as file:
            file.write(bytes(shared.stat().st_size))
        (strict.directory(sid) / "work/go").touch()
        strict.wait_state(sid, "succeeded")
    assert strict.output(sid) == "whole\n"
