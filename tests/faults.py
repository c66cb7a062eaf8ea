"""Ports going wrong: an agent that dies in a call, a part that fails in one, a method that does something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Crash(BaseException):
    """The agent is killed: nothing catches it."""


class Between:
    """Stands in front of a port: `acts` maps a method's name to what is called in its place."""

    def __init__(self, part: Any, **acts: Callable[..., Any]) -> None:
        self._part, self._acts = part, acts

    def __getattr__(self, method: str) -> Any:
        return self._acts.get(method) or getattr(self._part, method)


def fail(error: BaseException) -> Callable[..., Any]:
    """Return a function that raises `error`."""

    def failing(*arguments: Any, **options: Any) -> Any:
        raise error

    return failing


class Tripwire:
    """Counts the calls of all wrapped ports, and lets one of them go wrong.

    at: the number of the call, from 1; `error` makes what is raised: `after` the call was made, or instead of it.
    """

    def __init__(self, error: Callable[[], BaseException], at: int = 0, *, after: bool = False) -> None:
        self._error = error
        self._at = at
        self._after = after
        self._only: tuple[str, ...] = ()
        self.calls: list[str] = []

    def only(self, *parts: str) -> Tripwire:
        """Count the calls of these parts alone."""
        self._only = parts
        return self

    @property
    def tripped(self) -> bool:
        """Say whether the call was reached."""
        return 0 < self._at <= len(self.calls)

    def wrap(self, name: str, part: Any) -> Any:
        """Put the tripwire around a port: what tests.worlds.world takes as `wrap`."""
        return part if self._only and name not in self._only else _Wired(self, name, part)

    def around(self, call: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make the call, or let it go wrong."""
        self.calls.append(call)
        due = len(self.calls) == self._at
        if due and not self._after:
            raise self._error()
        answer = function(*arguments, **options)
        if due:
            raise self._error()
        return answer


class _Wired:
    """A port whose calls pass by the tripwire."""

    def __init__(self, wire: Tripwire, name: str, part: Any) -> None:
        self._wire, self._name, self._part = wire, name, part

    def __getattr__(self, method: str) -> Any:
        function = getattr(self._part, method)

        def call(*arguments: Any, **options: Any) -> Any:
            return self._wire.around(f"{self._name}.{method}", function, *arguments, **options)

        return call
