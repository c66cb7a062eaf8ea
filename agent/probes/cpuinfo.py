"""/proc/cpuinfo, which looks different on every architecture.

x86 and arm64 print a block per CPU; 32-bit Arm kernels may print features and part once, after all blocks; boards add
a tail (Hardware, Serial, Model); s390x prints the features before its CPUs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from agent.probes.arm import core_name, is_version_6

Block = Mapping[str, str]

# What each level adds to the one below: the x86-64 psABI, in the kernel's names (lzcnt is "abm").
_LEVELS = (
    ("v2", "cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"),
    ("v3", "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"),
    ("v4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
)
_FEATURES = ("flags", "Features", "features", "hart isa", "isa")
_KERNELS = (
    ("v6l", "armv6l"),
    ("v7l", "armv7l"),
    ("v8l", "aarch64"),
)


class CpuInfo(msgspec.Struct, frozen=True):
    """What /proc/cpuinfo tells. features are those of every core; machine is as uname -m says it."""

    count: int
    models: tuple[str, ...] | None
    features: tuple[str, ...] | None
    machine: str | None
    arm_version: int | None


def parse_cpuinfo(text: str) -> CpuInfo:
    """Return what the text says. Raises ValueError for numbers that are none."""
    blocks = parse_blocks(text)
    cpus = [block for block in blocks if "processor" in block]
    features = _common_features(blocks)
    models = tuple(dict.fromkeys(name for name in map(_model, blocks) if name))
    machine = _machine(blocks, features)
    return CpuInfo(len(cpus), models or None, features, machine, _arm_version(blocks, machine))


def parse_blocks(text: str) -> list[Block]:
    """Return the blocks of "key : value" lines; a new one starts with each CPU."""
    blocks: list[dict[str, str]] = [{}]
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key = key.strip()
        if not colon:
            continue
        if re.fullmatch(r"processor(?: \d+)?", key):
            key = "processor"
            blocks.append({})
        blocks[-1][key] = " ".join(value.split())
    return [block for block in blocks if block]


def x86_level(features: tuple[str, ...]) -> str:
    """Return the x86-64 level, v1 to v4, that a CPU with these features reaches."""
    reached = "v1"
    for level, names in _LEVELS:
        if not set(names.split()) <= set(features):
            break
        reached = level
    return reached


def _common_features(blocks: list[Block]) -> tuple[str, ...] | None:
    each = [_features(block) for block in blocks]
    known = [features for features in each if features]
    return tuple(sorted(frozenset.intersection(*known))) if known else None


def _features(block: Block) -> frozenset[str]:
    for key in _FEATURES:
        if key in block:
            return parse_isa(block[key]) if "isa" in key else frozenset(block[key].split())
    return frozenset()


def parse_isa(text: str) -> frozenset[str]:
    """Return the extensions that a RISC-V isa line names: "rv64imac_zicsr" has i, m, a, c and zicsr."""
    base, *extensions = text.split("_")
    return frozenset((*re.sub(r"^rv\d+", "", base), *extensions))


def _model(block: Block) -> str | None:
    if "CPU part" in block and "CPU implementer" in block:
        return core_name(block["CPU implementer"], block["CPU part"])
    # x86, RISC-V, POWER ("cpu : POWER9 (architected), altivec supported") and old Arm kernels.
    name = block.get("model name") or block.get("uarch") or re.split(r",| \(", block.get("cpu", ""))[0]
    return name or None


def _machine(blocks: list[Block], features: tuple[str, ...] | None) -> str | None:
    """Return the kernel's machine name as far as the shape of the text shows it."""
    merged = {key: value for block in blocks for key, value in block.items()}
    if "flags" in merged:
        return "x86_64" if "lm" in (features or ()) else "i686"
    isa = re.match(r"rv(?:32|64)", merged.get("isa", ""))
    if isa is not None:
        return "riscv" + isa[0][2:]
    if merged.get("vendor_id") == "IBM/S390":
        return "s390x"
    for suffix, machine in _KERNELS:
        if f"({suffix})" in merged.get("model name", merged.get("Processor", "")):
            return machine
    if re.match(r"POWER(?:9|1\d)\b", merged.get("cpu", "")):
        return "ppc64le"  # older ones ran kernels of both byte orders
    # Kernels for 32 bits say 7 on the newest cores, too.
    return "aarch64" if merged.get("CPU architecture") in ("8", "AArch64") else None


def _arm_version(blocks: list[Block], machine: str | None) -> int | None:
    if any(_is_version_6(block) for block in blocks):
        return 6
    match = re.match(r"armv(\d+)", machine or "")
    return min(int(match[1]), 7) if match else None


def _is_version_6(block: Block) -> bool:
    if "ARMv6" in block.get("model name", "") or "ARMv6" in block.get("Processor", ""):
        return True
    return "CPU part" in block and is_version_6(block.get("CPU implementer", "0"), block["CPU part"])
