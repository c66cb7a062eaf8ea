from __future__ import annotations

from agent.gpu.csv import Entry, parse_csv

from tests.hosts import RECORDED

LISTS = RECORDED / "jetson-orin-nano-super-r36/etc/nvidia-container-runtime/host-files-for-container.d"


def test_a_recorded_list_is_read() -> None:
    entries = parse_csv((LISTS / "devices.csv").read_text())
    assert entries[0] == Entry("dev", "/dev/dri/card*")
    assert Entry("dir", "/dev/dri/by-path") in entries
    assert {Entry("dev", "/dev/nvmap"), Entry("dev", "/dev/nvgpu/igpu0/ctrl")} <= set(entries)


def test_lines_that_are_no_entries_are_left_out() -> None:
    text = "# lib, /a\n\nlib,/usr/lib/libcuda.so\nnode, /dev/x\nlib, relative\nlib, /a/../../etc/shadow\nsym ,  /b \n"
    assert parse_csv(text) == (Entry("lib", "/usr/lib/libcuda.so"), Entry("sym", "/b"))
