from __future__ import annotations

import os

from agent.supervisor import processes, sweep
from agent.supervisor.processes import Identity, Stat

CONTAINER = Identity(100, 5000)


def process(pid: int, ppid: int, session: int, **changes: object) -> Stat:
    plain = Stat(pid, ppid, session, "S", 1, 5000 + pid, 1000)
    return plain._replace(**changes)


TABLE = [
    process(1, 0, 1),
    process(50, 1, 50),  # the waiter
    process(100, 50, 100, starttime=5000),  # the container
    process(101, 100, 100),  # its child
    process(102, 101, 102),  # with a session of its own
    process(103, 50, 103),  # an orphan of the job
    process(104, 103, 103),
    process(105, 1, 100),  # a helper of the session, reparented elsewhere
    process(200, 1, 200),  # somebody else
]


def pids(table: list[Stat], target: sweep.Target) -> list[int]:
    return sorted(stat.pid for stat in sweep.members(table, target))


def test_members_are_found_by_session_descent_and_the_reaper_of_orphans() -> None:
    assert pids(TABLE, sweep.Target(CONTAINER, None, 50)) == [100, 101, 102, 103, 104, 105]


def test_without_a_reaper_session_and_descent_are_left() -> None:
    assert pids(TABLE, sweep.Target(CONTAINER)) == [100, 101, 102, 105]


def test_living_waiters_and_their_jobs_are_spared() -> None:
    table = [process(30, 1, 30), process(40, 30, 40), process(41, 40, 41), process(42, 30, 42)]
    assert pids(table, sweep.Target(CONTAINER, None, 30, frozenset({40}))) == [42]


def test_dead_processes_do_not_count_but_their_children_do() -> None:
    dead = [stat._replace(state="Z") if stat.pid in (100, 101) else stat for stat in TABLE]
    assert pids(dead, sweep.Target(CONTAINER)) == [102, 105]


def test_leader_that_ended_before_its_threads_still_lives() -> None:
    table = [process(100, 50, 100, starttime=5000, state="Z", threads=3)]
    assert pids(table, sweep.Target(CONTAINER)) == [100]


def test_later_process_with_the_number_of_the_container_is_a_stranger() -> None:
    reused = [process(100, 1, 100, starttime=9999), process(101, 100, 100)]
    assert pids(reused, sweep.Target(CONTAINER)) == []


def test_files_in_the_hosts_own_memory_are_nobodys() -> None:
    assert sweep.in_memory(sweep.Target(processes.identify(os.getpid()))) == 0
