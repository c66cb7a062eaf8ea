"""Where the broker is and how to be let in, made from the configuration."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from agent.config.mqtt import MqttSection
from agent.errors import BrokerRefused, ConfigError

PORTS = {"mqtt": 1883, "mqtts": 8883}


class Broker(msgspec.Struct, frozen=True):
    """One broker. keepalive: seconds, a whole number."""

    host: str
    port: int
    keepalive: int
    username: str | None = None
    password: str | None = None
    password_file: str | None = None
    tls: ssl.SSLContext | None = None

    @property
    def where(self) -> str:
        """The broker's address, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{host}:{self.port}"

    def secret(self) -> str | None:
        """Return the password; a file is read at each connect, so that a new password needs no restart.

        Raises BrokerRefused when the file cannot be read.
        """
        if self.password_file is None:
            return self.password
        try:
            return Path(self.password_file).read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
        except UnicodeDecodeError:
            why = "not UTF-8 text"
        raise BrokerRefused(f"broker {self.where}: mqtt.password_file {self.password_file}: {why}")


def broker_of(section: MqttSection) -> Broker:
    """Return the broker that the configuration names. Raises ConfigError for certificates that cannot be used."""
    parts = urlsplit(section.url or "")
    return Broker(
        host=parts.hostname or "",
        port=parts.port or PORTS[parts.scheme],
        keepalive=round(section.keepalive),
        username=section.username,
        password=section.password,
        password_file=section.password_file,
        tls=_tls(section) if parts.scheme == "mqtts" else None,
    )


def _tls(section: MqttSection) -> ssl.SSLContext:
    key = "mqtt.ca_file" if section.ca_file is not None or section.ca is None else "mqtt.ca"
    try:
        context = ssl.create_default_context(
            cafile=section.ca_file, cadata=section.ca if section.ca_file is None else None
        )
        if section.cert_file is not None:
            key = "mqtt.cert_file"
            # With a passphrase given, nobody is asked for one on the terminal.
            context.load_cert_chain(section.cert_file, section.key_file, password="")
    except ssl.SSLError as error:
        raise ConfigError(f"{key}: {_file(section, key)}: {error.reason or error}", hint="a PEM file") from None
    except OSError as error:
        raise ConfigError(f"{key}: {_file(section, key)}: {(error.strerror or str(error)).lower()}") from None
    context.sslsocket_class = _ClosingSocket
    return context


class _ClosingSocket(ssl.SSLSocket):
    """paho forgets a socket whose handshake failed, which would stay open for as long as somebody holds the error."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _file(section: MqttSection, key: str) -> str:
    if key == "mqtt.ca":
        return "its text"
    if key == "mqtt.ca_file":
        return str(section.ca_file)
    return f"{section.cert_file} with {section.key_file}"
