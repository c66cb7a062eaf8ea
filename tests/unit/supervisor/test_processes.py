from __future__ import annotations

import os
import signal
import subprocess

import pytest
from agent.supervisor import processes
from agent.supervisor.processes import Identity

LINE = (
    b"4711 (a) b (c) R 12 13 14 34816 13 4194560 100 0 0 0 7 8 0 0 20 0 3 0 987654 1048576 250"
    b" 18446744073709551615 0 0\n"
)


def test_stat_is_read_although_the_name_has_blanks_and_parentheses() -> None:
    stat = processes.parse_stat(LINE)
    assert (stat.pid, stat.ppid, stat.session, stat.state) == (4711, 12, 14, "R")
    assert (stat.threads, stat.starttime, stat.rss_bytes) == (3, 987654, 250 * os.sysconf("SC_PAGE_SIZE"))
    assert stat.identity == Identity(4711, 987654)


def test_own_process_is_found_and_alive() -> None:
    own = processes.identify(os.getpid())
    assert processes.alive(own)
    assert own in [stat.identity for stat in processes.scan()]
    assert processes.parse_stat(LINE).identity not in [stat.identity for stat in processes.scan()]


def test_same_number_with_another_start_is_neither_alive_nor_signalled() -> None:
    with subprocess.Popen(["sleep", "3600"]) as child:
        actual = processes.identify(child.pid)
        other = actual._replace(starttime=actual.starttime + 1)
        assert not processes.alive(other)
        assert not processes.send_signal(other, signal.SIGKILL)
        assert processes.open_pidfd(other) is None
        assert processes.send_signal(actual, signal.SIGTERM)
        assert child.wait(10) == -signal.SIGTERM
    assert not processes.send_signal(actual, signal.SIGTERM)


def test_signals_work_on_a_kernel_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_pid: int, _flags: int = 0) -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", missing)
    with subprocess.Popen(["sleep", "3600"]) as child:
        actual = processes.identify(child.pid)
        assert not processes.send_signal(actual._replace(starttime=1), signal.SIGKILL)
        assert processes.send_signal(actual, signal.SIGTERM)
        assert child.wait(10) == -signal.SIGTERM


def test_process_that_is_not_there_is_named() -> None:
    with pytest.raises(ProcessLookupError, match="process 4194305 does not exist"):
        processes.identify(4194305)


def test_a_unit_with_a_proc_of_its_own_is_told_the_id_of_the_boot() -> None:
    told = {"BOOT_ID": "990ab41a91374f25846c2d6f92ee82cc"}
    assert processes.boot_id(told) == "990ab41a-9137-4f25-846c-2d6f92ee82cc"
    own = processes.boot_id({})
    assert processes.boot_id({"BOOT_ID": own.replace("-", "")}) == own
    assert processes.boot_id({"BOOT_ID": "%b"}) == own
