"""Why a GPU cannot be used, and what to do about each."""

from __future__ import annotations

import msgspec

from agent.model.capabilities import Gpu

MISMATCH = "driver-library-mismatch"
NO_DRIVER = "no-driver"
LOST = "gpu-lost"
NO_PERMISSION = "no-permission"
TIMEOUT = "nvml-timeout"
PROHIBITED = "compute-prohibited"
BUSY = "busy-elsewhere"
NOT_SCHEDULABLE = "vendor-not-schedulable"
SLOWED = "slowed-down"

REMEDIES = {
    MISMATCH: "reboot: the driver's libraries were upgraded and its kernel module still is the old one",
    NO_DRIVER: "install NVIDIA's driver for this GPU, and see with lsmod that the module nvidia is loaded",
    LOST: "see `dmesg | grep Xid`, then reboot; a GPU that is lost again has a fault of its power, slot or board",
    NO_PERMISSION: "let the agent's user open /dev/nvidia*, on a Jetson /dev/nvmap and /dev/nvhost-* (groups video and "
    "render, device limits of its cgroup or container)",
    TIMEOUT: "see `dmesg | grep -e NVRM -e Xid`, and reboot: the driver does not answer",
    PROHIBITED: "allow computing with `nvidia-smi -i UUID -c DEFAULT`; a GPU made for displays only cannot compute",
    BUSY: "end the other processes on this GPU (nvidia-smi lists them), or leave it out of [resources] gpus",
    NOT_SCHEDULABLE: "none: jobs are given GPUs of NVIDIA only",
    SLOWED: "see `nvidia-smi -q -d PERFORMANCE,TEMPERATURE`: cool it, or check its power supply; it is given out again "
    "after five minutes at full speed",
}
# Errors of nvmlInit. Whatever else it gives means that no driver works with this library.
_INIT = {
    "LibRmVersionMismatch": MISMATCH,
    "FunctionNotFound": MISMATCH,
    "NoPermission": NO_PERMISSION,
    "OperatingSystem": NO_PERMISSION,
    # What NVML says after a container's device rights were taken away (systemctl daemon-reload).
    "Unknown": NO_PERMISSION,
    "Timeout": TIMEOUT,
    "GpuIsLost": LOST,
    "ResetRequired": LOST,
}


def of_init(error: str) -> str:
    """Return the reason that an error of nvmlInit is for all GPUs."""
    return _INIT.get(error, NO_DRIVER)


def judged(gpu: Gpu, reason: str | None) -> Gpu:
    """Return the GPU as usable, or as not usable for `reason`, with the remedy; then nothing of it can be granted."""
    if reason is None:
        return msgspec.structs.replace(gpu, usable=True)
    return msgspec.structs.replace(gpu, usable=False, reason=reason, remedy=REMEDIES[reason], units=())
