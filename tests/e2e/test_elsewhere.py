"""Hosts that are paused and jobs that are followed from another machine, which shares nothing but the servers."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.hosts import Hosts

from tests.e2e.site import Site, to_toml
from tests.e2e.test_s3 import on_s3, results
from tests.proxy import Proxy
from tests.servers import Minio, Mosquitto
from tests.waiting import wait_until

NewSite = Callable[..., Site]
UNTIL_TOLD = "echo up; until [ -e go ]; do sleep 0.1; done; echo done > out"


def with_broker(site: Site, mosquitto: Mosquitto) -> None:
    site.config.write_text(site.config.read_text() + f'[mqtt]\nurl = "{mosquitto.url}"\n')


def mode(site: Site) -> tuple[str, str | None, str | None]:
    """Return the mode of the agent that runs at the site, with why and by whom."""
    told: dict[str, Any] = json.loads(site.call("status", "--json"))["mode"]
    return told["name"], told["reason"], told["by"]


def note(minio: Minio, bucket: str, host: str = "host-a") -> Any:
    """Return what the host says of itself in the store."""
    told = Hosts(results(minio, bucket)).told(host)
    return None if told is None else told.note


def test_a_host_is_drained_and_resumed_from_another_machine(
    new_site: NewSite, minio: Minio, bucket: str, mosquitto: Mosquitto
) -> None:
    host, desk = (on_s3(new_site, minio, bucket, name) for name in ("host-a", "desk"))
    for site in (host, desk):
        with_broker(site, mosquitto)
    sid = desk.submit(UNTIL_TOLD)
    with host.agent():
        host.wait_printed(sid, "up")
        desk.call("drain", "--host", "host-a", "--note", "new fan")
        # By looking alone the host would see it within half a minute; the bell makes that a second.
        wait_until(lambda: mode(host)[:2] == ("draining", "new fan"), 60, "the host drains")
        assert "@" in (mode(host)[2] or "")
        early = desk.run("drain", "--host", "host-a", "--wait", "--timeout", "1s", "--json")
        (told,) = json.loads(early.stdout)["hosts"]
        assert (early.returncode, told["wanted"], told["number"], told["drained"]) == (1, "draining", 2, False)
        later = desk.submit()
        (host.directory(sid) / "work" / "go").touch()
        done = desk.run("drain", "--all", "--wait", "--timeout", "80s")
        assert (done.returncode, done.stdout.endswith("; no jobs there\n")) == (0, True), done.stderr
        assert (desk.state_of(sid), desk.state_of(later)) == ("succeeded", "waiting")
        assert desk.call("resume", "--host", "host-a").startswith("host-a  ready")
        desk.wait_state(later, "succeeded")


def test_a_wish_waits_for_a_host_that_is_off_and_keeps_it_from_its_first_job(
    new_site: NewSite, minio: Minio, bucket: str
) -> None:
    host, desk = (on_s3(new_site, minio, bucket, name) for name in ("host-a", "desk"))
    with host.agent() as process:
        wait_until(lambda: note(minio, bucket) is not None)
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert note(minio, bucket).state == "offline"
    desk.call("pause", "--host", "host-a", "--note", "not now")
    sid = desk.submit()
    host.until_empty()
    assert desk.state_of(sid) == "waiting"
    with host.agent():
        assert mode(host)[:2] == ("paused", "not now")
        host.call("resume")
        desk.wait_state(sid, "succeeded")
        wait_until(lambda: note(minio, bucket).wish == 2, 10, "the store knows what was told at the host")


def test_a_host_that_nobody_knows_and_a_store_that_nobody_shares_are_told(
    new_site: NewSite, minio: Minio, bucket: str, tmp_path: Path
) -> None:
    desk = on_s3(new_site, minio, bucket, "desk")
    done = desk.run("pause", "--host", "host-z")
    assert (done.returncode, 'no host "host-z" has used' in done.stderr) == (1, True)
    assert desk.run("drain", "--timeout", "5s").returncode == 2
    plain = tmp_path / "plain.toml"
    plain.write_text(
        f'[agent]\nstate_dir = "{tmp_path}/x"\n[[queues]]\nname = "s"\nurl = "pubsub://project-1/rmq_q?plain"\n'
    )
    desk.config = plain
    done = desk.run("drain", "--all")
    assert done.returncode == 2
    assert "set queues.results to one that this machine and the hosts reach" in done.stderr


@contextmanager
def background(site: Site, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that runs meanwhile; it is killed at the end if it still runs."""
    argv = site.argv(*arguments)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the command prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what the command printed, once it has ended well."""
    assert process.stdout is not None
    assert process.stderr is not None
    # Not by communicate(): it does not know what readline has read ahead.
    printed, remarks = process.stdout.read(), process.stderr.read()
    assert process.wait(60) == 0, remarks
    return printed, remarks


def wait_remark(process: subprocess.Popen[str], text: str) -> None:
    """Wait until the command has said something with the text."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"it never says {text!r}"


def test_a_log_is_followed_from_another_machine_while_its_link_is_cut_in_between(
    new_site: NewSite, minio: Minio, bucket: str, mosquitto: Mosquitto
) -> None:
    host = on_s3(new_site, minio, bucket, "host-a")
    with Proxy(minio.port) as link:
        desk = on_s3(new_site, minio, bucket, "desk", endpoint=f"http://127.0.0.1:{link.port}")
        for site in (host, desk):
            with_broker(site, mosquitto)
        sid = desk.submit("echo up; until [ -e more ]; do sleep 0.1; done; echo more; " + UNTIL_TOLD)
        with host.agent(), background(desk, "logs", "-f", sid) as follower:
            assert line(follower) == "up\n"
            link.cut()
            (host.directory(sid) / "work" / "more").touch()
            wait_remark(follower, " now: ")
            link.restore()
            assert line(follower) == "more\n"
            (host.directory(sid) / "work" / "go").touch()
            assert end(follower)[0] == "up\n"
            wait_until(lambda: results(minio, bucket).list(f"{sid}/attempts/1/live/").records == {}, 10)


def test_a_log_comes_at_once_by_the_broker_and_by_the_store_while_that_is_killed(
    new_site: NewSite, minio: Minio, bucket: str, new_mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = new_mosquitto()
    host, desk = (on_s3(new_site, minio, bucket, name) for name in ("host-a", "desk"))
    for site in (host, desk):
        with_broker(site, broker)
    sid = desk.submit("n=0; until [ -e go ]; do if [ -e say$n ]; then echo $n; n=$((n+1)); fi; sleep 0.05; done")
    with host.agent(), background(desk, "logs", "-f", sid) as follower:
        host.wait_state(sid, "started")
        work = host.directory(sid) / "work"
        for number in range(9):
            if number == 3:
                broker.stop(signal.SIGKILL)
            if number == 6:
                broker.start()
            (work / f"say{number}").touch()
            assert line(follower) == f"{number}\n"
        (work / "go").touch()
        assert end(follower)[0] == ""
        assert host.log_of(sid) == "".join(f"{number}\n" for number in range(9))


def test_submit_waits_with_the_log_without_a_broker(
    new_site: NewSite, minio: Minio, bucket: str, tmp_path: Path
) -> None:
    host, desk = (on_s3(new_site, minio, bucket, name) for name in ("host-a", "desk"))
    job = tmp_path / "job.toml"
    job.write_text(to_toml(desk.job(UNTIL_TOLD, name="live", outputs=[{"path": "out"}])))
    with host.agent(), background(desk, "submit", str(job), "--wait") as follower:
        assert line(follower) == "up\n"
        (sid,) = desk.client.sids()
        (host.directory(sid) / "work" / "go").touch()
        printed, remarks = end(follower)
        assert printed == ""
        assert f"{sid}  succeeded on host-a" in remarks


def test_a_follower_goes_along_when_the_job_moves_to_another_host(
    new_site: NewSite, minio: Minio, bucket: str, mosquitto: Mosquitto
) -> None:
    one, two, desk = (on_s3(new_site, minio, bucket, name) for name in ("host-a", "host-b", "desk"))
    for site in (one, two, desk):
        with_broker(site, mosquitto)
    sid = desk.submit(UNTIL_TOLD)
    with background(desk, "logs", "-f", sid) as follower:
        with one.agent() as first:
            assert line(follower) == "up\n"
            first.send_signal(signal.SIGTERM)
            first.wait(60)
        with two.agent():
            assert line(follower) == "up\n"
            (two.directory(sid, 2) / "work" / "go").touch()
            assert "attempt 1 is over, attempt 2 begins: its log is a new one" in end(follower)[1]
