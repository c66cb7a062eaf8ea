from __future__ import annotations

from pathlib import Path

from agent.cli.demo import demo_config
from agent.config import load_config

CONFIGURED = """
[agent]
id = "board-7"
state_dir = "/var/lib/edge-agent"
[runtime]
emulate = ["arm64"]
[mqtt]
url = "mqtts://broker.lab:8883"
username = "board-7"
[metrics]
listen = "127.0.0.1:9100"
[policy]
require_signed = true
[policy.signers.alice]
file = "/etc/edge-agent/alice.pub"
[[queues]]
name = "lab"
url = "/srv/lab"
"""


def test_a_demonstration_on_a_configured_host_is_seen_by_nobody_and_takes_nothing_of_its_agent(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CONFIGURED)
    base = load_config(file, {}, {}).config
    config = demo_config(base, tmp_path / "demo")
    assert config.mqtt.url is None
    assert config.metrics.listen is None
    assert not config.policy.require_signed
    assert [queue.url for queue in config.queues] == [str(tmp_path / "demo/state/queues/default")]
    assert config.state_dir == tmp_path / "demo/state"
    assert config.runtime == base.runtime
