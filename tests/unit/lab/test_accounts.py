"""What each account of a lab may do, as the rules say it; what servers make of them is tried in tests/e2e."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent.config import load_config
from agent.lab.accounts import ACCOUNTS, Account, Secrets, Servers, broker_rules, config_text, store_policy

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SERVERS = Servers("https://192.168.1.10:9000", "mqtts://192.168.1.10:8883", CERTIFICATE)


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.kind)
def test_the_file_of_an_account_is_a_whole_configuration(account: Account, tmp_path: Path) -> None:
    file = tmp_path / account.config_name
    file.write_text(config_text(account, SERVERS, Secrets('s3 "x" \\', "mqtt 'y'")))
    config = load_config(file, {}, {}).config
    assert (config.s3.endpoint, config.s3.access_key, config.s3.secret_key) == (
        SERVERS.endpoint,
        account.user,
        's3 "x" \\',
    )
    assert (config.mqtt.url, config.mqtt.username, config.mqtt.password) == (SERVERS.broker, account.user, "mqtt 'y'")
    assert config.s3.ca == config.mqtt.ca == CERTIFICATE
    assert [queue.url for queue in config.queues] == ["s3://edge-lab/lab"]


@pytest.mark.parametrize("account", ACCOUNTS, ids=lambda account: account.kind)
def test_nobody_may_do_everything_or_anything_outside_the_bucket(account: Account) -> None:
    for statement in store_policy(account)["Statement"]:
        assert not [action for action in statement["Action"] if "*" in action or action.startswith("admin:")]
        for resource in statement["Resource"]:
            assert resource == "arn:aws:s3:::edge-lab" or resource.startswith("arn:aws:s3:::edge-lab/")
            assert resource != "arn:aws:s3:::edge-lab/*"


def test_each_user_of_the_broker_has_rules_of_its_own() -> None:
    blocks = broker_rules().split("\n\n")
    assert [block.splitlines()[0] for block in blocks] == ["user edge-agent", "user edge-submit", "user edge-operator"]
    assert blocks[1].splitlines()[1:] == [
        "topic write edge-agent/v1/bell/lab/+",
        "topic write edge-agent/v1/bell/@hosts/+",
        "topic read edge-agent/v1/jobs/+/log",
    ]
