"""The adverts of all hosts, read from the broker; and whether a broker can be used at all."""

from __future__ import annotations

import secrets
import time

from agent.adapters.mqtt.broker import Broker
from agent.adapters.mqtt.session import Message, Received, Session, Subscription
from agent.adapters.mqtt.topics import ALL_HOSTS, host_topic, parse_host_topic
from agent.ports import Advert

CHECK_SECONDS = 5.0


class MqttAdvertSource:
    """An AdvertSource: connects for each look."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def adverts(self, wait: float) -> tuple[Advert, ...]:
        """Return what is retained, and what hosts tell within `wait` seconds."""
        arrived: list[tuple[float, Received]] = []
        session = Session(
            self._broker,
            f"edge-agent-fleet-{secrets.token_hex(8)}",
            on_message=lambda received: arrived.append((time.monotonic(), received)),
        )
        session.open()
        try:
            session.subscribe([Subscription(ALL_HOSTS)])
            if session.wait_ended(wait):
                raise session.why_ended()
        finally:
            session.close()
        now = time.monotonic()
        found = (_advert(received, now - at) for at, received in arrived)
        return tuple(advert for advert in found if advert is not None)


def _advert(received: Received, since: float) -> Advert | None:
    about = parse_host_topic(received.topic)
    if about is None or not received.body:
        return None
    return Advert(about.host, about.kind, received.body, None if received.age is None else received.age + since)


def check_broker(broker: Broker, host: str) -> None:
    """Try what an agent called `host` needs: connect, subscribe, publish. Raises BrokerUnavailable, BrokerRefused."""
    topic = host_topic(host, "state")
    session = Session(broker, f"edge-agent-check-{secrets.token_hex(8)}")
    session.open()
    try:
        session.subscribe([Subscription(topic, news=True)])
        session.publish(Message(topic, qos=1), CHECK_SECONDS)
    finally:
        session.close()
