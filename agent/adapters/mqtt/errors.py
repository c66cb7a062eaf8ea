"""What a broker and the way to it say, as the agent's errors: one table for each.

Names and meanings of the answers to CONNECT are those of MQTT 5.0, section 3.2.2.2.
"""

from __future__ import annotations

import socket
import ssl

from agent.errors import BrokerRefused, BrokerUnavailable

_CREDENTIALS = "check mqtt.username, mqtt.password_file and the broker's list of users"
_LIMITS = "look at the limits in the broker's configuration"
_VERSION = "use a broker with MQTT 5, such as Mosquitto 1.6 or later"
_LOG = "the broker's log says why"
_LATER = "it is tried again"
_MOVED = "set mqtt.url to the broker that it names"

# Name of the answer to CONNECT -> (somebody must change something, what).
CONNACK: dict[str, tuple[bool, str]] = {
    "Unspecified error": (False, _LOG),
    "Malformed packet": (True, _VERSION),
    "Protocol error": (True, _VERSION),
    "Implementation specific error": (False, _LOG),
    "Unsupported protocol version": (True, _VERSION),
    "Client identifier not valid": (True, "set a shorter agent.id"),
    "Bad user name or password": (True, _CREDENTIALS),
    "Not authorized": (True, _CREDENTIALS),
    "Server unavailable": (False, _LATER),
    "Server busy": (False, _LATER),
    "Banned": (True, "the broker's administrator banned this host"),
    "Bad authentication method": (True, _CREDENTIALS),
    "Topic name invalid": (True, "allow topics below edge-agent/v1 on the broker"),
    "Packet too large": (True, _LIMITS),
    "Quota exceeded": (True, _LIMITS),
    "Payload format invalid": (True, _LIMITS),
    "Retain not supported": (True, "allow retained messages on the broker"),
    "QoS not supported": (True, "allow QoS 1 on the broker"),
    "Use another server": (True, _MOVED),
    "Server moved": (True, _MOVED),
    "Connection rate exceeded": (False, _LATER),
}

# The first class that fits counts. None: the error's own words.
SOCKET: tuple[tuple[type[OSError], bool, str | None], ...] = (
    (ssl.SSLCertVerificationError, True, "its certificate is not trusted: {words}; mqtt.ca_file names the right CA"),
    (ssl.SSLEOFError, True, "it ended the TLS handshake; is this a port for TLS, and mqtt.cert_file accepted?"),
    (ssl.SSLError, True, "TLS failed: {words}; check mqtt.url, mqtt.ca_file and mqtt.cert_file"),
    (socket.gaierror, False, "its name cannot be resolved"),
    (ConnectionRefusedError, False, "nothing listens there"),
    (TimeoutError, False, "it does not answer"),
    (ConnectionError, False, "the connection was lost"),
    (OSError, False, None),
)


def from_connack(name: str, where: str) -> BrokerUnavailable:
    """Return the error for the answer `name` to CONNECT."""
    lasting, remedy = CONNACK.get(name, (False, _LOG))
    kind = BrokerRefused if lasting else BrokerUnavailable
    return kind(f"broker {where}: {name.lower()}; {remedy}")


def from_socket(error: OSError, where: str) -> BrokerUnavailable:
    """Return the error for what happened to the connection."""
    if isinstance(error, ConnectionResetError) and where.startswith("mqtts:"):
        return BrokerUnavailable(f"broker {where}: the connection was lost in the TLS handshake; is this its TLS port?")
    lasting, text = next((lasting, text) for kind, lasting, text in SOCKET if isinstance(error, kind))
    words = _words(error)
    kind = BrokerRefused if lasting else BrokerUnavailable
    return kind(f"broker {where}: {words if text is None else text.format(words=words)}")


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        # Python's documentation promises `reason`; errors that were not made by OpenSSL do not have it.
        return (getattr(error, "reason", None) or str(error)).replace("_", " ").lower()
    return (error.strerror or str(error) or type(error).__name__).lower()
