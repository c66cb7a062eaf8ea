"""MQTT through paho: adverts, last will, bells, logs of followed jobs. Never a queue of record."""

from __future__ import annotations

from agent.adapters.mqtt.advertiser import MqttAdvertiser, offline
from agent.adapters.mqtt.adverts import MqttAdvertSource, check_broker
from agent.adapters.mqtt.bell import MqttBell, SubmitterBell
from agent.adapters.mqtt.broker import Broker, broker_of
from agent.adapters.mqtt.connection import MqttConnection
from agent.adapters.mqtt.words import MqttLogFeed, MqttLogSink

__all__ = [
    "Broker",
    "MqttAdvertSource",
    "MqttAdvertiser",
    "MqttBell",
    "MqttConnection",
    "MqttLogFeed",
    "MqttLogSink",
    "SubmitterBell",
    "broker_of",
    "check_broker",
    "offline",
]
