"""`edge-agent doctor`, the installed command: with real servers where all is well, and where one thing is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any

from tests.contract.s3_stores import AgingStore, public
from tests.e2e.site import Site
from tests.servers import Emulator, Minio, Mosquitto, free_port

NewSite = Callable[..., Site]
PROJECT = "lab-1"
PASSWORD = "generated-for-this-test"


class HastyStore(AgingStore):
    """An S3 server whose clock is two hours ahead."""

    def forward(self, *request: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = super().forward(*request)
        if "date" in headers:
            headers["date"] = format_datetime(parsedate_to_datetime(headers["date"]) + timedelta(hours=2))
        return status, headers, body


def findings(site: Site, *, code: int = 0, **options: Any) -> list[dict[str, str]]:
    """Return what `doctor --json` finds but for limits, which hang on this machine; its exit code must be this one."""
    done = site.run("doctor", "--json", **options)
    assert done.stderr == ""
    assert done.returncode == code, done.stdout
    rows: list[dict[str, str]] = [row for row in json.loads(done.stdout) if row["check"] != "limits"]
    assert any(row["status"] == "failure" for row in rows) == (code == 1)
    return rows


def wrong(site: Site, *, code: int = 1, **options: Any) -> dict[str, str]:
    """Return everything that is not ok, as check -> message and remedy."""
    rows = findings(site, code=code, **options)
    return {row["check"]: f"{row['message']} ({row['remedy']})" for row in rows if row["status"] != "ok"}


def s3_section(minio: Minio, endpoint: str | None = None, secret: str | None = None) -> str:
    keys = f'access_key = "{minio.access_key}"\nsecret_key = "{secret or minio.secret_key}"\n'
    return f'[s3]\nendpoint = "{endpoint or minio.endpoint}"\n{keys}'


def change(site: Site, old: str, new: str) -> None:
    """Replace a text of the configuration, which must be in it."""
    text = site.config.read_text()
    assert old in text
    site.config.write_text(text.replace(old, new))


# --- all is well ------------------------------------------------------------------------------------------------------


def test_a_host_with_a_queue_in_a_directory_is_well(site: Site) -> None:
    assert "ok      queue work: " in site.call("doctor")
    rows = findings(site)
    assert {row["status"] for row in rows} == {"ok"}
    checks = [row["check"] for row in rows]
    assert checks[:7] == ["state-dir", "disk", "runtime", "user-namespaces", "fuse", "container", "container filter"]
    assert checks[-4:] == ["queue work", "results work", "artifacts work", "broker"]
    assert site.leftovers() == []
    assert [path.name for path in site.state.glob("doctor-*")] == []
    assert [path for path in site.queue.rglob("*.json") if "doctor" in str(path)] == []


def test_a_host_with_all_three_servers_is_well(
    new_site: NewSite, minio: Minio, bucket: str, mosquitto: Mosquitto, emulator: Emulator
) -> None:
    mqtt = f'[mqtt]\nurl = "{mosquitto.url}"\n'
    pubsub = f'[pubsub]\nendpoint = "{emulator.endpoint}"\n'
    cloud = f'[[queues]]\nname = "cloud"\nurl = "pubsub://{PROJECT}/{bucket}"\nresults = "s3://{bucket}/cloud"\n'
    site = new_site(queue=f"s3://{bucket}/lab", more=f"{cloud}{s3_section(minio)}{mqtt}{pubsub}")
    rows = findings(site)
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["check"] for row in rows} >= {"queue work", "queue cloud", "results cloud", "broker", "clock"}
    left = minio.client().call("GET", bucket, query={"list-type": "2"}).data
    assert b"doctor" not in left


# --- this host --------------------------------------------------------------------------------------------------------


def test_without_a_runtime_on_path(site: Site, tmp_path: Path) -> None:
    told = wrong(site, env={**os.environ, "PATH": str(tmp_path / "empty")})
    assert list(told) == ["runtime"]
    assert "apptainer" in told["runtime"]


def test_a_runtime_that_runs_nothing(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "apptainer"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "apptainer version 1.4.5" && exit\nexit 1\n')
    program.chmod(0o755)
    told = wrong(site, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert list(told) == ["container"]


def test_a_reserve_larger_than_the_disk(site: Site) -> None:
    change(site, 'disk_reserve = "16MiB"', f"disk_reserve = {shutil.disk_usage(site.folder).total + 1024**3}")
    told = wrong(site)
    assert list(told) == ["disk"]
    assert "short of the reserve" in told["disk"]
    assert "resources.disk_reserve" in told["disk"]


def test_a_state_directory_that_cannot_be_made(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    change(site, str(site.state), str(tmp_path / "file/state"))
    assert "Not a directory" in wrong(site)["state-dir"]


# --- servers ----------------------------------------------------------------------------------------------------------


def test_a_queue_in_a_directory_that_was_never_made(site: Site) -> None:
    shutil.rmtree(site.queue)
    told = wrong(site)
    assert set(told) == {"queue work", "results work", "artifacts work"}
    assert "queue init" in told["queue work"]


def test_a_bucket_that_is_missing(new_site: NewSite, minio: Minio, bucket: str) -> None:
    site = new_site(queue=f"s3://{bucket}/lab", more=s3_section(minio))
    change(site, bucket, f"{bucket}-gone")
    told = wrong(site)
    assert set(told) == {"queue work", "results work", "artifacts work"}
    assert f"{bucket}-gone" in told["results work"]


def test_a_wrong_key_of_s3(new_site: NewSite, minio: Minio, bucket: str) -> None:
    site = new_site(queue=f"s3://{bucket}/lab", more=s3_section(minio))
    change(site, minio.secret_key, "another secret")
    told = wrong(site)
    assert set(told) == {"queue work", "results work", "artifacts work"}
    assert "check [s3] access_key and secret_key" in told["results work"]
    assert "another secret" not in str(told)


def test_a_store_that_ignores_conditions_is_a_warning(new_site: NewSite, minio: Minio, bucket: str) -> None:
    public(minio, bucket)
    with AgingStore(minio.port, ignores_conditions=True) as weak:
        site = new_site(queue=f"s3://{bucket}/lab", more=s3_section(minio, weak.endpoint))
        told = wrong(site, code=0)
    assert set(told) == {"results"}
    assert "ignores conditional writes" in told["results"]
    assert "If-None-Match" in told["results"]


def test_a_broker_that_is_away(new_site: NewSite) -> None:
    port = free_port()
    told = wrong(new_site(more=f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'))
    assert list(told) == ["broker"]
    assert f"127.0.0.1:{port}" in told["broker"]


def test_a_wrong_password_of_the_broker(
    new_site: NewSite, new_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text(f"agent:{PASSWORD}\n")
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    broker = new_mosquitto("allow_anonymous false", f"password_file {passwords}")
    site = new_site(more=f'[mqtt]\nurl = "{broker.url}"\nusername = "agent"\npassword = "{PASSWORD}"\n')
    assert findings(site)
    change(site, PASSWORD, "hunter2")
    told = wrong(site)
    assert list(told) == ["broker"]
    assert "mqtt.password_file" in told["broker"]
    assert "hunter2" not in str(told)


def test_a_queue_on_pubsub_whose_parts_are_missing(site: Site, emulator: Emulator, tmp_path: Path) -> None:
    topic = f"d{abs(hash(str(tmp_path))):x}"
    change(site, f'url = "{site.queue}"', f'url = "pubsub://{PROJECT}/{topic}"\nresults = "{site.queue}/results"')
    change(site, 'lanes = ["*"]', 'lanes = ["any-none"]')
    site.config.write_text(f'{site.config.read_text()}\n[pubsub]\nendpoint = "{emulator.endpoint}"\n')
    told = wrong(site)
    assert list(told) == ["queue work"]
    assert f"topic {topic}-dead in project {PROJECT}: does not exist" in told["queue work"]
    assert "queue init" in told["queue work"]
    site.call("queue", "init", "--lanes", "arm64-none")
    assert f"subscription {topic}.any-none in project {PROJECT}: does not exist" in wrong(site)["queue work"]
    site.call("queue", "init", "--lanes", "any-none")
    assert findings(site)


def test_a_server_whose_clock_is_wrong_is_a_warning(new_site: NewSite, minio: Minio, bucket: str) -> None:
    public(minio, bucket)
    with HastyStore(minio.port) as store:
        site = new_site(queue=f"s3://{bucket}/lab", more=s3_section(minio, store.endpoint))
        told = wrong(site, code=0)
    assert list(told) == ["clock"]
    assert "ahead of this host's clock" in told["clock"]
    assert "time synchronization" in told["clock"]


def test_a_runtime_that_does_not_filter_system_calls_is_a_warning(site: Site) -> None:
    runtime = site.folder / "apptainer"
    # Like one that was built without libseccomp: it takes the option, and does nothing.
    runtime.write_text(
        f"""#!/bin/sh
for word; do
    shift
    case $word in --security=*) ;; *) set -- "$@" "$word" ;; esac
done
exec {shutil.which("apptainer")} "$@"
"""
    )
    runtime.chmod(0o755)
    change(site, "[retry]", f'[runtime]\npath = "{runtime}"\n[retry]')
    assert list(wrong(site, code=0)) == ["container filter"]
