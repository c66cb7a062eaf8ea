from __future__ import annotations

import pytest
from agent.probes.health import named_bits, parse_throttled, probe

from tests.unit.probes.fakehost import FakeHost

PI = {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
FIRMWARE = "/sys/devices/platform/soc/soc:firmware/get_throttled"
ZONE = "/sys/class/thermal/thermal_zone"
CPU = "/sys/devices/system/cpu/cpu"


@pytest.mark.parametrize(
    ("text", "bits"),
    [("throttled=0x50000\n", 0x50000), ("50005\n", 0x50005), ("0", 0), ("error=1", None), ("", None)],
)
def test_the_answers_of_the_firmware(text: str, bits: int | None) -> None:
    assert parse_throttled(text) == bits


def test_the_bits_have_names() -> None:
    assert named_bits(0b1111) == ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
    assert named_bits(0x50000) == ()


def test_a_raspberry_pi_tells_now_from_since_boot() -> None:
    facts = probe(FakeHost({FIRMWARE: "70001\n"}))
    assert facts.throttled == ("under_voltage",)
    assert facts.throttled_since_boot == ("under_voltage", "frequency_capped", "throttled")


def test_the_command_is_asked_on_a_raspberry_pi_only() -> None:
    assert probe(FakeHost(PI, throttled="throttled=0x4")).throttled == ("throttled",)
    assert probe(FakeHost({}, throttled="throttled=0x4")).throttled is None
    assert probe(FakeHost(PI, throttled=None)).throttled is None


@pytest.mark.parametrize(("count", "since"), [("0\n", ()), ("7\n", ("throttled",))])
def test_x86_counts_since_boot(count: str, since: tuple[str, ...]) -> None:
    files = {
        f"{CPU}0/thermal_throttle/core_throttle_count": "0\n",
        f"{CPU}1/thermal_throttle/core_throttle_count": count,
    }
    facts = probe(FakeHost(files))
    assert (facts.throttled, facts.throttled_since_boot) == (None, since)


def test_the_hottest_sensor_counts_but_not_one_that_is_off_or_constant() -> None:
    files = {
        f"{ZONE}0/type": "CPU-therm\n",
        f"{ZONE}0/temp": "48500\n",
        f"{ZONE}1/type": "GPU-therm\n",
        f"{ZONE}1/temp": "-256000\n",
        f"{ZONE}2/type": "PMIC-Die\n",
        f"{ZONE}2/temp": "100000\n",
        f"{ZONE}3/type": "tj-thermal\n",
        "/sys/class/thermal/cooling_device0/temp": "99000\n",
    }
    assert probe(FakeHost(files)).temperature_c == 48.5


def test_sensors_of_the_processor_count_and_those_of_disks_do_not() -> None:
    sensors = "/sys/class/hwmon/hwmon"
    files = {
        f"{sensors}0/name": "nvme\n",
        f"{sensors}0/temp1_input": "70850\n",
        f"{sensors}1/name": "k10temp\n",
        f"{sensors}1/temp1_input": "55125\n",
    }
    assert probe(FakeHost(files)).temperature_c == 55.125


def test_nothing_is_known_of_a_host_without_sensors() -> None:
    facts = probe(FakeHost())
    assert (facts.throttled, facts.throttled_since_boot, facts.temperature_c) == (None, None, None)
