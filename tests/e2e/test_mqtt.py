"""The installed command with a real broker: adverts, last will, bells, and a broker that is not there."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.site import Site, to_toml
from tests.servers import Mosquitto, free_port
from tests.waiting import wait_until

NewSite = Callable[..., Site]
NewBroker = Callable[..., Mosquitto]


def on_broker(new_site: NewSite, url: str, name: str = "host-a", more: str = "", **options: Any) -> Site:
    """Return a site whose agent uses the broker and else looks for jobs as seldom as it does by default."""
    site = new_site(name, more=f'[mqtt]\nurl = "{url}"\n{more}', **options)
    site.config.write_text(site.config.read_text().replace('look_every = "1s"\n', ""))
    return site


def seen(site: Site, host: str = "host-a") -> dict[str, Any]:
    """Return what `fleet` says of a host; nothing when it is not there."""
    hosts = json.loads(site.call("fleet", "--json", "--wait", "0.3"))["hosts"]
    return next((each for each in hosts if each["id"] == host), {})


def log(site: Site) -> str:
    return (site.folder / "agent.log").read_text()


def test_the_fleet_sees_an_agent_run_leave_and_vanish(new_site: NewSite, mosquitto: Mosquitto) -> None:
    site = on_broker(new_site, mosquitto.url)
    with site.agent() as process:
        wait_until(lambda: seen(site).get("state") == "ready" and seen(site).get("capabilities"))
        shown = site.call("fleet", "--wait", "0.3")
        assert "host-a" in shown
        assert "ready" in shown
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert (seen(site)["state"], seen(site)["reason"]) == ("offline", "stopped")
    with site.agent() as process:
        wait_until(lambda: seen(site).get("state") == "ready")
        process.kill()
        wait_until(lambda: seen(site)["reason"] == "the agent vanished", 5)
        assert seen(site)["state"] == "offline"


def test_a_submitted_job_wakes_the_agent_at_once(new_site: NewSite, mosquitto: Mosquitto) -> None:
    site = on_broker(new_site, mosquitto.url)
    with site.agent():
        wait_until(lambda: seen(site).get("state") == "ready")
        sid = site.submit()
        site.wait_state(sid, "succeeded", timeout=15)  # by looking alone it would take up to half a minute
        assert site.output(sid) == "done\n"


def test_without_the_broker_the_agent_works_says_so_once_and_advertises_later(
    new_site: NewSite, new_mosquitto: NewBroker
) -> None:
    server = new_mosquitto()
    server.stop()
    site = on_broker(new_site, server.url)
    sid = site.submit()
    with site.agent():
        site.wait_state(sid, "succeeded")
        assert log(site).count("nothing listens there") == 1
        assert "broker: " in site.call("status")
        assert site.run("fleet").returncode == 3
        server.start()
        wait_until(lambda: seen(site).get("state") == "ready", 40)
        server.stop(signal.SIGKILL)
        server.start()
        wait_until(lambda: seen(site).get("state") == "ready", 20)
        assert "broker: " not in site.call("status")


def test_submitting_without_the_broker_works_with_a_warning(new_site: NewSite) -> None:
    site = on_broker(new_site, f"mqtt://127.0.0.1:{free_port()}")
    done = site.run("submit", "-", input=to_toml(site.job("true")))
    assert done.returncode == 0
    assert "the bell could not be rung" in done.stderr
    assert site.state_of(done.stdout.strip()) == "waiting"


def test_two_hosts_of_one_name_are_told(new_site: NewSite, mosquitto: Mosquitto) -> None:
    one = on_broker(new_site, mosquitto.url, "one")
    two = on_broker(new_site, mosquitto.url, "two")
    for site in (one, two):
        text = site.config.read_text().replace(f'id = "{site.folder.name}"', 'id = "twice"')
        site.config.write_text(text)
    with one.agent(), two.agent():
        wait_until(lambda: "another agent has this host's id" in log(one) + log(two), 20)
        wait_until(lambda: "host-id: " in one.call("status") + two.call("status"))


def test_fleet_without_a_broker_in_the_configuration_says_what_to_set(site: Site) -> None:
    done = site.run("fleet")
    assert done.returncode == 2
    assert "mqtt.url is not set" in done.stderr


@pytest.mark.parametrize("command", [("config", "show"), ("config", "show", "--json")])
def test_the_password_is_never_shown(new_site: NewSite, command: tuple[str, ...]) -> None:
    site = on_broker(new_site, "mqtt://127.0.0.1:9", more='password = "hunter2"\n')
    shown = site.call(*command)
    assert "mqtt.password" in shown
    assert "hunter2" not in shown
