"""The section [mqtt]: the broker."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from agent.config.base import PositiveSeconds, Section, check_absolute, check_certificates, wrong
from agent.errors import InvalidInput

_BROKER_HOST = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|[0-9a-fA-F:.]+")


class MqttSection(Section, frozen=True):
    """The MQTT broker; url None = there is none. keepalive in seconds, sent to the broker as a whole number.

    ca, certificates in PEM, counts where there is no ca_file.
    """

    url: str | None = None
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    ca: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive: PositiveSeconds = 30.0


def check_mqtt(mqtt: MqttSection) -> None:
    """Check what types cannot say. Raises InvalidInput whose text begins with the key at fault."""
    files = ("password_file", "ca_file", "cert_file", "key_file")
    for key, path in ((key, getattr(mqtt, key)) for key in files):
        if path is not None:
            check_absolute(f"mqtt.{key}", path)
    check_certificates("mqtt.ca", mqtt.ca)
    if not 1 <= round(mqtt.keepalive) <= 65535:
        raise wrong("mqtt.keepalive", mqtt.keepalive, "from 1 to 65535 seconds")
    if mqtt.key_file is not None and mqtt.cert_file is None:
        raise wrong("mqtt.key_file", mqtt.key_file, "with it mqtt.cert_file")
    if mqtt.url is not None:
        _check_broker_url(mqtt)


def _check_broker_url(mqtt: MqttSection) -> None:
    url = mqtt.url or ""
    right = '"mqtt://host:1883" or "mqtts://host:8883"'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong("mqtt.url", url, right) from None
    if "@" in parts.netloc:
        raise InvalidInput("mqtt.url names a user", hint="write mqtt.username and mqtt.password_file")
    if parts.scheme not in ("mqtt", "mqtts") or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise wrong("mqtt.url", url, right)
    if port == 0 or not _BROKER_HOST.fullmatch(parts.hostname or ""):
        raise wrong("mqtt.url", url, right)
    for key in ("ca_file", "cert_file"):
        if parts.scheme == "mqtt" and getattr(mqtt, key) is not None:
            raise wrong(f"mqtt.{key}", getattr(mqtt, key), "only with a url that begins with mqtts://")
    if parts.scheme == "mqtt" and mqtt.ca is not None:
        raise InvalidInput("mqtt.ca: the url is not encrypted", hint="only with a url that begins with mqtts://")
