"""Who may do what in a lab: agents, submitters and operators, each with what its work needs and no more. Pure.

              S3: bucket edge-lab                                      MQTT
agent         read all; write results, dead letters and files/; mark   write adverts of hosts, read their states,
              jobs and take them off the queue, but never put one on   hear bells, write what jobs print
              it, nor wish anything of other hosts
submit        read all; put jobs on the queue and take them back;      ring bells, read what jobs print
              submissions, wishes to cancel or follow, results of
              waiting jobs that were cancelled; files/
operator      as submit; put dead letters back on the queue; wish      as submit; read all adverts
              that hosts pause, drain and resume
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from agent.adapters.mqtt.topics import ALL_HOSTS, ALL_LOGS, bell_topic, host_topic
from agent.claims import MARK
from agent.hosts import BELL as HOST_BELL
from agent.hosts import ROOT as HOSTS

BUCKET = "edge-lab"
QUEUE = "lab"
ROOT = (
    f"{QUEUE}/"  # of the queue in the bucket; the other prefix is for inputs, images and outputs of everybody's choice
)
FILES = "files/"
# Objects that checks write and remove again. One that a check left behind, because it was killed, may go.
CHECKS = (
    f"{ROOT}queue/~doctor/",
    f"{ROOT}queue/.edge-agent-test-",
    f"{ROOT}results/~doctor/",
    f"{ROOT}results/.edge-agent-test-",
)
_TESTS = tuple(prefix for prefix in CHECKS if "~doctor" not in prefix)
_READ = ("s3:GetObject",)
_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_DELETE = ("s3:DeleteObject",)
_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads")


class Account(NamedTuple):
    """One account on both servers. write, delete: beginnings of keys in the bucket, with "*" for anything between.

    never: what it may not write all the same. topics: (access, topic filter) as the broker's rules name them.
    """

    kind: str
    write: tuple[str, ...]
    delete: tuple[str, ...]
    topics: tuple[tuple[str, str], ...]
    never: tuple[str, ...] = ()

    @property
    def user(self) -> str:
        """The name on both servers."""
        return f"edge-{self.kind}"

    @property
    def config_name(self) -> str:
        """The name of the configuration file."""
        return f"lab-{self.kind}.toml"


_BELLS = (bell_topic(QUEUE, "+"), bell_topic(HOST_BELL, "+"))
_WISHES = f"{ROOT}results/{HOSTS}*/wishes/"
_PENDING = f"{ROOT}queue/pending/"
_SUBMITTED = tuple(f"{ROOT}results/*/{name}.json" for name in ("submission", "cancel", "commit", "watch"))
_SUBMITTER_WRITES, _SUBMITTER_DELETES = (_PENDING, *_SUBMITTED, *_TESTS, FILES), (_PENDING, *_TESTS, FILES)
_RINGS = tuple(("write", topic) for topic in _BELLS)

ACCOUNTS = (
    Account(
        "agent",
        write=(f"{ROOT}results/", f"{ROOT}queue/dead/", f"{_PENDING}*{MARK}", FILES, *CHECKS[:2]),
        delete=(_PENDING, f"{ROOT}results/*/attempts/*/live/", *CHECKS),
        topics=(
            ("write", host_topic("+", "capabilities")),
            ("readwrite", host_topic("+", "state")),
            ("write", ALL_LOGS),
            *(("read", topic) for topic in _BELLS),
        ),
        never=(_WISHES,),
    ),
    Account("submit", _SUBMITTER_WRITES, _SUBMITTER_DELETES, (*_RINGS, ("read", ALL_LOGS))),
    Account(
        "operator",
        write=(*_SUBMITTER_WRITES, _WISHES, f"{ROOT}results/*/dead.json"),
        delete=(*_SUBMITTER_DELETES, f"{ROOT}queue/dead/", f"{ROOT}results/"),
        topics=(*_RINGS, ("read", ALL_LOGS), ("read", ALL_HOSTS)),
    ),
)


def store_policy(account: Account) -> dict[str, Any]:
    """Return the account's rights in the words of S3 policies."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": list(_BUCKET), "Resource": [f"arn:aws:s3:::{BUCKET}"]},
            _allow(_READ, (ROOT, FILES)),
            _allow(_WRITE, account.write),
            _allow(_DELETE, account.delete),
            *([_allow(_WRITE, account.never, "Deny")] if account.never else []),
        ],
    }


def _allow(actions: Iterable[str], prefixes: Iterable[str], effect: str = "Allow") -> dict[str, Any]:
    resources = [f"arn:aws:s3:::{BUCKET}/{each}" + ("" if each.endswith(".json") else "*") for each in prefixes]
    return {"Effect": effect, "Action": list(actions), "Resource": resources}


def broker_rules() -> str:
    """Return Mosquitto's file of access rules: what no line allows is refused."""
    blocks = (
        "".join((f"user {account.user}\n", *(f"topic {access} {topic}\n" for access, topic in account.topics)))
        for account in ACCOUNTS
    )
    return "\n".join(blocks)


class Servers(NamedTuple):
    """Where the servers are for the boards, and what they trust. authority: a certificate in PEM."""

    endpoint: str
    broker: str
    authority: str


class Secrets(NamedTuple):
    """The passwords of one account."""

    store: str
    broker: str


def config_text(account: Account, servers: Servers, secrets: Secrets) -> str:
    """Return the one file that an account needs: where the servers are, whom to trust, and who one is."""
    where, rights = _PLACES.get(account.kind, _FOR_PEOPLE)
    return f"""\
# Written by `edge-agent lab up`. It holds passwords: keep it readable for {where} only.
{rights}[[queues]]
name = {json.dumps(QUEUE)}
url = "s3://{BUCKET}/{QUEUE}"

[s3]
endpoint = {json.dumps(servers.endpoint)}
access_key = {json.dumps(account.user)}
secret_key = {json.dumps(secrets.store)}
ca = \"\"\"
{servers.authority}\"\"\"

[mqtt]
url = {json.dumps(servers.broker)}
username = {json.dumps(account.user)}
password = {json.dumps(secrets.broker)}
ca = \"\"\"
{servers.authority}\"\"\"
"""


_FILES_URI = f"s3://{BUCKET}/{FILES}"
_FOR_PEOPLE = ("you", "")
_PLACES = {
    "agent": (
        "the agent",
        f"""# On a board: /etc/edge-agent/conf.d/lab.toml.
[policy]
image_prefixes = ["file:///", "{_FILES_URI}"]
input_prefixes = ["{_FILES_URI}"]
output_prefixes = ["{_FILES_URI}"]

""",
    )
}
