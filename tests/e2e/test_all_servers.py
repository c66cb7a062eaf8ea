"""The whole path over all three servers at once: the emulator or the store queue, MinIO, Mosquitto, real containers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent.adapters.pubsub.connection import Connection
from agent.adapters.s3 import S3Artifacts
from agent.pubsub_plan import Place

from tests.e2e.site import Site
from tests.servers import Emulator, Minio, Mosquitto
from tests.waiting import wait_until

NewSite = Callable[..., Site]
CONTENT = b"three\nlines\nof input\n"


@pytest.fixture
def servers(minio: Minio, bucket: str, mosquitto: Mosquitto) -> str:
    """The part of the configuration that names the stores and the broker; an input lies in the bucket."""
    S3Artifacts(minio.client(), [f"s3://{bucket}"]).write(f"s3://{bucket}/in/data.txt", [CONTENT])
    keys = f'access_key = "{minio.access_key}"\nsecret_key = "{minio.secret_key}"\n'
    policy = f'[policy]\ninput_prefixes = ["s3://{bucket}/in/"]\noutput_prefixes = ["s3://{bucket}/published/"]\n'
    return f'[s3]\nendpoint = "{minio.endpoint}"\n{keys}[mqtt]\nurl = "{mosquitto.url}"\n{policy}'


def counting(bucket: str) -> dict[str, Any]:
    """Return the keys of a job that counts the lines of the input and publishes the number."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    return {
        "script": 'n=0; while read line; do n=$((n + 1)); done < data.txt; echo "$n" > out; echo counted $n',
        "inputs": [{"uri": f"s3://{bucket}/in/data.txt", "path": "data.txt", "sha256": digest}],
        "outputs": [{"path": "out", "uri": f"s3://{bucket}/published/out"}],
    }


def host(site: Site) -> dict[str, Any]:
    """Return what the fleet sees of the site's host."""
    hosts = json.loads(site.call("fleet", "--json", "--wait", "0.3"))["hosts"]
    return next((each for each in hosts if each["id"] == site.folder.name), {})


def fetched(site: Site, sid: str, target: Path) -> tuple[str, str]:
    """Return the log and the output as `results` fetches them."""
    site.call("results", sid, "--to", str(target))
    return (target / "log").read_text(), (target / "out").read_text()


def test_a_job_goes_through_pubsub_minio_and_mqtt(
    new_site: NewSite, emulator: Emulator, minio: Minio, bucket: str, servers: str, tmp_path: Path
) -> None:
    more = f'{servers}[pubsub]\nendpoint = "{emulator.endpoint}"\n'
    site = new_site("board-1", more=more)
    text = site.config.read_text().replace(
        f'url = "{site.queue}"', f'url = "pubsub://lab/{bucket}"\nresults = "s3://{bucket}/results"'
    )
    site.config.write_text(text.replace('lanes = ["*"]', "lanes = []"))
    assert "made" in site.call("queue", "init")
    with site.agent() as process:
        wait_until(lambda: host(site).get("state") == "ready" and host(site).get("capabilities"), 20, "the advert")
        sid = site.submit(**counting(bucket))
        site.wait_state(sid, "succeeded")
        assert fetched(site, sid, tmp_path / "here") == ("counted 3\n", "3\n")
        published = S3Artifacts(minio.client(), [f"s3://{bucket}"]).open(f"s3://{bucket}/published/out")
        assert published.read() == b"3\n"
        assert site.view(sid)["attempts"] == 1
        process.kill()
        wait_until(lambda: host(site)["state"] == "offline", 10, "the last will")
    assert host(site)["reason"] == "the agent vanished"
    lane = Place("lab", bucket).subscription("any-none")
    assert Connection(emulator.endpoint).pull(lane, 2.0) is None, "the message was acknowledged"


def test_two_agents_share_a_store_queue_on_minio_rung_by_mqtt(
    new_site: NewSite, bucket: str, servers: str, tmp_path: Path
) -> None:
    sites = [new_site(name, queue=f"s3://{bucket}/lab", more=servers) for name in ("board-1", "board-2")]
    with sites[0].agent(), sites[1].agent():
        wait_until(lambda: all(host(site).get("state") == "ready" for site in sites), 20, "both adverts")
        jobs = [sites[0].submit(**counting(bucket)) for _ in range(6)]
        for sid in jobs:
            sites[0].wait_state(sid, "succeeded")
    assert {sites[0].view(sid)["attempts"] for sid in jobs} == {1}
    assert fetched(sites[1], jobs[0], tmp_path / "here") == ("counted 3\n", "3\n")
