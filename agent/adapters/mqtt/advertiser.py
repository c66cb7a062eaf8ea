"""The adverts of this host on the broker, and the watch for a second agent that has the same name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from agent.adapters.mqtt.connection import FAREWELL_SECONDS, MqttConnection
from agent.adapters.mqtt.session import Message, Received, Subscription
from agent.adapters.mqtt.topics import host_topic
from agent.model.capabilities import Capabilities
from agent.ports import Clock
from agent.presence import PROFILE_REFRESH, STATE_EVERY
from agent.redact import mask_data

log = logging.getLogger(__name__)

MISSED = 3  # refreshes that may be lost before an advert is forgotten
OFFLINE_KEPT = 7 * 86400


def offline(host: str, instance: str, reason: str) -> Message:
    """Return the last words of an instance of the agent: sent by the broker when it vanishes."""
    state = {"state": "offline", "reason": reason, "instance": instance}
    return _advert(host, "state", state, OFFLINE_KEPT)


class MqttAdvertiser:
    """An Advertiser whose adverts the broker keeps. Without a connection they leave at the next connect.

    report: told of a second agent with our name, None when it is gone.
    """

    def __init__(
        self,
        connection: MqttConnection,
        host: str,
        instance: str,
        clock: Clock,
        report: Callable[[str | None], object],
    ) -> None:
        self._connection = connection
        self._host = host
        self._instance = instance
        self._clock = clock
        self._report = report
        self._lock = threading.Lock()
        self._capabilities: Message | None = None
        self._state: Message | None = None
        self._rival: str | None = None
        self._rival_at = 0.0
        connection.on_connect(self._tell_all)
        connection.subscribe(Subscription(host_topic(host, "state"), news=True), self._heard)

    def capabilities(self, profile: Capabilities, digest: str) -> None:
        """Announce what the host is."""
        with self._lock:
            self._capabilities = _advert(self._host, "capabilities", profile.table(), MISSED * round(PROFILE_REFRESH))
            self._connection.publish(self._capabilities)

    def state(self, state: Mapping[str, Any]) -> None:
        """Announce what the host is doing; "offline" returns when the broker has it, or after two seconds."""
        leaving = state["state"] == "offline"
        lifetime = OFFLINE_KEPT if leaving else MISSED * round(STATE_EVERY)
        message = _advert(self._host, "state", {**state, "instance": self._instance}, lifetime)
        with self._lock:
            self._state = message
            self._connection.publish(message)
        if leaving:
            self._connection.flush(FAREWELL_SECONDS)
        self._forget_rival()

    def _tell_all(self) -> None:
        with self._lock:
            for message in (self._capabilities, self._state):
                if message is not None:
                    self._connection.publish(message)

    def _heard(self, received: Received) -> None:
        """Somebody else said something in our name: a second agent, or the last will of our own earlier life."""
        said = _read(received.body)
        if said is None or said.instance == self._instance:
            return
        if said.state == "offline":
            if said.instance == self._rival:
                self._set_rival(None)
            self._tell_all()
        else:
            self._set_rival(said.instance)

    def _set_rival(self, instance: str | None) -> None:
        self._rival_at = self._clock.boottime()
        if instance == self._rival:
            return
        self._rival = instance
        if instance is None:
            self._report(None)
            return
        self._report(f"agent {instance} uses this host's id {self._host}, too; set another agent.id on one of them")
        fields = {"event": "duplicate-host-id", "host": self._host, "this": self._instance, "other": instance}
        log.error("another agent has this host's id; set another agent.id on one of them", extra=fields)

    def _forget_rival(self) -> None:
        if self._rival is not None and self._clock.boottime() - self._rival_at > MISSED * STATE_EVERY:
            self._set_rival(None)


class _Said(msgspec.Struct, frozen=True):
    """What of a state advert tells agents of one name apart."""

    state: str
    instance: str


def _read(body: bytes) -> _Said | None:
    try:
        return msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _advert(host: str, kind: Any, table: Mapping[str, Any], lifetime: int) -> Message:
    # Labels and reasons are free text: a secret that somebody wrote there stays here.
    body = msgspec.json.encode(mask_data(table))
    return Message(host_topic(host, kind), body, retain=True, lifetime=lifetime, qos=1)
