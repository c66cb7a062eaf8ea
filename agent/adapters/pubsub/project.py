"""All queues that clients made in one project, for the commands that look at queues."""

from __future__ import annotations

from collections.abc import Sequence

from agent.adapters.pubsub.admin import CONSUME, require
from agent.adapters.pubsub.connection import Connection
from agent.ports import QueuePart
from agent.pubsub_choice import Found, Rules, choose
from agent.pubsub_plan import subscription_path


class PubSubProject:
    """A QueueAdmin for the queues of a project. They are their clients': nothing is made or changed."""

    def __init__(self, project: str, rules: Rules, connection: Connection) -> None:
        self._project = project
        self._rules = rules
        self._connection = connection

    def look(self) -> Sequence[Found]:
        """Return all subscriptions of the project."""
        return self._connection.subscriptions(self._project)

    def init(self) -> Sequence[QueuePart]:
        """Return the queues that are served."""
        return tuple(QueuePart("subscription", name, "there") for name in self._served())

    def check(self) -> None:
        """Try the rights that a host needs: to list the subscriptions, and to pull from each that is served."""
        for name in self._served():
            require(self._connection, subscription_path(self._project, name), CONSUME)

    def _served(self) -> Sequence[str]:
        return choose(self.look(), (), self._rules).names
