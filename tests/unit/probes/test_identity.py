from __future__ import annotations

import pytest
from agent.probes.identity import hashed_id, host_id, probe

from tests.unit.probes.fakehost import FakeHost

MACHINE = "0123456789abcdef0123456789abcdef"
IN_A_VM = {"/proc/cpuinfo": "processor : 0\nflags : lm hypervisor\n"}
CLOCKS = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
DMI = "/sys/class/dmi/id"


def test_the_id_is_stable_and_does_not_show_the_machine_id() -> None:
    host = FakeHost({"/etc/machine-id": MACHINE + "\n"})
    assert host_id(host) == hashed_id(MACHINE) == host_id(host)
    assert MACHINE[:8] not in hashed_id(MACHINE)
    assert hashed_id(MACHINE) != hashed_id(MACHINE[::-1])


@pytest.mark.parametrize("content", ["", "uninitialized\n"])
def test_a_machine_id_that_is_not_set_is_none(content: str) -> None:
    assert host_id(FakeHost({"/etc/machine-id": content})) is None
    assert host_id(FakeHost({"/etc/machine-id": content, "/var/lib/dbus/machine-id": MACHINE})) is not None


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"/run/systemd/container": "lxc\n"}, "lxc"),
        ({"/run/.containerenv": ""}, "podman"),
        ({"/.dockerenv": ""}, "docker"),
        ({"/proc/1/environ": "PATH=/bin\0container=systemd-nspawn\0"}, "systemd-nspawn"),
        ({"/proc/1/environ": "container=oddity\0"}, "container-other"),
        ({"/.singularity.d/runscript": ""}, "container-other"),
        ({"/proc/1/environ": "PATH=/bin\0"}, "none"),
        ({"/run/systemd/system/a": ""}, "none"),
        ({}, None),
    ],
)
def test_containers(files: dict[str, str], name: str | None) -> None:
    assert probe(FakeHost(files)).container == name


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"/proc/cpuinfo": "processor : 0\nflags : lm\n", f"{DMI}/sys_vendor": "Amazon EC2\n"}, "none"),
        (IN_A_VM, "vm-other"),
        ({**IN_A_VM, CLOCKS: "kvm-clock tsc acpi_pm\n"}, "kvm"),
        ({**IN_A_VM, CLOCKS: "kvm-clock tsc\n", f"{DMI}/sys_vendor": "QEMU\n"}, "kvm"),
        ({**IN_A_VM, CLOCKS: "tsc\n", f"{DMI}/sys_vendor": "QEMU\n"}, "qemu"),
        ({**IN_A_VM, CLOCKS: "kvm-clock\n", f"{DMI}/sys_vendor": "Amazon EC2\n"}, "amazon"),
        (
            {
                **IN_A_VM,
                f"{DMI}/sys_vendor": "Microsoft Corporation",
                f"{DMI}/product_name": "Virtual Machine",
            },
            "microsoft",
        ),
        ({f"{DMI}/sys_vendor": "Amazon EC2", f"{DMI}/product_name": "c7g.metal"}, "none"),
        ({f"{DMI}/sys_vendor": "NVIDIA", f"{DMI}/product_name": "NVIDIA_DGX_Spark"}, "none"),
        ({"/proc/device-tree/hypervisor/compatible": "xen,xen-4.17\0xen,xen\0"}, "xen"),
        ({"/proc/device-tree/hypervisor/compatible": "linux,kvm\0"}, "kvm"),
        ({"/proc/device-tree/hypervisor/compatible": "acme,visor\0"}, "vm-other"),
        ({"/proc/device-tree/hypervisor/name": "hypervisor\0"}, "vm-other"),
        ({"/proc/device-tree/fw-cfg@9020000/reg": ""}, "qemu"),
        ({"/proc/device-tree/ibm,partition-name": "lpar1", "/proc/device-tree/hmc-managed?": ""}, "powervm"),
        ({"/proc/device-tree/model": "8335-GTW"}, None),
        ({"/proc/sys/kernel/osrelease": "5.15.90.1-microsoft-standard-WSL2\n"}, "wsl"),
        ({}, None),
    ],
)
def test_virtual_machines(files: dict[str, str], name: str | None) -> None:
    assert probe(FakeHost(files)).virtualization == name
