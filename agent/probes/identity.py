"""Who this host is, and whether it is a container or a virtual machine (in the words of systemd-detect-virt)."""

from __future__ import annotations

import hashlib
import hmac

from agent.model.capabilities import HostFacts
from agent.ports import Host
from agent.probes.cpu import kernel_release
from agent.probes.cpuinfo import parse_blocks
from agent.probes.host import read_text

# systemd's way to show a machine id: keyed, so that nobody can link it to what other programs publish.
_KEY = b"edge-agent/host-id/v1"
# Short enough for people to tell apart; two hosts of a thousand share one with a chance of 2e-9.
_DIGITS = 12
_DMI = "/sys/class/dmi/id"
# Vendor or product as DMI gives them, by their beginnings; after systemd's src/basic/virt.c.
_DMI_NAMES = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("KubeVirt", "kvm"),
    ("Amazon EC2", "amazon"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("VMW", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Oracle Corporation", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("BHYVE", "bhyve"),
    ("Hyper-V", "microsoft"),
    ("Apple Virtualization", "apple"),
    ("Google Compute Engine", "google"),
)
_DMI_FIELDS = ("product_name", "sys_vendor", "board_vendor", "bios_vendor")
_CLOCKS = (("kvm-clock", "kvm"), ("hyperv_clocksource", "microsoft"), ("xen", "xen"))
# What a device tree says of the hypervisor, by a part of it.
_TREE = "/proc/device-tree"
_TREE_NAMES = (("linux,kvm", "kvm"), ("xen", "xen"), ("vmware", "vmware"))
_POWERVM = ("ibm,partition-name", "hmc-managed?")
_QEMU = "fw-cfg"
_CONTAINERS = ("docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "openvz", "rkt", "proot", "pouch", "wsl")


def probe(host: Host) -> HostFacts:
    """Return id, container and virtualization."""
    return HostFacts(id=host_id(host), container=_container(host), virtualization=_virtualization(host))


def host_id(host: Host) -> str | None:
    """Return a stable id of 12 hexadecimal digits made from the machine id; None when there is none."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        text = read_text(host, path)
        if text and text != "uninitialized":
            return hashed_id(text)
    return None


def hashed_id(machine_id: str) -> str:
    """Return the id that is shown for a machine id, from which nobody can tell the machine id itself."""
    return hmac.new(_KEY, machine_id.encode(), hashlib.sha256).hexdigest()[:_DIGITS]


def _container(host: Host) -> str | None:
    environment = host.read("/proc/1/environ")
    told = read_text(host, "/run/systemd/container") or parse_container(environment or b"")
    if told:
        return told if told in _CONTAINERS else "container-other"
    for path, name in (("/run/.containerenv", "podman"), ("/.dockerenv", "docker")):
        if host.read(path) is not None:
            return name
    if host.list("/.singularity.d"):
        return "container-other"
    # Only the first process's environment, or systemd as the first process, shows that there is none.
    return "none" if environment or host.list("/run/systemd/system") else None


def parse_container(environment: bytes) -> str | None:
    """Return what the first process's environment says of the container it is in."""
    for variable in environment.split(b"\0"):
        if variable.startswith(b"container="):
            return variable.removeprefix(b"container=").decode(errors="replace")
    return None


def _virtualization(host: Host) -> str | None:
    release = kernel_release(host)
    if "microsoft-standard-WSL" in release or "-Microsoft" in release:
        return "wsl"
    flags = _cpu_flags(host)
    if flags and "hypervisor" not in flags:
        return "none"  # even in a cloud: its bare machines carry the provider's name, too
    dmi = {field: read_text(host, f"{_DMI}/{field}") or "" for field in _DMI_FIELDS}
    found = parse_dmi(dmi)
    if found in (None, "qemu") and flags:
        clocks = read_text(host, "/sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
        found = next((name for clock, name in _CLOCKS if clock in clocks), found or "vm-other")
    return found or _of_tree(host) or ("none" if any(dmi.values()) else None)


def _of_tree(host: Host) -> str | None:
    """Return the hypervisor that the device tree names (Arm, POWER)."""
    compatible = read_text(host, f"{_TREE}/hypervisor/compatible")
    if compatible is not None or host.list(f"{_TREE}/hypervisor"):
        return next((name for part, name in _TREE_NAMES if part in (compatible or "")), "vm-other")
    nodes = host.list(_TREE)
    if set(_POWERVM) <= set(nodes):
        return "powervm"
    return "qemu" if any(node.startswith(_QEMU) for node in nodes) else None


def is_of_hypervisor(node: str) -> bool:
    """Say whether a node or property of the device tree's root shows a hypervisor by its name."""
    return node in _POWERVM or node.startswith(_QEMU)


def _cpu_flags(host: Host) -> frozenset[str]:
    """Return the flags of the first CPU; only x86 has one that tells of a hypervisor."""
    blocks = parse_blocks(read_text(host, "/proc/cpuinfo") or "")
    return frozenset(flag for block in blocks[:1] for flag in block.get("flags", "").split())


def parse_dmi(dmi: dict[str, str]) -> str | None:
    """Return the hypervisor that DMI names; None for none, and for a provider's bare machine."""
    if dmi.get("product_name", "").endswith(".metal"):
        return None
    if dmi.get("sys_vendor") == "Microsoft Corporation" and dmi.get("product_name") == "Virtual Machine":
        return "microsoft"
    values = [dmi.get(field, "") for field in _DMI_FIELDS]
    return next((name for value in values for start, name in _DMI_NAMES if value.startswith(start)), None)
