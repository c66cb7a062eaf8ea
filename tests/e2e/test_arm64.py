"""Jobs for arm64 on a host that is none: they run by emulation, where the configuration allows it."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.site import Site

EMULATE = '[runtime]\nemulate = ["arm64"]\n'

pytestmark = pytest.mark.skipif(platform.machine() == "aarch64", reason="this host runs arm64 without emulation")


@pytest.fixture(scope="session")
def arm64_image(tools_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image whose only program is an arm64 busybox."""
    busybox = tools_cache / "busybox-arm64" / "busybox"
    assert busybox.exists(), f"{busybox} is missing; packaging/install-test-tools.sh fetches it"
    folder = tmp_path_factory.mktemp("arm64")
    tree, image = folder / "root", folder / "arm64.sif"
    for name in ("bin", "dev", "etc", "home", "proc", "sys", "tmp", "var/tmp"):
        (tree / name).mkdir(parents=True)
    shutil.copy(busybox, tree / "bin/busybox")
    for name in ("sh", "uname"):
        (tree / "bin" / name).symlink_to("busybox")
    argv = ["apptainer", "-s", "build", "--arch", "arm64", str(image), str(tree)]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)
    return image


def test_an_arm64_job_runs_by_emulation_where_that_is_allowed(new_site: Callable[..., Site], arm64_image: Path) -> None:
    site = new_site(more=EMULATE)
    sid = site.submit("uname -m > out", image={"arm64": arm64_image.as_uri()})
    with site.agent():
        site.wait_state(sid, "succeeded")
        ended = json.loads(site.call("status", "--json"))["ended"]
    assert site.output(sid) == "aarch64\n"
    assert [(each["arch"], each["emulated"]) for each in ended] == [("arm64", True)]


def test_an_arm64_job_is_refused_where_emulation_is_not_allowed(site: Site, arm64_image: Path) -> None:
    for image in ({"arm64": arm64_image.as_uri()}, arm64_image.as_uri()):
        sid = site.submit("uname -m > out", image=image)
        site.until_empty()
        view = site.view(sid)
        assert (view["state"], site.attempts(sid)) == ("waiting", [])
        (refusal,) = view["refusals"][0]["refusals"]
        assert refusal["reason"] == "architecture"
        assert "arm64" in refusal["required"]
        assert "emulate" in refusal["remedy"]


def test_the_probe_tells_what_could_be_emulated(site: Site) -> None:
    runtime = json.loads(site.call("probe", "--json"))["runtime"]
    assert "arm64" in runtime["emulated"]
    assert "arm64" not in runtime["archs"]
