"""What an image tries by what is in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.process import run as run_program

from tests.e2e.site import Site
from tests.escape.cell import Cell
from tests.escape.images import build


def apptainer(*words: str) -> None:
    """Run the program, which must succeed."""
    program = shutil.which("apptainer")
    assert program is not None, "Apptainer is missing; packaging/install-apptainer.sh installs it"
    done = run_program((program, *words), 120.0)
    assert done.status == 0, done.err


def with_script(public: Path, root: Path, name: str, script: str) -> Path:
    """An image with a script that the runtime's shell reads before the payload."""
    tree = public / f"root-{name}"
    shutil.copytree(root, tree, symlinks=True)
    place = tree / ".singularity.d/env" / name
    place.parent.mkdir(parents=True)
    place.write_text(script)
    place.chmod(0o755)
    return build(public / f"{name}.sif", tree)


def test_an_overlay_appended_to_an_image_is_never_laid_over_it(
    new_site: Callable[..., Site], tools: Path, tmp_path: Path
) -> None:
    site = new_site()
    overlay, image = tmp_path / "overlay.img", tmp_path / "with-overlay.sif"
    shutil.copy(tools, image)
    apptainer("overlay", "create", "--size", "64", str(overlay))
    add = ("sif", "add", "--datatype", "4", "--parttype", "4", "--partfs", "2", "--partarch", "2", "--groupid", "1")
    apptainer(*add, str(image), str(overlay))
    sid = site.submit("echo ran > out", image=image.as_uri())
    site.until_empty()
    assert "it has an overlay partition" in json.dumps(site.view(sid)["refusals"])
    assert site.attempts(sid) == []


def test_an_image_that_ends_before_its_payload_is_at_fault_itself(cell: Cell, public: Path, root: Path) -> None:
    name = f"90-{'plain' if cell.plain else 'own'}.sh"
    cell.image = with_script(public, root, name, "exit 7\n")
    ended = cell.run("echo ran")
    assert (ended.exit.exit_code, ended.exit.started, ended.log) == (7, True, "")


def test_scripts_of_an_image_run_inside_only(cell: Cell, public: Path, root: Path) -> None:
    name = f"91-{'plain' if cell.plain else 'own'}.sh"
    script = f"touch {cell.state}/made /made 2>/dev/null && echo ESCAPED\nunshare -U true 2>/dev/null && echo ESCAPED\n"
    cell.image = with_script(public, root, name, script)
    assert cell.run("echo ran").log == "ran\n"
    assert not (cell.state / "made").exists()


@pytest.mark.parametrize("place", [".singularity.d/env", ".edge-agent", "home"])
def test_links_in_an_image_lead_no_mount_out_of_it(cell: Cell, public: Path, root: Path, place: str) -> None:
    """Where the runtime mounts something, the image has a link to a folder of the host."""
    name = f"link-{place.replace('/', '-')}-{'plain' if cell.plain else 'own'}"
    tree, victim = public / name, public / f"{name}-victim"
    victim.mkdir()
    shutil.copytree(root, tree, symlinks=True)
    link = tree / place
    shutil.rmtree(link, ignore_errors=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim)
    cell.image = build(public / f"{name}.sif", tree)
    shutil.rmtree(victim)  # who builds such an image has files of the runtime there
    victim.mkdir(mode=0o777)
    cell.run(f"echo evil > {victim}/evil; echo evil > /{place}/evil")
    assert list(victim.iterdir()) == []
