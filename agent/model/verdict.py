"""Whether a job runs here, and if not, why: documented reasons, with what is asked, what is there and a remedy."""

from __future__ import annotations

from enum import Enum

import msgspec


class Reason(str, Enum):
    """Every reason for which a host refuses a job. The value is the name that people and tools see."""

    ARCHITECTURE = "architecture"  # no image of the job runs on this CPU (natively, or emulated where allowed)
    ACCELERATOR = "accelerator"  # the kind of accelerator is not here
    GPUS = "gpus"  # fewer usable GPU units than asked for, in all or free now
    CPUS = "cpus"
    MEMORY = "memory"
    DISK = "disk"
    LABEL = "label"
    CONSTRAINT = "constraint"  # a `where` or `gpu_where` line is not true of this host
    SECRET = "secret"  # a secret that the operator does not offer
    NETWORK = "network"  # host network asked for, not allowed here
    IMAGE_SOURCE = "image-source"  # an image URI that this host cannot or may not fetch
    IMAGE_MISSING = "image-missing"
    IMAGE_UNUSABLE = "image-unusable"  # not a SIF, no system partition, another architecture than named
    INPUT_SOURCE = "input-source"  # an input outside the allowed prefixes, or of an unknown scheme
    OUTPUT_TARGET = "output-target"  # an output URI outside the allowed prefixes, or of an unknown scheme
    RUNTIME = "runtime"  # no usable container runtime
    TIMEOUT = "timeout"  # asks for more time than the operator grants


class Refusal(msgspec.Struct, frozen=True):
    """One requirement that is not met. required and found as people read them; remedy may be empty."""

    reason: Reason
    required: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason.value}: needs {self.required}, has {self.found}"


class Standing(str, Enum):
    """accepted; refused-now: fits the empty host; refused-here: never fits while the host is as it is."""

    ACCEPTED = "accepted"
    REFUSED_NOW = "refused-now"
    REFUSED_HERE = "refused-here"


class Verdict(msgspec.Struct, frozen=True):
    """The answer of matching. `arch` and `emulated` say which image runs and how, when accepted."""

    standing: Standing
    refusals: tuple[Refusal, ...] = ()
    arch: str | None = None
    emulated: bool = False

    @property
    def accepted(self) -> bool:
        """True when the job may start now."""
        return self.standing is Standing.ACCEPTED
