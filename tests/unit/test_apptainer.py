from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent.adapters.apptainer import RUNTIME_MEMORY, RUNTIME_PIDS, argv, environment, spec
from agent.adapters.cgroup import NOWHERE, Place
from agent.adapters.confinement import Mask
from agent.adapters.spec import JobLimits
from agent.errors import HostFault
from agent.model.run import Devices, Mount
from agent.ports import ContainerRun
from agent.supervisor.limits import Limits
from agent.supervisor.protocol import Spec, parse_spec


def run_in(directory: Path = Path("/state/attempts/job.1"), **changes: Any) -> ContainerRun:
    plain: dict[str, Any] = {
        "attempt_id": "job.1",
        "directory": directory,
        "image": Path("/images/a.sif"),
        "command": ("train", "--epochs", "3"),
        "env": {},
        "home": directory / "work",
        "workdir": ".",
        "network": "none",
        "cpus": 2.0,
        "memory": 512 * 1024**2,
        "timeout": 3600.0,
        "grace": 10.0,
        "log": directory / "log",
    }
    return ContainerRun(**{**plain, **changes})


GOLDEN = [
    "/usr/bin/apptainer",
    "-s",
    "exec",
    "--containall",
    "--cleanenv",
    "--no-eval",
    "--no-umask",
    "--no-privs",
    "--security=seccomp:/state/attempts/job.1/seccomp.json",
    "--uts",
    "--hostname=job",
    "--net",
    "--network=none",
    "--no-mount=sys,bind-paths",
    "--home=/state/attempts/job.1/work:/home/job",
    "--pwd=/home/job",
    "--workdir=/state/attempts/job.1/tmp",
    "--mount=type=bind,src=/state/attempts/job.1/marker,dst=/.edge-agent/marker,ro",
    "--mount=type=bind,src=/state/attempts/job.1/mark.sh,dst=/.singularity.d/env/00-edge-agent.sh,ro",
    "/images/a.sif",
    "train",
    "--epochs",
    "3",
]


def test_the_command_line_of_a_job() -> None:
    assert argv("/usr/bin/apptainer", run_in()) == GOLDEN


def test_without_a_command_the_image_is_run() -> None:
    words = argv("/usr/bin/apptainer", run_in(command=None))
    assert words == ["/usr/bin/apptainer", "-s", "run", *GOLDEN[3:-3]]


def test_the_hosts_network_is_the_absence_of_another() -> None:
    words = argv("/usr/bin/apptainer", run_in(network="host"))
    assert words == [word for word in GOLDEN if word not in ("--net", "--network=none")]


def test_secrets_are_mounted_read_only() -> None:
    words = argv("/usr/bin/apptainer", run_in(secrets=Path("/state/attempts/job.1/secrets")))
    mount = "--mount=type=bind,src=/state/attempts/job.1/secrets,dst=/run/secrets,ro"
    assert words == [*GOLDEN[:-4], mount, *GOLDEN[-4:]]


def test_masks_are_the_last_mounts_and_read_only() -> None:
    masks = [Mask("/proc/sys", "/proc/sys"), Mask("/dev/null", "/proc/keys")]
    words = argv("/usr/bin/apptainer", run_in(), masks)
    mounts = ["--mount=type=bind,src=/proc/sys,dst=/proc/sys,ro", "--mount=type=bind,src=/dev/null,dst=/proc/keys,ro"]
    assert words == [*GOLDEN[:-4], *mounts, *GOLDEN[-4:]]


def test_everything_at_once_in_a_directory_with_an_odd_name() -> None:
    odd = Path('/srv/the "state" $(id)/job.1')
    run = run_in(odd, image=Path("/images/my image.sif"), workdir="my sub", secrets=odd / "secrets", network="host")
    assert argv("/opt/a b/apptainer", run, [Mask("/proc/sys", "/proc/sys")]) == [
        "/opt/a b/apptainer",
        "-s",
        "exec",
        "--containall",
        "--cleanenv",
        "--no-eval",
        "--no-umask",
        "--no-privs",
        '--security="seccomp:/srv/the ""state"" $(id)/job.1/seccomp.json"',
        "--uts",
        "--hostname=job",
        "--no-mount=sys,bind-paths",
        '--home=/srv/the "state" $(id)/job.1/work:/home/job',
        "--pwd=/home/job/my sub",
        '--workdir=/srv/the "state" $(id)/job.1/tmp',
        '--mount=type=bind,"src=/srv/the ""state"" $(id)/job.1/marker",dst=/.edge-agent/marker,ro',
        '--mount=type=bind,"src=/srv/the ""state"" $(id)/job.1/mark.sh",dst=/.singularity.d/env/00-edge-agent.sh,ro',
        '--mount=type=bind,"src=/srv/the ""state"" $(id)/job.1/secrets",dst=/run/secrets,ro',
        "--mount=type=bind,src=/proc/sys,dst=/proc/sys,ro",
        "/images/my image.sif",
        "train",
        "--epochs",
        "3",
    ]


@pytest.mark.parametrize("word", ["--bind=/:/host", "-B", "$(id)", "`id`", "a\nb", "", "it's"])
def test_words_of_the_job_stand_behind_the_image_as_they_are(word: str) -> None:
    assert argv("/usr/bin/apptainer", run_in(command=(word, word))) == [*GOLDEN[:-3], word, word]


@pytest.mark.parametrize(
    ("workdir", "inside"), [(".", "/home/job"), ("sub", "/home/job/sub"), ("./a//b/", "/home/job/a/b")]
)
def test_the_working_directory_is_below_the_home(workdir: str, inside: str) -> None:
    assert f"--pwd={inside}" in argv("apptainer", run_in(workdir=workdir))


def test_quotes_in_a_path_are_doubled_in_a_mount() -> None:
    words = argv("apptainer", run_in(Path('/srv/"state"/job.1')))
    assert '--mount=type=bind,"src=/srv/""state""/job.1/marker",dst=/.edge-agent/marker,ro' in words
    assert '--home=/srv/"state"/job.1/work:/home/job' in words


def test_a_comma_in_the_path_of_a_mount_is_quoted() -> None:
    words = argv("apptainer", run_in(secrets=Path("/srv/a,b")))
    assert '--mount=type=bind,"src=/srv/a,b",dst=/run/secrets,ro' in words


@pytest.mark.parametrize("path", ["/srv/a:b/job.1", "/srv/a,b/job.1"])
def test_a_state_directory_that_cannot_be_mounted_is_named(path: str) -> None:
    with pytest.raises(HostFault, match=f'the state directory "{path}/work" has a ":" or ","'):
        argv("apptainer", run_in(Path(path)))


def test_granted_nodes_keep_their_paths_and_files_are_read_only_unless_said_otherwise() -> None:
    mounts = (Mount("/lib/libcuda.so.1", "/.singularity.d/libs/libcuda.so.1"), Mount("/a", "/b", writable=True))
    words = argv("/usr/bin/apptainer", run_in(devices=Devices(("/dev/nvidia1", "/dev/nvidiactl"), mounts)))
    assert [word for word in words if word not in GOLDEN] == [
        "--mount=type=bind,src=/dev/nvidia1,dst=/dev/nvidia1",
        "--mount=type=bind,src=/dev/nvidiactl,dst=/dev/nvidiactl",
        "--mount=type=bind,src=/lib/libcuda.so.1,dst=/.singularity.d/libs/libcuda.so.1,ro",
        "--mount=type=bind,src=/a,dst=/b",
    ]
    assert "--nv" not in words


def test_the_environment_hands_the_jobs_variables_on_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "secret")
    assert environment(run_in(env={"SEED": "$(id)", "LANG": "de_DE.UTF-8"})) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/state/attempts/job.1",
        "APPTAINERENV_LANG": "de_DE.UTF-8",
        "APPTAINERENV_PYTHONUNBUFFERED": "1",
        "APPTAINERENV_SEED": "$(id)",
        "SINGULARITYENV_LANG": "de_DE.UTF-8",
        "SINGULARITYENV_PYTHONUNBUFFERED": "1",
        "SINGULARITYENV_SEED": "$(id)",
    }


def test_variables_for_the_home_get_it_as_the_container_has_it() -> None:
    passed = environment(run_in(env={"STUDIOML_HOME": "/elsewhere"}, homes=("STUDIOML_HOME",)))
    assert passed["APPTAINERENV_STUDIOML_HOME"] == passed["SINGULARITYENV_STUDIOML_HOME"] == "/home/job"


def test_a_job_cannot_set_the_runtimes_own_variables() -> None:
    env = {"PATH": "/job/bin", "HOME": "/job", "APPTAINER_BIND": "/:/host", "LD_PRELOAD": "/job/evil.so"}
    for name in ("APPTAINER_BIND", "LD_PRELOAD"):
        assert name not in environment(run_in(env=env))
    assert environment(run_in(env=env))["PATH"].startswith("/usr/local/sbin:")
    assert environment(run_in(env=env))["APPTAINERENV_LD_PRELOAD"] == "/job/evil.so"


def test_no_value_of_a_variable_is_on_the_command_line() -> None:
    assert argv("/usr/bin/apptainer", run_in(env={"PASSWORD": "s3cret"})) == GOLDEN


def test_the_holder_understands_what_it_is_told() -> None:
    place = Place(Path("/sys/fs/cgroup/edge"), exact=True)
    run = run_in(log_limit=1000, disk=4096)
    parsed: Spec = parse_spec(spec("/usr/bin/apptainer", run, place, JobLimits(100, 50, disk_floor=1000)))
    assert parsed.argv == GOLDEN
    assert (parsed.attempt, parsed.directory, parsed.cwd) == ("job.1", "/state/attempts/job.1", "/state/attempts/job.1")
    assert (parsed.timeout_s, parsed.grace_s, parsed.log_limit_bytes) == (3600.0, 10.0, 1000)
    assert (parsed.cgroup, parsed.rlimits) == (
        "/sys/fs/cgroup/edge/job.1",
        {"core": 0, "nofile": 50, "fsize": 4096},
    )
    assert parsed.limits == Limits(
        cpus=2.0,
        memory_bytes=512 * 1024**2 + RUNTIME_MEMORY,
        pids=100 + RUNTIME_PIDS,
        disk_bytes=4096,
        disk_paths=("/state/attempts/job.1/work", "/state/attempts/job.1/tmp"),
        exact=True,
        disk_floor_bytes=1000,
    )
    assert parsed.memory_bytes == 512 * 1024**2 + RUNTIME_MEMORY
    assert parsed.marker
    assert parsed.oom_score_adj == 800


def test_without_cgroups_there_is_none() -> None:
    parsed = parse_spec(spec("/usr/bin/apptainer", run_in(timeout=None), NOWHERE, JobLimits()))
    assert parsed.cgroup is None
    assert not parsed.limits.exact
    assert "fsize" not in parsed.rlimits


def test_groups_of_version_1_are_told_by_controller() -> None:
    place = Place(None, {"memory": Path("/sys/fs/cgroup/memory/edge")})
    parsed = parse_spec(spec("/usr/bin/apptainer", run_in(), place, JobLimits()))
    assert parsed.limits.groups == {"memory": "/sys/fs/cgroup/memory/edge/job.1"}
