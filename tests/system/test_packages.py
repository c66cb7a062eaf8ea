"""The .deb on real hosts with systemd: installed without a network, a job that outlives upgrades, removed, purged."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent.process import run

from tests.nvml_library import build_nvml
from tests.system.built import BUILD_TIMEOUT, NEXT, TOP, VERSION, Packages
from tests.system.machine import BOOT_TIMEOUT, Machine
from tests.system.roots import BUILD_TIMEOUT as ROOT_TIMEOUT
from tests.system.roots import root_of
from tests.waiting import wait_until

# The first test that needs them builds packages and roots, and may compile the interpreter.
pytestmark = pytest.mark.timeout(BUILD_TIMEOUT + ROOT_TIMEOUT + BOOT_TIMEOUT)

RELEASES = ("bullseye", "bookworm", "trixie", "noble")
AGENT, JOBS = "edge-agent.service", "edge-jobs.service"
STATE = "/var/lib/edge-agent"
JOB_TIMEOUT = 120.0
# Facts that change by themselves, or that differ between two processes.
_VOLATILE = {"storage": ("free_bytes",), "memory": ("available_bytes",)}
_PAGE = TOP / "agent/docs/install.md"
# Writes a function that returns 42 into memory, makes it code, and calls it.
_JIT = """
#include <string.h>
#include <sys/mman.h>

int main(void) {
    static const unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(page, code, sizeof code);
    if (mprotect(page, 4096, PROT_READ | PROT_EXEC) != 0) return 1;
    return ((int (*)(void))page)() == 42 ? 0 : 2;
}
"""
# One GPU, whose nodes are those of zeros and of FUSE, which is none of a unit's usual devices: whether they can be used
# shows without a driver.
_GPU = """init 0 ok
driver 0 550.54.15
cuda 0 12040
count 0 1
name 0 NVIDIA A10
uuid 0 GPU-aaaa
pci 0 00000000:01:00.0
minor 0 0
memory 0 24146608128
capability 0 8 6
"""
_GPU_NODES = """
mknod -m 660 /dev/nvidia0 c 1 5
mknod -m 660 /dev/nvidia1 c 1 5
mknod -m 660 /dev/nvidiactl c 10 229
mknod -m 660 /dev/nvidia-uvm c 10 229
chgrp video /dev/nvidia*
mkdir -p /run/systemd/system/edge-agent.service.d
printf '[Service]\\nEnvironment=NVML_SCENARIO=/etc/gpu\\n' >/run/systemd/system/edge-agent.service.d/gpu.conf
systemctl daemon-reload
ldconfig
systemctl restart edge-agent
"""


@pytest.fixture(scope="module", params=RELEASES)
def host(
    request: pytest.FixtureRequest, packages: Packages, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A host of one release, with the packages in /root. The tests of this file follow on each other on it."""
    root = root_of(request.param)
    with Machine(request.param, root, tmp_path_factory.mktemp(request.param)) as made:
        for package in (packages.deb, packages.next_deb):
            made.copy_in(package, f"/root/{package.name}")
        yield made


def blocks(title: str) -> list[str]:
    """The commands of one section of the page, by paragraph."""
    section = _PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]
    found = re.findall(r"(?:^    .*\n)+", section, re.MULTILINE)
    return [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in found]


def perform(host: Machine, block: str) -> str:
    """Run commands of the page in /root, where the packages lie; what they printed."""
    return host.sh(f"cd /root\n{block}")


def submit(host: Machine, script: str) -> str:
    """Submit a job that runs `script` in the image of the page's demonstration; its id."""
    return submit_command(host, "tiny-amd64.sif", "sh", "-c", script)


def submit_command(host: Machine, image: str, *command: str, more: str = "") -> str:
    """Submit a job with an image of the host; its id."""
    job = f'image = "file://{STATE}/images/{image}"\ncommand = {json.dumps(command)}\n{more}'
    return host.do("edge-agent", "submit", "-", stdin=job, user="edge-agent").strip()


def state_of(host: Machine, sid: str) -> str:
    """What has become of a job, in a word."""
    shown = json.loads(host.do("edge-agent", "status", sid, "--json", user="edge-agent"))
    return str(shown["state"])


def waiters(host: Machine) -> set[str]:
    """The processes that watch a job."""
    return set(host.run("pgrep", "-x", "edge-waiter").out.split())


def main_pid(host: Machine, unit: str) -> str:
    """The process of a unit."""
    return host.prop(unit, "MainPID")


def active(host: Machine, unit: str) -> str:
    """Whether a unit runs, in systemd's word."""
    return host.run("systemctl", "is-active", unit).out.strip()


# The tests of one host run in this order.


def test_it_installs_without_a_network_and_starts_nothing(host: Machine) -> None:
    (command,) = blocks("Install")
    printed = perform(host, command)
    assert "sudo systemctl enable --now edge-agent" in printed
    assert [active(host, unit) for unit in (AGENT, JOBS)] == ["inactive", "inactive"]
    assert host.run("systemctl", "is-enabled", AGENT).out.strip() == "disabled"
    assert host.do("edge-agent", "--version").strip() == f"edge-agent {VERSION}"


def test_files_belong_to_whom_they_should(host: Machine) -> None:
    told = host.do("stat", "-c", "%U:%G %a %n", STATE, "/etc/edge-agent", "/etc/edge-agent/config.toml")
    assert told.splitlines() == [
        f"edge-agent:edge-agent 700 {STATE}",
        "root:edge-agent 750 /etc/edge-agent",
        "root:edge-agent 640 /etc/edge-agent/config.toml",
    ]
    assert host.do("dpkg", "--verify", "edge-agent") == ""
    assert host.do("find", "/usr/lib/edge-agent", "!", "-user", "root") == ""
    assert {"video", "render"} <= set(host.do("id", "-nG", "edge-agent").split())


def test_what_a_service_may_do_is_little(host: Machine) -> None:
    told = host.do("systemd-analyze", "security", "--no-pager", AGENT)
    found = re.search(r"Overall exposure level for edge-agent.service: ([0-9.]+)", told)
    assert found is not None, told
    assert float(found[1]) <= 2.5, told


def test_the_page_configures_and_starts_it(host: Machine) -> None:
    for block in (*blocks("Configure"), *blocks("Start")):
        perform(host, block)
    assert [active(host, unit) for unit in (AGENT, JOBS)] == ["active", "active"]
    assert host.prop(AGENT, "WatchdogUSec") == "3min"


def test_a_job_runs_through_the_service(host: Machine) -> None:
    printed = [perform(host, block) for block in blocks("A first job")]
    assert "hello" in printed[-1].splitlines()


def test_a_probe_inside_the_unit_says_the_same_as_outside(host: Machine) -> None:
    unit = host.do("cat", "/usr/lib/systemd/system/edge-agent.service")
    probe = "ExecStart=/bin/sh -c '/usr/bin/edge-agent probe --json >/var/lib/edge-agent/probe.json'"
    unit = re.sub(r"(?m)^ExecStart=.*$", probe, unit).replace("Type=notify", "Type=oneshot")
    unit = re.sub(r"(?m)^(Restart|WatchdogSec).*\n", "", unit)
    host.do("tee", "/run/systemd/system/edge-probe.service", stdin=unit)
    host.sh("systemctl daemon-reload; systemctl start edge-probe")
    inside = json.loads(host.do("cat", f"{STATE}/probe.json"))
    outside = json.loads(host.do("edge-agent", "probe", "--json", user="edge-agent"))
    assert steady(inside) == steady(outside)


def steady(profile: dict[str, Any]) -> dict[str, Any]:
    """A profile without what changes from one moment to the next."""
    kept = {key: value for key, value in profile.items() if key != "health"}
    for part, keys in _VOLATILE.items():
        kept[part] = {key: value for key, value in kept[part].items() if key not in keys}
    return kept


def test_a_container_may_make_code_while_it_runs(host: Machine, tmp_path: Path) -> None:
    """As browsers, Java and CUDA do: memory that is written, then run."""
    source, program = tmp_path / "jit.c", tmp_path / "jit"
    source.write_text(_JIT)
    compiled = run(("gcc", "-static", "-o", str(program), str(source)), 60.0)
    assert compiled.status == 0, compiled.err
    host.sh("cd /root; mkdir jit; cd jit; mkdir bin dev etc home proc sys tmp")
    host.copy_in(program, "/root/jit/bin/jit")
    host.sh(f"chmod 755 /root/jit/bin/jit; apptainer -s build {STATE}/images/jit.sif /root/jit")
    sid = submit_command(host, "jit.sif", "/bin/jit")
    wait_until(lambda: state_of(host, sid) in ("succeeded", "failed"), JOB_TIMEOUT, "the job ends")
    assert state_of(host, sid) == "succeeded"


def test_a_granted_device_is_usable_in_a_job_and_another_is_absent(host: Machine, tmp_path: Path) -> None:
    """The nodes are for the group of GPUs only, to which the package's user belongs."""
    library = "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"
    host.copy_in(build_nvml(tmp_path / "libnvidia-ml.so.1"), library)
    host.do("cp", library, f"{library.rpartition('/')[0]}/libcuda.so.1")
    host.do("tee", "/etc/gpu", stdin=_GPU)
    host.sh(_GPU_NODES)
    use = "head -c 4 /dev/nvidia0 | wc -c; echo word >/dev/nvidia0; : <>/dev/nvidiactl"
    look = f"{use}; echo /dev/nvidia[0-9]* $CUDA_VISIBLE_DEVICES"
    sid = submit_command(host, "tiny-amd64.sif", "sh", "-euc", look, more="requires = {gpus = 1}\n")
    wait_until(lambda: state_of(host, sid) in ("succeeded", "failed"), JOB_TIMEOUT, "the job ends")
    printed = host.do("edge-agent", "logs", sid, user="edge-agent")
    assert printed.split() == ["4", "/dev/nvidia0", "GPU-aaaa"]


def test_secrets_come_as_credentials(host: Machine) -> None:
    """systemd hands them over from version 247 on."""
    for block in blocks("Secrets"):
        perform(host, block)
    wait_until(lambda: active(host, AGENT) == "active", JOB_TIMEOUT)
    if int(host.do("systemctl", "--version").split()[1]) >= 247:
        pid = main_pid(host, AGENT)
        assert host.sh(f"cat /proc/{pid}/root/run/credentials/edge-agent.service/api-token") == "s3cret"


def test_a_job_outlives_an_upgrade_and_a_way_back(host: Machine, packages: Packages) -> None:
    sid = submit(host, "echo started; while [ ! -e go ]; do sleep 1; done; echo ended")
    wait_until(lambda: state_of(host, sid) == "started", JOB_TIMEOUT, "the job runs")
    holder, running, agent = main_pid(host, JOBS), waiters(host), main_pid(host, AGENT)
    host.sh("echo '# mine' >>/etc/edge-agent/config.toml")
    for block, version in zip(blocks("Upgrade and go back")[0].splitlines(), (NEXT, VERSION), strict=True):
        perform(host, block)
        assert host.do("edge-agent", "--version").split()[1] == version
        assert active(host, AGENT) == "active"
        assert main_pid(host, AGENT) != agent
        agent = main_pid(host, AGENT)
    assert (main_pid(host, JOBS), waiters(host)) == (holder, running)
    assert host.do("tail", "-n", "1", "/etc/edge-agent/config.toml").strip() == "# mine"
    assert state_of(host, sid) == "started"
    host.sh(f"for job in {STATE}/attempts/*/work; do touch $job/go; done")
    wait_until(lambda: state_of(host, sid) == "succeeded", JOB_TIMEOUT, "the job ends")
    assert "ended" in host.do("edge-agent", "logs", sid, user="edge-agent")


def test_a_killed_agent_comes_back_and_follows_its_job(host: Machine) -> None:
    sid = submit(host, "while [ ! -e go ]; do sleep 1; done")
    wait_until(lambda: state_of(host, sid) == "started", JOB_TIMEOUT, "the job runs")
    agent = main_pid(host, AGENT)
    host.do("kill", "-KILL", agent)
    wait_until(lambda: main_pid(host, AGENT) not in ("0", agent), JOB_TIMEOUT, "another agent runs")
    wait_until(lambda: active(host, AGENT) == "active", JOB_TIMEOUT, "it is ready")
    host.sh(f"for job in {STATE}/attempts/*/work; do touch $job/go; done")
    wait_until(lambda: state_of(host, sid) == "succeeded", JOB_TIMEOUT, "the job ends")


def test_a_removal_ends_jobs_and_keeps_state_and_a_purge_keeps_nothing(host: Machine) -> None:
    sid = submit(host, "while :; do sleep 1; done")
    wait_until(lambda: state_of(host, sid) == "started", JOB_TIMEOUT, "the job runs")
    remove, purge = blocks("Remove")[0].splitlines()
    perform(host, remove)
    assert host.run("pgrep", "-u", "edge-agent").out == ""
    host.do("test", "-e", f"{STATE}/journal.sqlite")
    host.do("test", "-e", "/etc/edge-agent/config.toml")
    perform(host, purge)
    left = host.run("find", "/etc", "/usr", "/var/lib", "-path", "*edge-agent*", "-not", "-path", "/var/lib/dpkg/*")
    assert left.out == ""
    assert host.run("id", "edge-agent").status != 0
