"""An agent that kills itself at one call to the outside:  python -m tests.e2e.mortal CONFIG PART.METHOD N WHEN

The N-th call of the method of a part (journal, results, source, artifacts, images, runtime) is the last thing the
agent does: WHEN is `before` (the call is not made) or `after` (it is made, nobody hears of it). With PART.METHOD
`list` the calls of a whole run are printed, one a line.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.adapters.locks import lock_state_dir
from agent.config import load_config
from agent.context import Context
from agent.logs import setup_logging
from agent.wiring import Parts, prepare_state_dir

# Calls that change something outside; reading has no trace that a crash could leave behind.
CALLS = {
    "journal": ("put", "remove"),
    "results": ("claim", "update", "commit"),
    "source": ("settle", "release"),
    "artifacts": ("write", "copy"),
    "images": ("fetch",),
    "runtime": ("start", "stop", "remove"),
}


class Fate:
    """Knows when to die."""

    def __init__(self, call: str, number: int, when: str) -> None:
        self._call, self._number, self._when = call, number, when
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def around(self, call: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                self._counts[call] += 1
                if self._call == "list":
                    print(call, self._counts[call], flush=True)
                due = call == self._call and self._counts[call] == self._number
            if due and self._when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            answer = function(*arguments, **options)
            if due:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return wrapped


class Watched:
    """A part whose calls pass by Fate."""

    def __init__(self, name: str, part: Any, fate: Fate) -> None:
        self._name, self._part, self._fate = name, part, fate

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._part, method)
        if method in CALLS[self._name]:
            return self._fate.around(f"{self._name}.{method}", found)
        return found


class Owned:
    """Artifacts by the agent's own rights, as native jobs need them."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def by(self, access: Any) -> Any:
        assert access is None
        return self._own


class MortalParts(Parts):
    """The parts of an agent, each watched."""

    fate: Fate

    @cached_property
    def context(self) -> Context:
        """The context with watched ports."""
        made: Any = super().context
        queues = {
            name: replace(
                queue,
                source=Watched("source", queue.source, self.fate),
                results=Watched("results", queue.results, self.fate),
            )
            for name, queue in made.queues.items()
        }
        parts = {name: Watched(name, getattr(made, name), self.fate) for name in CALLS if hasattr(made, name)}
        own = parts.pop("artifacts")
        watched: Context = replace(made, queues=queues, access=Owned(own), **parts)
        return watched


def main(config_file: str, call: str, number: str, when: str) -> int:
    """Run the agent until the queue is empty, or until its fate."""
    config = load_config(Path(config_file), {}, {}).config
    setup_logging("info", "text")
    prepare_state_dir(config)
    with lock_state_dir(config.state_dir):
        parts = MortalParts(config, until_empty=True)
        parts.fate = Fate(call, int(number), when)
        daemon = parts.daemon()
        daemon.handle_signals()
        return daemon.run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
