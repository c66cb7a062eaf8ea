"""How the host is at this moment: throttling and temperature. Not part of the digest."""

from __future__ import annotations

import re
from collections.abc import Iterator

from agent.model.capabilities import HealthFacts
from agent.ports import Host
from agent.probes import board
from agent.probes.host import read_int, read_text

_PLATFORM = "/sys/devices/platform"
_CPUS = "/sys/devices/system/cpu"
_ZONES = "/sys/class/thermal"
_SENSORS = "/sys/class/hwmon"
# Bits of the Raspberry Pi firmware's answer; 16 bits higher the same since boot.
_BITS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
_SINCE_BOOT = 16
# Drivers whose sensors are in the processor; others are in disks and network cards.
_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal")
# Zones of Jetson boards that show a constant.
_CONSTANT_ZONES = ("PMIC-Die", "PMIC-therm")
_COLDEST, _HOTTEST = -60.0, 150.0  # beyond, a sensor is off (-256 on Jetson boards) or broken


def probe(host: Host) -> HealthFacts:
    """Return throttling (Raspberry Pi, x86) and the highest temperature of the processor in degrees Celsius."""
    bits = _firmware_bits(host)
    return HealthFacts(
        throttled=None if bits is None else named_bits(bits),
        throttled_since_boot=_x86_since_boot(host) if bits is None else named_bits(bits >> _SINCE_BOOT),
        temperature_c=max(_temperatures(host), default=None),
    )


def _firmware_bits(host: Host) -> int | None:
    for soc in host.list(_PLATFORM):
        for device in host.list(f"{_PLATFORM}/{soc}") if soc.startswith("soc") else ():
            if device.endswith("firmware"):
                text = read_text(host, f"{_PLATFORM}/{soc}/{device}/get_throttled")
                if text:
                    return parse_throttled(text)
    if board.probe(host).vendor != "Raspberry Pi":
        return None
    return parse_throttled(host.query("throttled") or "")


def parse_throttled(text: str) -> int | None:
    """Return the bits from sysfs ("50005") or vcgencmd ("throttled=0x50005"): hexadecimal in both."""
    match = re.fullmatch(r"(?:throttled=)?(?:0x)?([0-9a-fA-F]{1,8})", text.strip())
    return int(match[1], 16) if match else None


def named_bits(bits: int) -> tuple[str, ...]:
    """Return the names of the lowest four bits that are set."""
    return tuple(name for place, name in enumerate(_BITS) if bits >> place & 1)


def _x86_since_boot(host: Host) -> tuple[str, ...] | None:
    """Return whether a core was ever slowed down for its heat; there is no counter of now."""
    names = [name for name in host.list(_CPUS) if re.fullmatch(r"cpu\d+", name)]
    counts = [read_int(host, f"{_CPUS}/{name}/thermal_throttle/core_throttle_count") for name in names]
    known = [count for count in counts if count is not None]
    if not known:
        return None
    return ("throttled",) if any(known) else ()


def _temperatures(host: Host) -> Iterator[float]:
    for path in (*_zone_files(host), *_sensor_files(host)):
        millidegrees = read_int(host, path)
        if millidegrees is not None and _COLDEST < millidegrees / 1000 < _HOTTEST:
            yield millidegrees / 1000


def _zone_files(host: Host) -> Iterator[str]:
    for zone in host.list(_ZONES):
        kind = read_text(host, f"{_ZONES}/{zone}/type")
        if zone.startswith("thermal_zone") and kind not in _CONSTANT_ZONES:
            yield f"{_ZONES}/{zone}/temp"


def _sensor_files(host: Host) -> Iterator[str]:
    for sensor in host.list(_SENSORS):
        if read_text(host, f"{_SENSORS}/{sensor}/name") in _CPU_SENSORS:
            names = host.list(f"{_SENSORS}/{sensor}")
            yield from (f"{_SENSORS}/{sensor}/{name}" for name in names if re.fullmatch(r"temp\d+_input", name))
