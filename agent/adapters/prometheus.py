"""Metrics over HTTP, in the forms that Prometheus reads. Imported only where they are wanted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from socketserver import TCPServer, ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.errors import Unavailable
from agent.metrics import Family

_HANGING = 10.0  # seconds that a client may take to say what it wants, or to take it
_KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families():
            metric = _KINDS[family.kind](family.name, family.help, labels=(family.label,) if family.label else ())
            for value, number in family.values.items():
                metric.add_metric((value,) if family.label else (), number)
            yield metric


class _Handler(WSGIRequestHandler):
    timeout = _HANGING

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: each look of a monitoring system would be a line."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without the look-up of a name that the base class makes: without a network it takes long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class MetricsServer:
    """Serves what `families` returns at the time of each request, until it is closed."""

    def __init__(self, address: tuple[str, int], families: Callable[[], Iterable[Family]]) -> None:
        """address: host and port. Raises Unavailable when nobody can listen there."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(families))
        host, port = address
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind(address, _Handler)
        except OSError as error:
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            hint = "choose another address or port, or end what listens there"
            raise Unavailable(f'metrics.listen = "{shown}": {error.strerror or error}; {hint}') from None
        self._server.set_app(make_wsgi_app(registry))
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()
