"""Jobs with GPUs of a host that has nodes, a driver's libraries, and an NVML that answers, but no chip behind them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import Site
from tests.nvml_library import build_nvml
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may make device nodes")

# The minor numbers are not in the order of the GPUs, as on many real hosts.
SCENARIO = """\
init 0 ok
driver 0 550.54.15
cuda 0 12040
count 0 2
name 0 NVIDIA A10
uuid 0 GPU-aaaa
pci 0 00000000:01:00.0
minor 0 1
memory 0 24146608128
capability 0 8 6
name 1 NVIDIA A100
uuid 1 GPU-bbbb
pci 1 00000000:02:00.0
minor 1 0
memory 1 42949672960
capability 1 8 0
"""
DIVIDED = """\
mig 1 1 1
instances 1 7
uuid 200 MIG-1111
gi 200 3
ci 200 0
uuid 201 MIG-2222
gi 201 5
ci 201 0
"""
# In a mount namespace of its own: another /dev, with nodes of GPUs, and another table of libraries.
_HOST = """
set -e
folder=$1
mount -t tmpfs dev $folder/dev
for name in null zero full random urandom tty fuse; do
    touch $folder/dev/$name
    mount --bind /dev/$name $folder/dev/$name
done
for name in fd stdin stdout stderr; do ln -s $(readlink /dev/$name) $folder/dev/$name; done
mkdir -m 755 $folder/dev/shm $folder/dev/mqueue $folder/dev/pts $folder/dev/nvidia-caps
mount --bind /dev/pts $folder/dev/pts
ln -s pts/ptmx $folder/dev/ptmx
for minor in 0 1 255; do mknod -m 666 $folder/dev/minor-$minor c 195 $minor; done
mv $folder/dev/minor-255 $folder/dev/nvidiactl
mv $folder/dev/minor-0 $folder/dev/nvidia0
mv $folder/dev/minor-1 $folder/dev/nvidia1
mknod -m 666 $folder/dev/nvidia-uvm c 510 0
for minor in 30 31 50 51; do mknod -m 666 $folder/dev/nvidia-caps/nvidia-cap$minor c 511 $minor; done
mount --move $folder/dev /dev
mount --bind $folder/ld.so.cache /etc/ld.so.cache
if [ -d $folder/proc ]; then mount --bind $folder/proc /proc/driver; fi
if [ -d $folder/run ]; then mount -t tmpfs run /var/run; cp -r $folder/run/. /var/run; fi
shift
exec "$@"
"""
SPECIFICATION = """\
---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  - GPU_WORD=word
  mounts:
  - containerPath: /etc/gpu/list
    hostPath: {driver}/list
    options:
    - ro
    - bind
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
  name: "0"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia1
  name: "1"
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
    - path: /dev/nvidia1
  name: all
kind: nvidia.com/gpu
"""
SHOW = "echo $(echo /dev/nvidia*) $(echo /dev/nvidia-caps/*) > out; echo $CUDA_VISIBLE_DEVICES >> out;"
HOLD = f"{SHOW} echo shown; while [ ! -e stop ]; do sleep 0.1; done"


class GpuSite(Site):
    """A host with two GPUs, each job's worker of its own."""

    def __init__(self, folder: Path, image: Path, scenario: str = SCENARIO, more: str = "") -> None:
        super().__init__(folder, image, more=more)
        self.driver = folder / "driver"
        for name in ("driver", "dev"):
            (folder / name).mkdir()
        build_nvml(self.driver / "libnvidia-ml.so.1")
        shutil.copy(self.driver / "libnvidia-ml.so.1", self.driver / "libcuda.so.1")
        (folder / "scenario").write_text(scenario)
        (folder / "ld.so.conf").write_text(f"{self.driver}\ninclude /etc/ld.so.conf\n")
        table = ("-X", "-f", str(folder / "ld.so.conf"), "-C", str(folder / "ld.so.cache"))
        subprocess.run(["/sbin/ldconfig", *table], check=True, capture_output=True)

    def argv(self, *arguments: str) -> list[str]:
        """See Site: what looks at the host sees its GPUs."""
        plain = super().argv(*arguments)
        if arguments[0] != "run":
            return plain
        variables = [f"NVML_SCENARIO={self.folder / 'scenario'}", "EDGE_AGENT_AGENT__WORKERS=3"]
        return ["unshare", "--mount", "sh", "-c", _HOST, "sh", str(self.folder), "env", *variables, *plain]

    def submit_gpu(self, script: str, gpus: int = 1, **keys: Any) -> str:
        """Submit a job that asks for GPUs."""
        return self.submit(script, requires={"gpus": gpus, **keys.pop("requires", {})}, **keys)

    def shows_use(self, sid: str, memory: int, percent: int) -> None:
        """Let NVML say that the job's process has so much of the GPUs, and others the rest."""
        payload = json.loads((self.directory(sid) / "run.json").read_text())["container"]["pid"]
        used = (f"process 0 {payload} {memory}", f"shares 0 {payload} {percent}", f"used 0 {20 << 30}", "use 0 95")
        (self.folder / "scenario.new").write_text("\n".join((*used, SCENARIO)))
        (self.folder / "scenario.new").rename(self.folder / "scenario")

    def wait_used(self, memory: int) -> None:
        """Wait until the running agent has seen a job have so much of its GPU."""

        def seen() -> bool:
            attempts = json.loads(self.call("status", "--json"))["attempts"]
            return [each["usage"] and each["usage"]["gpu_memory_bytes"] for each in attempts] == [memory]

        wait_until(seen, 60, f"{memory} bytes of a GPU are seen in use")

    def release(self, sid: str) -> None:
        """Let a job end that holds its GPU."""
        (self.directory(sid) / "work" / "stop").touch()


@pytest.fixture
def new_gpu_site(tmp_path: Path, image: Path) -> Iterator[Callable[..., GpuSite]]:
    """A function that makes the site; nothing of it runs on at the end of the test."""
    sites: list[GpuSite] = []

    def make(**options: str) -> GpuSite:
        sites.append(GpuSite(tmp_path / "host-a", image, **options))
        return sites[-1]

    yield make
    for site in sites:
        site.end()


def shown(site: Site, sid: str) -> list[str]:
    """Return what a job saw: the nodes, and the variable."""
    return site.output(sid).splitlines()


def test_each_job_sees_the_gpu_that_it_was_granted_and_the_next_waits_for_one(
    new_gpu_site: Callable[..., GpuSite],
) -> None:
    site = new_gpu_site()
    small, large = site.submit_gpu(HOLD), site.submit_gpu(HOLD, requires={"gpu_where": ["name contains A100"]})
    with site.agent():
        site.wait_printed(small, "shown")
        site.wait_printed(large, "shown")
        third, without = site.submit_gpu(SHOW), site.submit(SHOW)
        site.wait_state(without, "succeeded")
        assert site.state_of(third) == "waiting"
        site.release(small)
        site.wait_state(third, "succeeded")
        site.release(large)
        site.wait_state(large, "succeeded")
    assert shown(site, small) == ["/dev/nvidia-uvm /dev/nvidia1 /dev/nvidiactl /dev/nvidia-caps/*", "GPU-aaaa"]
    assert shown(site, third) == shown(site, small)
    assert shown(site, large) == ["/dev/nvidia-uvm /dev/nvidia0 /dev/nvidiactl /dev/nvidia-caps/*", "GPU-bbbb"]
    assert shown(site, without) == ["/dev/nvidia* /dev/nvidia-caps/*", ""]


def test_a_job_gets_its_instance_and_the_drivers_libraries(new_gpu_site: Callable[..., GpuSite]) -> None:
    site = new_gpu_site(scenario=SCENARIO + DIVIDED)
    for gi, first in ((3, 30), (5, 50)):
        folder = site.folder / f"proc/nvidia/capabilities/gpu0/mig/gi{gi}"
        (folder / "ci0").mkdir(parents=True)
        (folder / "access").write_text(f"DeviceFileMinor: {first}\n")
        (folder / "ci0/access").write_text(f"DeviceFileMinor: {first + 1}\n")
    libraries = "(cd /.singularity.d/libs && echo *) >> out; echo $LD_LIBRARY_PATH >> out"
    sid = site.submit_gpu(f"{SHOW} {libraries}", requires={"gpu_where": ["name contains A100"]})
    site.until_empty()
    assert shown(site, sid) == [
        "/dev/nvidia-caps /dev/nvidia-uvm /dev/nvidia0 /dev/nvidiactl "
        "/dev/nvidia-caps/nvidia-cap30 /dev/nvidia-caps/nvidia-cap31",
        "MIG-1111",
        "libcuda.so.1 libnvidia-ml.so.1",
        "/.singularity.d/libs",
    ]


def test_a_job_gets_what_the_specification_names(new_gpu_site: Callable[..., GpuSite]) -> None:
    site = new_gpu_site()
    (site.folder / "run/cdi").mkdir(parents=True)
    (site.folder / "run/cdi/nvidia.yaml").write_text(SPECIFICATION.format(driver=site.driver))
    sid = site.submit_gpu(f"{SHOW} cat /etc/gpu/list >> out; echo $GPU_WORD $NVIDIA_VISIBLE_DEVICES >> out", gpus=1)
    (site.driver / "list").write_text("of the driver\n")
    site.until_empty()
    assert shown(site, sid) == [
        "/dev/nvidia1 /dev/nvidiactl /dev/nvidia-caps/*",
        "GPU-aaaa",
        "of the driver",
        "word GPU-aaaa",
    ]


def test_what_a_job_uses_of_its_gpu_is_counted_while_an_agent_looks(new_gpu_site: Callable[..., GpuSite]) -> None:
    site = new_gpu_site()
    sid = site.submit_gpu(HOLD)
    with site.agent("--service"):
        site.wait_printed(sid, "shown")
        site.shows_use(sid, memory=3 << 30, percent=90)
        site.wait_used(3 << 30)
    # An agent that is killed has written down nothing of it: the next one says what it saw itself.
    site.shows_use(sid, memory=2 << 30, percent=30)
    with site.agent("--service"):
        site.wait_used(2 << 30)
        site.release(sid)
        site.wait_state(sid, "succeeded")
    usage = site.view(sid)["usage"]
    assert (usage["gpu_memory_bytes"], usage["gpu_memory_of"]) == (2 << 30, "job")
    assert (usage["gpu_utilization"], usage["gpu_peak_utilization"], usage["gpu_utilization_of"]) == (0.3, 0.3, "job")
    assert usage["gpu_samples"] >= 1
    assert "at most 2 GiB of GPU memory, GPUs busy 30% of the time" in site.call("status", sid)
