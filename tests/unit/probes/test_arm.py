from __future__ import annotations

from agent.probes.arm import core_name, is_version_6


def test_an_unknown_core_keeps_its_numbers() -> None:
    assert core_name("0x41", "0xd42") == "Cortex-A78AE"
    assert core_name("0x41", "0xfff") == "0x41:0xfff"


def test_numbers_that_are_none_are_of_no_known_core() -> None:
    assert core_name("0x41", "?xd42") == "0x41:?xd42"
    assert not is_version_6("", "0xb76")
