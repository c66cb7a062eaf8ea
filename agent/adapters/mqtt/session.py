"""One connection to a broker from CONNECT to its end. The only module that knows paho.

paho could reconnect by itself, but would then send old adverts again after the new ones, hide why a connection
failed, and wait without jitter. So every connection has a client of its own, and MqttConnection begins the next.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from agent.adapters.mqtt.broker import Broker
from agent.adapters.mqtt.errors import from_connack, from_socket
from agent.errors import BrokerRefused, BrokerUnavailable

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 5.0
_LIFETIME = "lifetime"
_ANSWERS_KEPT = 100


class Message(msgspec.Struct, frozen=True):
    """What is published. lifetime: seconds until the broker forgets a retained message; None = never."""

    topic: str
    body: bytes = b""
    retain: bool = False
    lifetime: int | None = None
    qos: int = 0


class Received(msgspec.Struct, frozen=True):
    """What came. age: seconds since it was published, by the broker's clock; None where nobody can say."""

    topic: str
    body: bytes
    age: float | None


class Subscription(msgspec.Struct, frozen=True):
    """A topic filter. news: only what is published from now on, and not by this connection itself."""

    filter: str
    news: bool = False


class Session:
    """One connection. Methods raise BrokerUnavailable, or BrokerRefused when somebody must change something first.

    on_message and on_refused (a message that the broker does not take) are called from the connection's thread,
    which must not be blocked.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Message | None = None,
        on_message: Callable[[Received], None] = lambda received: None,
        on_refused: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._broker = broker
        self._on_message = on_message
        self._on_refused = on_refused
        self._changed = threading.Condition()
        self._connack: str | None = None
        self._ended: str | None = None
        self._answers: dict[int, str | None] = {}
        self._last: int | None = None
        self._client = self._new_client(client_id, will)

    def _new_client(self, client_id: str, will: Message | None) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_SECONDS
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if will is not None:
            properties = _properties(PacketTypes.WILLMESSAGE, will)
            client.will_set(will.topic, will.body, will.qos, will.retain, properties)
        return client

    def open(self) -> None:
        """Connect, and wait until the broker has let us in."""
        secret = self._broker.secret()
        if self._broker.username is not None or secret is not None:
            self._client.username_pw_set(self._broker.username, secret)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 0
        try:
            self._client.connect(
                self._broker.host, self._broker.port, self._broker.keepalive, clean_start=True, properties=properties
            )
        except OSError as error:
            raise from_socket(error, self._broker.where) from None
        self._client.loop_start()
        try:
            self._await_connack()
        except BrokerUnavailable:
            self.close()
            raise

    def _await_connack(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._connack or self._ended, ANSWER_SECONDS)
            if self._connack is None and self._ended and self._broker.tls is not None:
                # With TLS 1.3 a client learns that its certificate is missing or refused only after the handshake.
                raise self._lost("", " before it let us in; are mqtt.cert_file and mqtt.key_file what it wants?")
            if self._connack is None:
                raise self._lost("it does not answer")
            if self._connack != "Success":
                raise from_connack(self._connack, self._broker.where)

    def publish(self, message: Message, wait: float = 0.0) -> None:
        """Publish the message; with `wait` return when the broker has it (QoS 1) or it was written out (QoS 0)."""
        properties = _properties(PacketTypes.PUBLISH, message)
        info = self._client.publish(message.topic, message.body, message.qos, message.retain, properties)
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise self._lost("the connection was lost")
        self._last = info.mid
        if wait > 0:
            self._expect(info.mid, wait, f"publish to {message.topic}")

    def flush(self, timeout: float) -> None:
        """Wait until the broker has answered the last message, the connection ends, or `timeout` seconds passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._last is None or self._last in self._answers or self._ended, timeout)

    def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe, and wait until the broker has said yes to all."""
        wanted = [(each.filter, _options(each)) for each in subscriptions]
        result, mid = self._client.subscribe(wanted)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise self._lost("the connection was lost")
        self._expect(mid, ANSWER_SECONDS, "subscribe to " + ", ".join(each.filter for each in subscriptions))

    def wait_ended(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for the connection's end; say whether it has ended."""
        with self._changed:
            return self._changed.wait_for(lambda: self._ended is not None, timeout)

    def why_ended(self) -> BrokerUnavailable:
        """Return why the connection ended."""
        return self._lost("the connection was lost")

    def close(self) -> None:
        """Say goodbye, so that no last will is sent, and end."""
        client = self._client
        client.disconnect()
        client.loop_stop()
        # paho closes its last two sockets when nobody holds the client any more: it must not hold itself through us.
        client.on_connect = client.on_disconnect = client.on_message = client.on_publish = client.on_subscribe = None

    def _lost(self, why: str, more: str = "") -> BrokerUnavailable:
        return BrokerUnavailable(f"broker {self._broker.where}: {self._ended or why}{more}")

    def _expect(self, mid: int, timeout: float, what: str) -> None:
        """Wait for the broker's answer to a request."""
        with self._changed:
            self._changed.wait_for(lambda: mid in self._answers or self._ended, timeout)
            if mid not in self._answers:
                raise self._lost("it does not answer")
            refusal = self._answers.pop(mid)
        if refusal is not None:
            raise BrokerRefused(f"broker {self._broker.where}: may not {what}: {refusal.lower()}")

    # --- called by paho in its thread ---

    def _connected(self, client: Client, data: Any, flags: ConnectFlags, reason: ReasonCode, _: Any) -> None:
        with self._changed:
            self._connack = reason.getName()
            self._changed.notify_all()

    def _disconnected(self, client: Client, data: Any, flags: DisconnectFlags, reason: ReasonCode, _: Any) -> None:
        said = f"it ended the connection: {reason.getName().lower()}"
        with self._changed:
            self._ended = said if flags.is_disconnect_packet_from_server else self._ended or "the connection was lost"
            self._changed.notify_all()

    def _received(self, client: Client, data: Any, message: MQTTMessage) -> None:
        self._on_message(Received(message.topic, bytes(message.payload), _age(message.properties)))

    def _published(self, client: Client, data: Any, mid: int, reason: ReasonCode, _: Any) -> None:
        refusal = reason.getName() if reason.is_failure else None
        self._answered(mid, refusal)
        if refusal is not None:
            self._on_refused(refusal)

    def _subscribed(self, client: Client, data: Any, mid: int, reasons: Sequence[ReasonCode], _: Any) -> None:
        self._answered(mid, next((each.getName() for each in reasons if each.is_failure), None))

    def _answered(self, mid: int, refusal: str | None) -> None:
        with self._changed:
            self._answers[mid] = refusal
            # Nobody waits for most answers.
            while len(self._answers) > _ANSWERS_KEPT:
                del self._answers[next(iter(self._answers))]
            self._changed.notify_all()


def _properties(packet: int, message: Message) -> Properties | None:
    """With its lifetime beside the expiry a receiver knows how old a retained message is: brokers count down."""
    if message.lifetime is None:
        return None
    properties = Properties(packet)
    properties.MessageExpiryInterval = message.lifetime
    properties.UserProperty = (_LIFETIME, str(message.lifetime))
    return properties


def _options(subscription: Subscription) -> SubscribeOptions:
    retained = SubscribeOptions.RETAIN_DO_NOT_SEND if subscription.news else SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE
    return SubscribeOptions(qos=1, noLocal=subscription.news, retainHandling=retained)


def _age(properties: Properties | None) -> float | None:
    remaining = getattr(properties, "MessageExpiryInterval", None)
    told: Mapping[str, str] = dict(getattr(properties, "UserProperty", ()))
    lifetime = told.get(_LIFETIME, "")
    if remaining is None or not lifetime.isdecimal():
        return None
    return max(0.0, float(int(lifetime) - remaining))
