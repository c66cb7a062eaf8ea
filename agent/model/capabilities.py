"""What a host is and can do: the object that `probe --json` prints, `edge-agent/capabilities/v1`.

Every key is always present; what is not known is None, never 0. Sizes are bytes.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

SCHEMA = "edge-agent/capabilities/v1"


class Facts(msgspec.Struct, frozen=True):
    """Base of all parts: immutable, every key written."""


class HostFacts(Facts, frozen=True):
    """soc from the device tree (tegra234, bcm2712); container and virtualization as systemd-detect-virt says them."""

    id: str | None = None
    vendor: str | None = None
    model: str | None = None
    soc: str | None = None
    container: str | None = None
    virtualization: str | None = None


class CpuFacts(Facts, frozen=True):
    """arch (Go and OCI names) is what this userland runs; effective = CPUs the agent may really use."""

    arch: str | None = None
    variant: str | None = None
    kernel_machine: str | None = None
    models: tuple[str, ...] | None = None
    online: int | None = None
    effective: float | None = None
    heterogeneous: bool | None = None
    level: str | None = None
    features: tuple[str, ...] | None = None
    page_size: int | None = None


class MemoryFacts(Facts, frozen=True):
    """effective = min(total, cgroup limits); system excludes GPU memory that the kernel counts in MemTotal."""

    total_bytes: int | None = None
    effective_bytes: int | None = None
    system_bytes: int | None = None


class CudaFacts(Facts, frozen=True):
    """version = highest CUDA the installed driver can run; driver = NVIDIA driver version."""

    version: str | None = None
    driver: str | None = None


class Gpu(Facts, frozen=True):
    """One GPU. units = UUIDs that can be granted; an unusable GPU stays listed with its reason and remedy."""

    vendor: str | None = None
    kind: str | None = None
    name: str | None = None
    uuid: str | None = None
    pci: str | None = None
    pci_id: str | None = None
    driver: str | None = None
    compute_capability: str | None = None
    memory_kind: str | None = None
    memory_bytes: int | None = None
    usable: bool | None = None
    reason: str | None = None
    remedy: str | None = None
    units: tuple[str, ...] = ()


class PowerMode(Facts, frozen=True):
    """The nvpmodel mode of a Jetson."""

    id: int | None = None
    name: str | None = None


class JetsonFacts(Facts, frozen=True):
    """Present on Jetson boards only; jetpack is None when the L4T version does not decide it."""

    module: str | None = None
    l4t: str | None = None
    jetpack: str | None = None
    power_mode: PowerMode = PowerMode()
    super_mode: bool | None = None


class Accelerator(Facts, frozen=True):
    """An accelerator that is listed, not scheduled."""

    vendor: str | None = None
    name: str | None = None
    path: str | None = None


class RuntimeFacts(Facts, frozen=True):
    """archs run natively, emulated through binfmt_misc.

    limits is exact where groups of jobs can be made that have the controllers cpu, memory and pids, else best-effort.
    """

    name: str | None = None
    version: str | None = None
    archs: tuple[str, ...] | None = None
    emulated: tuple[str, ...] | None = None
    gpu_methods: tuple[str, ...] | None = None
    limits: Literal["exact", "best-effort"] | None = None


class StorageFacts(Facts, frozen=True):
    """The file system of the state directory."""

    path: str | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None


class HealthFacts(Facts, frozen=True):
    """throttled: under_voltage, throttled, frequency_capped, ...; temperature in degrees Celsius."""

    throttled: tuple[str, ...] | None = None
    throttled_since_boot: tuple[str, ...] | None = None
    temperature_c: float | None = None


class Problem(Facts, frozen=True):
    """Something the probe found wrong, and what to do about it."""

    probe: str
    message: str
    remedy: str | None = None


class Capabilities(Facts, frozen=True):
    """The whole profile of one host."""

    schema: str = SCHEMA
    host: HostFacts = HostFacts()
    cpu: CpuFacts = CpuFacts()
    memory: MemoryFacts = MemoryFacts()
    cuda: CudaFacts = CudaFacts()
    gpus: tuple[Gpu, ...] | None = None
    jetson: JetsonFacts | None = None
    accelerators: tuple[Accelerator, ...] | None = None
    runtime: RuntimeFacts = RuntimeFacts()
    storage: StorageFacts = StorageFacts()
    health: HealthFacts = HealthFacts()
    labels: dict[str, str] = {}
    problems: tuple[Problem, ...] = ()

    def table(self) -> dict[str, Any]:
        """Return the profile as plain dicts and lists, in the order of the schema."""
        table: dict[str, Any] = msgspec.to_builtins(self)
        return table

    def digest(self) -> str:
        """Return a SHA-256 that changes when the host does: free bytes and health are left out."""
        table = self.table()
        del table["health"], table["storage"]["free_bytes"]
        return hashlib.sha256(msgspec.json.encode(table, order="deterministic")).hexdigest()
