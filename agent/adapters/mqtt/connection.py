"""The agent's one connection to its broker: opened in the background, and again whenever it is lost."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from agent.adapters.mqtt.broker import Broker
from agent.adapters.mqtt.session import Message, Received, Session, Subscription
from agent.errors import BrokerRefused, BrokerUnavailable
from agent.policy import BackOff

log = logging.getLogger(__name__)

# A broker that is back is found within seconds; the jitter spreads a fleet over them.
BACK_OFF = BackOff(1.0, 8.0)
# Trying soon again does not help where somebody must change something first.
REFUSED = BackOff(30.0, 30.0)
FAREWELL_SECONDS = 2.0

Handler = Callable[[Received], None]


class MqttConnection:
    """Users publish and subscribe whether the broker is there or not; nothing here raises into them.

    report: told what is wrong with the connection, None when nothing is any more. Handlers and listeners are called
    from threads of the connection, which they must not block.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        will: Message | None = None,
        report: Callable[[str | None], object] = lambda problem: None,
        back_off: BackOff = BACK_OFF,
        refused: BackOff = REFUSED,
        is_quiet: bool = False,
    ) -> None:
        """is_quiet: whoever is told by `report` tells people himself; the log has it at level debug."""
        self._broker = broker
        self._client_id = client_id
        self._will = will
        self._report = report
        self._back_off = back_off
        self._refused = refused
        self._is_quiet = is_quiet
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._subscriptions: dict[str, tuple[Subscription, list[Handler]]] = {}
        self._listeners: list[Callable[[], None]] = []
        self._problem: type[BrokerUnavailable] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    def start(self) -> None:
        """Begin to connect. Users register before."""
        self._thread.start()

    def on_connect(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each connect, when all subscriptions are there."""
        self._listeners.append(listener)

    def subscribe(self, subscription: Subscription, handler: Handler) -> None:
        """Give what comes under the filter to `handler`, from the next connect on."""
        self._subscriptions.setdefault(subscription.filter, (subscription, []))[1].append(handler)

    def publish(self, message: Message) -> bool:
        """Publish now or never: False when there is no connection."""
        session = self._session
        if session is None:
            return False
        try:
            session.publish(message)
        except BrokerUnavailable as error:
            log.debug("message is lost", extra={"event": "mqtt-lost", "topic": message.topic, "reason": str(error)})
            return False
        return True

    def flush(self, timeout: float) -> None:
        """Return when the broker has all that was published, when the connection ends, or after `timeout` seconds."""
        session = self._session
        if session is not None:
            session.flush(timeout)

    def close(self) -> None:
        """End the connection without a last will."""
        self._closing.set()
        with self._lock:
            if self._session is not None:
                self._session.close()
        if self._thread.is_alive():
            # A connect to a broker that is not there ends by itself; nobody waits for it at the agent's end.
            self._thread.join(FAREWELL_SECONDS)

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            session = self._new_session()
            try:
                if self._open(session):
                    failures = 0
                    session.wait_ended()
                    self._fail(session.why_ended())
            except BrokerUnavailable as error:
                self._fail(error)
            with self._lock:
                self._session = None
            session.close()
            failures += 1
            self._closing.wait(self._pause(failures))

    def _pause(self, failures: int) -> float:
        refused = self._problem is BrokerRefused
        return (self._refused if refused else self._back_off).delay(failures, random.random())

    def _new_session(self) -> Session:
        return Session(
            self._broker,
            self._client_id,
            will=self._will,
            on_message=self._dispatch,
            on_refused=self._on_refused,
        )

    def _open(self, session: Session) -> bool:
        """Open the session for all users; False when the agent ends in this moment."""
        session.open()
        subscriptions = [subscription for subscription, _ in self._subscriptions.values()]
        if subscriptions:
            session.subscribe(subscriptions)
        with self._lock:
            if self._closing.is_set():
                return False
            self._session = session
        if self._problem is not None:
            log.info("broker answers again", extra={"event": "broker-available", "broker": self._broker.where})
        self._problem = None
        self._report(None)
        for listener in self._listeners:
            listener()
        return True

    def _fail(self, error: BrokerUnavailable) -> None:
        """Tell what is wrong: one line when it begins, and one when it becomes another kind of wrong."""
        if self._closing.is_set():
            return
        self._report(str(error))
        if self._problem is type(error):
            return
        self._problem = type(error)
        level = logging.ERROR if isinstance(error, BrokerRefused) else logging.WARNING
        log.log(
            logging.DEBUG if self._is_quiet else level,
            "broker cannot be used",
            extra={"event": "broker-unavailable", "reason": str(error)},
        )

    def _on_refused(self, why: str) -> None:
        self._fail(BrokerRefused(f"broker {self._broker.where}: may not publish adverts: {why.lower()}"))

    def _dispatch(self, received: Received) -> None:
        for subscription, handlers in self._subscriptions.values():
            if matches(subscription.filter, received.topic):
                for handler in handlers:
                    handler(received)


def matches(pattern: str, topic: str) -> bool:
    """Say whether the topic filter, whose only wildcard is "+" for one level, matches the topic."""
    levels, names = pattern.split("/"), topic.split("/")
    return len(levels) == len(names) and all(level in ("+", name) for level, name in zip(levels, names, strict=True))
