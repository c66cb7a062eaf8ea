"""`explain JOB --root DIR`: whether a job fits a host that was recorded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from agent.cli import cli
from agent.errors import JobError
from click.testing import CliRunner, Result

from tests.hosts import RECORDED
from tests.siffile import Part, write_sif

GIB = 1024**3
Explain = Callable[..., Result]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """An Orin Nano with a runtime and a disk, which its recording does not tell of."""
    root = tmp_path / "orin"
    shutil.copytree(RECORDED / "jetson-orin-nano-super-r36", root)
    (root / "_cmd" / "apptainer-version.txt").write_text("apptainer version 1.4.5\n")
    (root / "_cmd" / "statvfs.txt").write_text(f'["/var/lib/edge-agent", {100 * GIB}, {50 * GIB}]')
    return root


@pytest.fixture
def explain(tmp_path: Path) -> Explain:
    """A function that explains a job with these requirements (TOML) on a host of which this one has one CPU to give."""
    image = write_sif(tmp_path / "image.sif", Part(arch="arm64"))
    config, job = tmp_path / "config.toml", tmp_path / "job.toml"
    config.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/state"\n[resources]\ncpus = 1\nmemory = "1MiB"\n'
        f'[policy]\nimage_prefixes = ["{tmp_path.as_uri()}/"]\n'
    )

    def explained(requires: str, *arguments: str | Path) -> Result:
        job.write_text(
            f'api = "edge-agent/v1"\nimage = "{image.as_uri()}"\ncommand = ["true"]\n[requires]\n{requires}\n'
        )
        return CliRunner().invoke(cli, ["--config", str(config), "explain", str(job), *map(str, arguments)])

    return explained


def test_a_job_that_fits_a_recorded_host_is_told_so(explain: Explain, recorded: Path) -> None:
    wishes = (
        '"jetson.l4t >= 36.4"',
        '"jetson.jetpack >= 6.2"',
        '"jetson.super_mode = true"',
        '"host.soc matches ^tegra(234|264)$"',
        '["cuda.version >= 13", "cuda.version >= 12.6"]',
        '"memory.total_bytes > 7GiB"',
        '"cpu.features contains asimddp"',
    )
    done = explain(f'cpus = 6\nmemory = "6GiB"\ndisk = "40GiB"\nwhere = [{", ".join(wishes)}]', "--root", recorded)
    assert done.exit_code == 0, done.output
    assert "that host has" in done.output
    assert done.output.splitlines()[-1] == "The job can start here now, on arm64."


@pytest.mark.parametrize(
    ("requires", "reason", "required", "has"),
    [
        ('where = ["jetson.l4t >= 38"]', "constraint", "jetson.l4t >= 38", "jetson.l4t is 36.4.7"),
        ('where = ["cpu.level >= v2"]', "constraint", "cpu.level >= v2", "cpu.level is unknown"),
        ("cpus = 7", "cpus", "7 CPUs", "6 CPUs in the agent's share"),
        ('memory = "8GiB"', "memory", "8 GiB of memory", "7.2 GiB in"),
        ('disk = "60GiB"', "disk", "60 GiB of disk", "49"),
        ('labels = {site = "lab"}', "label", "label site = lab", "no such label"),
        ('arch = ["amd64"]', "architecture", "amd64", "arm64, arm"),
    ],
)
def test_a_refusal_says_what_is_asked_what_the_recorded_host_has_and_what_helps(
    explain: Explain, recorded: Path, requires: str, reason: str, required: str, has: str
) -> None:
    done = explain(requires, "--root", recorded, "--json")
    assert done.exit_code == 1
    (row,) = [row for row in json.loads(done.output)["requirements"] if not row["ok"]]
    assert row["reason"] == reason
    assert required in row["requirement"]
    assert has in row["host_has"]
    assert row["remedy"]


def test_a_recording_without_a_runtime_refuses_for_that(explain: Explain) -> None:
    done = explain("", "--root", RECORDED / "jetson-orin-nano-super-r36", "--json")
    table = json.loads(done.output)
    assert table["standing"] == "refused-here"
    assert "runtime" in [row["reason"] for row in table["requirements"] if not row["ok"]]


def test_without_a_root_it_is_about_this_host(explain: Explain) -> None:
    done = explain("cpus = 2", "--json")
    rows = json.loads(done.output)["requirements"]
    assert "1 CPU in the agent's share" in [row["host_has"] for row in rows]


def test_a_recorded_host_that_is_not_there_is_wrong_use(explain: Explain) -> None:
    done = explain("", "--root", "/no/such/host")
    assert done.exit_code == 2
    assert "/no/such/host" in done.output


def test_a_pattern_that_could_be_tried_for_ever_is_refused_with_the_job(explain: Explain, recorded: Path) -> None:
    done = explain(r"where = ['host.model matches (\w+)\1']", "--root", recorded)
    assert isinstance(done.exception, JobError)
    assert 'job.toml:5: constraint "host.model matches ' in str(done.exception)
    assert '"\\1" is not known' in str(done.exception)
