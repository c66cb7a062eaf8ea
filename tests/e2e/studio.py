"""A StudioML client's end: a queue on Pub/Sub, buckets on MinIO, experiments in the form of client 0.0.49."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Mapping
from typing import Any

import grpc
from agent.adapters.pubsub.connection import Connection
from agent.adapters.s3 import S3Artifacts
from agent.pubsub_plan import subscription_path, topic_path
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import DeleteSubscriptionRequest, DeleteTopicRequest, Subscription

from tests.servers import Emulator, Minio

PROJECT = "studio-lab"
TAGS = ("modeldir", "retval", "output", "tb", "_metrics", "_metadata")


def archive(files: Mapping[str, bytes | str]) -> bytes:
    """Return a tar archive of files; those whose name ends in ".sh" may be executed."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in files.items():
            body = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(body), 0o755
            tar.addfile(member, io.BytesIO(body))
    return packed.getvalue()


class StudioClient:
    """One client with a queue of its own; `bucket` is there already and keeps artifacts and status records."""

    def __init__(self, emulator: Emulator, minio: Minio, bucket: str, queue: str) -> None:
        self.queue = queue
        self.bucket = bucket
        self.minio = minio
        self._emulator = emulator
        self._host = minio.endpoint.partition("//")[2]
        self._store = S3Artifacts(minio.client(), [f"s3://{bucket}"])
        self.connection = Connection(emulator.endpoint)
        self.topic = topic_path(PROJECT, queue)
        self.subscription = subscription_path(PROJECT, f"{queue}_sub")
        self.connection.create_topic(self.topic)
        self._subscribe(self.subscription, self.topic)

    # --- what it puts ---

    def put(self, key: str, content: bytes) -> None:
        """Store an object."""
        self._store.write(f"s3://{self.bucket}/{key}", [content])

    def artifact(self, key: str, *, mutable: bool, **keys: Any) -> dict[str, Any]:
        """Return an artifact as a client describes it."""
        return {
            "unpack": True,
            "mutable": mutable,
            "key": key,
            "local": "/home/lab/studio/work",
            "qualified": f"s3://{self._host}/{self.bucket}/{key}",
            "bucket": self.bucket,
            "credentials": {"aws": self._rights()},
            **keys,
        }

    def experiment(
        self, key: str, files: Mapping[str, bytes | str], filename: str | None, **keys: Any
    ) -> dict[str, Any]:
        """Store the workspace and return the message; `keys` replace or add fields of the experiment."""
        workspace = f"blobstore/{key}-workspace.tar"
        self.put(workspace, archive(files))
        artifacts = {tag: self.artifact(f"experiments/{key}/{tag}.tar", mutable=True) for tag in TAGS}
        artifacts["workspace"] = self.artifact(workspace, mutable=False)
        artifacts.update(keys.pop("artifacts", {}))
        config = keys.pop("config", {})
        experiment = {
            "key": key,
            "args": [],
            "filename": filename,
            "pythonenv": [],
            "project": "edge",
            "pythonver": "3",
            "resources_needed": {"gpus": 0, "cpus": 1, "ram": "128mb", "hdd": "200mb"},
            "status": "waiting",
            "time_added": time.time(),
            "time_started": None,
            "time_finished": None,
            "max_duration": None,
            "owner": "guest",
            "artifacts": artifacts,
            **keys,
        }
        return {"experiment": experiment, "config": {**self._config(), **config}}

    def submit(self, message: Mapping[str, Any] | bytes) -> None:
        """Write the status record as clients do, and publish the message."""
        if isinstance(message, bytes):
            body = message
        else:
            body = json.dumps(message).encode()
            self.put(f"experiments/{message['experiment']['key']}", json.dumps(message["experiment"]).encode())
        self.connection.publish(self.topic, body, {})

    # --- what it reads ---

    def read(self, key: str) -> bytes:
        """Return an object."""
        with self._store.open(f"s3://{self.bucket}/{key}") as stream:
            return stream.read()

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""
        return self._store.stat(f"s3://{self.bucket}/{key}") is not None

    def members(self, key: str, tag: str) -> dict[str, bytes]:
        """Return the files in the archive of an experiment's artifact."""
        with tarfile.open(fileobj=io.BytesIO(self.read(f"experiments/{key}/{tag}.tar"))) as tar:
            return {each.name: tar.extractfile(each).read() for each in tar if each.isreg()}  # type: ignore[union-attr]

    def log(self, key: str) -> str:
        """Return what the experiment printed."""
        return self.members(key, "output")["output"].decode()

    def record(self, key: str) -> dict[str, Any]:
        """Return the status record."""
        record: dict[str, Any] = json.loads(self.read(f"experiments/{key}"))
        return record

    def change_record(self, key: str, **fields: Any) -> None:
        """Change the status record, as the client's tools do."""
        self.put(f"experiments/{key}", json.dumps({**self.record(key), **fields}).encode())

    def left(self) -> int:
        """Return how many messages the queue hands out now; takes them."""
        count = 0
        while self.connection.pull(self.subscription, 1.0) is not None:
            count += 1
        return count

    # --- its queue ---

    def listen(self) -> None:
        """Make the topic for reports, with a subscription."""
        topic = topic_path(PROJECT, f"{self.queue}_response")
        self.connection.create_topic(topic)
        self._subscribe(subscription_path(PROJECT, f"{self.queue}_response_sub"), topic)

    def reports(self) -> list[bytes]:
        """Return the reports that are there, and take them."""
        found = []
        path = subscription_path(PROJECT, f"{self.queue}_response_sub")
        while (received := self.connection.pull(path, 1.0)) is not None:
            self.connection.acknowledge(path, received.ack_id)
            found.append(received.message.data)
        return found

    def delete(self) -> None:
        """Delete the queue as clients do: the topic, then the subscription."""
        with grpc.insecure_channel(self._emulator.endpoint) as channel:
            PublisherGrpcTransport(channel=channel).delete_topic(DeleteTopicRequest(topic=self.topic))
            request = DeleteSubscriptionRequest(subscription=self.subscription)
            SubscriberGrpcTransport(channel=channel).delete_subscription(request)

    def _subscribe(self, path: str, topic: str) -> None:
        self.connection.create_subscription(Subscription(name=path, topic=topic, ack_deadline_seconds=20))

    def _rights(self) -> dict[str, str]:
        return {
            "access_key": self.minio.access_key,
            "secret_access_key": self.minio.secret_key,
            "region": "us-east-1",
        }

    def _config(self) -> dict[str, Any]:
        place = {"type": "s3", "endpoint": self.minio.endpoint, "bucket": self.bucket}
        rights = {"aws": self._rights()}
        return {
            "database": {**place, "authentication": "none", "credentials": rights, "guest": True},
            "storage": {**place, "credentials": rights},
            "saveWorkspaceFrequency": "5m",
            "experimentLifetime": "1h",
            "verbose": "error",
            "cloud": {"type": "none"},
            "env": {"STEPS": "3", "PATH": "%PATH%:./bin"},
        }
