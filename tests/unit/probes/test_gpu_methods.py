from __future__ import annotations

import pytest
from agent.probes import runtime
from agent.probes.gpu_methods import cdi_specifications, methods

from tests.unit.probes.fakehost import FakeHost
from tests.unit.probes.test_gpu import pci, tegra

CARD = pci("0000:01:00.0")
CLI = {"/usr/bin/nvidia-container-cli": ""}
CDI = {"/etc/cdi/nvidia.yaml": "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\n"}
SHIPPED = {"/etc/apptainer/nvliblist.conf": "# libraries\nlibcuda.so\n# libnvrm_gpu.so\n"}
ADDED = {"/etc/apptainer/nvliblist.conf": "libcuda.so\nlibnvrm_gpu.so\n"}
ORIN = tegra("tegra234")


@pytest.mark.parametrize(
    ("files", "version", "ways"),
    [
        ({}, "1.5.3", ()),
        (pci("0000:01:00.0", "1002", driver="amdgpu"), "1.5.3", ()),
        (CARD, "1.4.5", ("nv",)),
        ({**CARD, **CLI}, "1.4.5", ("nv", "nvccli")),
        ({**CARD, **CDI}, "1.4.5", ("nv",)),
        ({**CARD, **CDI}, "1.5", ("nv", "cdi")),
        ({**CARD, **CLI, **CDI, **SHIPPED}, "1.10.0", ("nv", "nvccli", "cdi")),
        (ORIN, "1.5.3", ()),
        (ORIN, "1.5.4", ("nv",)),
        ({**ORIN, **SHIPPED}, "1.6.0", ()),
        ({**ORIN, **ADDED}, "1.4.5", ("nv",)),
        ({**ORIN, **CLI, **CDI}, "1.5.0", ("cdi",)),
        ({**ORIN, "/usr/local/etc/apptainer/nvliblist.conf": "libnvrm_gpu.so"}, "1.3.0", ("nv",)),
    ],
)
def test_how_apptainer_passes_gpus(files: dict[str, str], version: str, ways: tuple[str, ...]) -> None:
    assert methods(FakeHost(files, uname_m="aarch64"), "apptainer", version) == ways


def test_singularity_reads_no_specifications_and_lists_no_libraries_of_a_jetson() -> None:
    assert methods(FakeHost({**CARD, **CDI}), "singularity-ce", "4.2.0") == ("nv",)
    assert methods(FakeHost({**ORIN, **CDI}), "singularity-ce", "4.2.0") == ()
    listed = {"/etc/singularity/nvliblist.conf": "libnvrm_gpu.so\n"}
    assert methods(FakeHost({**ORIN, **listed}), "singularity-ce", "4.2.0") == ("nv",)


def test_a_specification_of_other_devices_is_none_for_gpus() -> None:
    files = {"/etc/cdi/a.json": '{"kind": "example.com/fpga"}', "/var/run/cdi/b.json": '{"kind": "nvidia.com/gpu"}'}
    assert cdi_specifications(FakeHost(files)) == ("/var/run/cdi/b.json",)


def test_the_profile_has_the_ways_where_there_is_a_runtime() -> None:
    assert runtime.probe(FakeHost(CARD, runtime_version="apptainer version 1.4.5")).gpu_methods == ("nv",)
    assert runtime.probe(FakeHost(runtime_version="apptainer version 1.4.5")).gpu_methods == ()
    assert runtime.probe(FakeHost(CARD)).gpu_methods is None
