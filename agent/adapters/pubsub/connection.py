"""One gRPC channel to Pub/Sub and the calls that the agent makes on it.

The channel is made by the first call and shared by all threads. It notices a dead connection within 15 s and comes
back within 1 s of the server's return, which gRPC's defaults do not.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import grpc
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.iam.v1.iam_policy_pb2 import TestIamPermissionsRequest
from google.oauth2.service_account import Credentials
from google.pubsub_v1.services.publisher.transports.grpc import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports.grpc import SubscriberGrpcTransport
from google.pubsub_v1.types import (
    AcknowledgeRequest,
    GetSubscriptionRequest,
    GetTopicRequest,
    ListSubscriptionsRequest,
    ListSubscriptionsResponse,
    ModifyAckDeadlineRequest,
    PublishRequest,
    PubsubMessage,
    PullRequest,
    ReceivedMessage,
    Subscription,
    Topic,
)

from agent.adapters.pubsub.errors import translated, unavailable, with_credentials
from agent.errors import Unavailable
from agent.pubsub_choice import Found

CALL_TIMEOUT = 15.0  # seconds for any call but a pull
TELL_TIMEOUT = 5.0  # seconds for what nobody depends on
PAGE = 1000  # subscriptions that one answer lists at most
SHORTEST_PULL = 0.5  # seconds; a server needs some time to find a message
NOT_FOUND, EXISTS = grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED
HOST = "pubsub.googleapis.com:443"
EMULATOR_VARIABLE = "PUBSUB_EMULATOR_HOST"
# min_reconnect_backoff is, in spite of its name, what one attempt to connect may take: TLS over a slow link takes long.
# http2.ping_timeout is the one that ends a silent connection: keepalive_timeout has no effect on a call that waits.
OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
)

# At debug level the client library waits for every answer in order to log it; a pull could not be cancelled then.
logging.getLogger("google").setLevel(logging.WARNING)


class _Stubs(NamedTuple):
    """The methods of both services; their annotations hide that they take a time-out and can be cancelled."""

    subscriber: Any
    publisher: Any


class _Unheard(NamedTuple):
    """A call whose answer nobody waits for. A call that nobody refers to is cancelled."""

    call: Any
    answered: threading.Event


class Connection:
    """The calls. All raise Unavailable; blocked pulls end with None when `stopping` is set."""

    def __init__(
        self, endpoint: str | None = None, credentials_file: str | None = None, stopping: threading.Event | None = None
    ) -> None:
        """endpoint: "host:port" of an emulator, spoken to without TLS; None = the variable, else Google's service."""
        self._emulator = endpoint or os.environ.get(EMULATOR_VARIABLE) or None
        self._credentials_file = credentials_file
        self._stopping = stopping or threading.Event()
        self._lock = threading.Lock()
        self._pulls: set[Any] = set()
        self._unheard: dict[str, _Unheard] = {}
        self._watched = False
        self.server = self._emulator or HOST

    @property
    def is_emulator(self) -> bool:
        """Say whether the server is not Google's."""
        return self._emulator is not None

    @cached_property
    def _stubs(self) -> _Stubs:
        channel = self._channel()
        return _Stubs(SubscriberGrpcTransport(channel=channel), PublisherGrpcTransport(channel=channel))

    def _channel(self) -> grpc.Channel:
        if self._emulator is not None:
            return grpc.insecure_channel(self._emulator, options=OPTIONS)
        with with_credentials():
            credentials = None  # what the environment or the machine has
            if self._credentials_file is not None:
                read = Credentials.from_service_account_file
                credentials = read(self._credentials_file)  # type: ignore[no-untyped-call]
            return SubscriberGrpcTransport.create_channel(HOST, credentials=credentials, options=list(OPTIONS))

    def _made(self) -> _Stubs:
        with self._lock:
            return self._stubs

    # --- receiving ---

    def pull(self, subscription: str, timeout: float) -> ReceivedMessage | None:
        """Return one message, waiting up to `timeout` seconds; None when there was none."""
        messages = self.pull_some(subscription, 1, timeout)
        return messages[0] if messages else None

    def pull_some(self, subscription: str, most: int, timeout: float) -> Sequence[ReceivedMessage]:
        """Return up to `most` messages, waiting up to `timeout` seconds for the first; empty when there was none."""
        request = PullRequest(subscription=subscription, max_messages=most)
        start = self._made().subscriber.pull.future
        call = start(request, timeout=max(timeout, SHORTEST_PULL), metadata=_routing("subscription", subscription))
        self._wait(call)
        if call.cancelled() or call.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED):
            return ()
        if _is_farewell(call):
            return ()
        if call.code() is not grpc.StatusCode.OK:
            raise unavailable(call.code(), called(subscription), self.server) from call.exception()
        return tuple(call.result().received_messages)

    def _wait(self, call: Any) -> None:
        """Wait for the end of the call, asleep: the future's own way of waiting wakes up ten times a second."""
        done = threading.Event()
        with self._lock:
            if not self._watched:
                self._watched = True
                threading.Thread(target=self._cancel_on_stop, name="pubsub-stop", daemon=True).start()
            self._pulls.add(call)
        call.add_done_callback(lambda _: done.set())
        if self._stopping.is_set():
            call.cancel()
        done.wait()
        with self._lock:
            self._pulls.discard(call)

    def _cancel_on_stop(self) -> None:
        self._stopping.wait()
        with self._lock:
            calls = tuple(self._pulls)
        for call in calls:
            call.cancel()

    def rest(self, seconds: float) -> bool:
        """Wait for so long; say whether the agent stops."""
        return self._stopping.wait(max(0.0, seconds))

    def acknowledge(self, subscription: str, ack_id: str) -> None:
        """Take a message off the subscription; nothing happens when its ack id is not valid any more.

        Nor when the subscription is gone: its messages went with it.
        """
        request = AcknowledgeRequest(subscription=subscription, ack_ids=[ack_id])
        self._tolerant(self._made().subscriber.acknowledge, request, subscription)

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> None:
        """Hold messages for `seconds` more; nothing happens to those that are not there any more."""
        self._hear(ack_ids)
        if not self._extend(subscription, ack_ids, seconds) and len(ack_ids) > 1:
            # One unknown ack id makes the server refuse the whole batch.
            for ack_id in ack_ids:
                self._extend(subscription, [ack_id], seconds)

    def _extend(self, subscription: str, ack_ids: Sequence[str], seconds: int) -> bool:
        request = _deadline(subscription, ack_ids, seconds)
        return self._tolerant(self._made().subscriber.modify_ack_deadline, request, subscription)

    def extend_soon(self, subscription: str, ack_id: str, seconds: int) -> None:
        """Ask for `extend` without waiting for the answer."""
        start = self._made().subscriber.modify_ack_deadline.future
        request = _deadline(subscription, [ack_id], seconds)
        unheard = _Unheard(
            start(request, timeout=CALL_TIMEOUT, metadata=_routing("subscription", subscription)), threading.Event()
        )
        with self._lock:
            self._unheard[ack_id] = unheard
        unheard.call.add_done_callback(lambda _: self._heard(ack_id, unheard))

    def _heard(self, ack_id: str, unheard: _Unheard) -> None:
        unheard.answered.set()
        with self._lock:
            if self._unheard.get(ack_id) is unheard:
                del self._unheard[ack_id]

    def _hear(self, ack_ids: Sequence[str]) -> None:
        """Wait for what was asked about these messages before: the server might do it after what comes now."""
        with self._lock:
            unheard = [self._unheard[ack_id] for ack_id in ack_ids if ack_id in self._unheard]
        for each in unheard:
            each.answered.wait(CALL_TIMEOUT)

    def _tolerant(self, method: Callable[..., Any], request: Any, subscription: str) -> bool:
        """Make a call about ack ids; False when the server does not know one of them, or the subscription."""
        try:
            method(request, timeout=CALL_TIMEOUT, metadata=_routing("subscription", subscription))
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.INVALID_ARGUMENT, NOT_FOUND):
                return False
            raise unavailable(error.code(), called(subscription), self.server) from error
        return True

    # --- sending ---

    def publish(self, topic: str, body: bytes, attributes: dict[str, str]) -> None:
        """Publish one message; it is stored when this returns."""
        self._publish(topic, [PubsubMessage(data=body, attributes=attributes)], CALL_TIMEOUT)

    def tell(self, topic: str, bodies: Sequence[bytes]) -> None:
        """Publish messages that may get lost; they are stored when this returns, and it does not wait long."""
        self._publish(topic, [PubsubMessage(data=body) for body in bodies], TELL_TIMEOUT)

    def _publish(self, topic: str, messages: Sequence[PubsubMessage], timeout: float) -> None:
        request = PublishRequest(topic=topic, messages=messages)
        publish = self._made().publisher.publish
        with translated(called(topic), self.server):
            answer = publish(request, timeout=timeout, wait_for_ready=True, metadata=_routing("topic", topic))
        if len(answer.message_ids) != len(messages):
            raise Unavailable(f"{called(topic)}: the server did not confirm the message; try again")

    # --- administration ---

    def topic(self, path: str) -> Topic | None:
        """Return the topic as it is, or None when there is none."""
        request = GetTopicRequest(topic=path)
        found: Topic | None = self._unless(NOT_FOUND, self._made().publisher.get_topic, request, path)
        return found

    def permitted(self, path: str, permission: str) -> bool | None:
        """Say whether the agent's account has the permission on a topic or subscription; None: the server cannot say.

        The server says no also where there is nothing of this name.
        """
        stubs = self._made()
        test = (stubs.publisher if "/topics/" in path else stubs.subscriber).test_iam_permissions
        request = TestIamPermissionsRequest(resource=path, permissions=[permission])
        answer = self._unless(UNIMPLEMENTED, test, request, path, key="resource")
        return None if answer is None else permission in answer.permissions

    def subscription(self, path: str) -> Subscription | None:
        """Return the subscription as it is, or None when there is none."""
        request = GetSubscriptionRequest(subscription=path)
        found: Subscription | None = self._unless(NOT_FOUND, self._made().subscriber.get_subscription, request, path)
        return found

    def subscriptions(self, project: str, page_size: int = PAGE) -> Sequence[Found]:
        """Return all subscriptions of a project."""
        path, token = f"projects/{project}", ""
        found: list[Found] = []
        while True:
            request = ListSubscriptionsRequest(project=path, page_size=page_size, page_token=token)
            # The bare message: a wrapper around each of thousands of subscriptions costs more than to read them.
            page = ListSubscriptionsResponse.pb(self._page(request, project))
            found += map(_found, page.subscriptions)
            token = page.next_page_token
            if not token:
                return found

    def _page(self, request: ListSubscriptionsRequest, project: str) -> ListSubscriptionsResponse:
        listing = self._made().subscriber.list_subscriptions
        try:
            answer: ListSubscriptionsResponse = listing(
                request, timeout=CALL_TIMEOUT, wait_for_ready=True, metadata=_routing("project", request.project)
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.PERMISSION_DENIED:
                remedy = "grant the agent's account roles/pubsub.viewer on the project"
                raise Unavailable(f"the subscriptions of project {project} may not be listed; {remedy}") from error
            raise unavailable(error.code(), f"the list of subscriptions of project {project}", self.server) from error
        return answer

    def create_subscription(self, subscription: Subscription) -> None:
        """Make the subscription; nothing happens when there is one of its name."""
        self._unless(EXISTS, self._made().subscriber.create_subscription, subscription, subscription.name)

    def create_topic(self, path: str) -> bool:
        """Make the topic; False when it is there."""
        return self._unless(EXISTS, self._made().publisher.create_topic, Topic(name=path), path) is not None

    def _unless(
        self, expected: grpc.StatusCode, method: Callable[..., Any], request: Any, path: str, key: str = "name"
    ) -> Any:
        """Return the answer, or None when the call fails with the `expected` code. key: of the routing header."""
        try:
            return method(request, timeout=CALL_TIMEOUT, wait_for_ready=True, metadata=_routing(key, path))
        except grpc.RpcError as error:
            if error.code() is expected:
                return None
            raise unavailable(error.code(), called(path), self.server) from error


def _found(listed: Any) -> Found:
    push = listed.push_config.push_endpoint or listed.bigquery_config.table or listed.cloud_storage_config.bucket
    return Found(listed.name, listed.topic, listed.filter, pulled=not push and not listed.detached)


def _is_farewell(call: Any) -> bool:
    """Say whether the server ended the connection in the orderly way, which it may do at any time; it is there.

    The emulator does so to a connection on which nothing but signs of life has come for a while.
    """
    return call.code() is grpc.StatusCode.UNAVAILABLE and "GOAWAY" in (call.details() or "")


def _deadline(subscription: str, ack_ids: Sequence[str], seconds: int) -> ModifyAckDeadlineRequest:
    return ModifyAckDeadlineRequest(subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=seconds)


def _routing(key: str, name: str) -> tuple[tuple[str, str]]:
    """Return the header by which Google's front ends find the server for a resource."""
    header: tuple[str, str] = to_grpc_metadata({key: name})  # type: ignore[no-untyped-call]
    return (header,)


def called(path: str) -> str:
    """Return "subscription jobs.any-none in project lab" for a full name."""
    _, project, kind, name = path.split("/", 3)
    return f"{kind.removesuffix('s')} {name} in project {project}"
