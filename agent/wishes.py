"""What operators want of this host, from here or from elsewhere: the newest wish counts, by its number in the store.

A wish from elsewhere is a record in a results store; this loop looks for one every 30 s, and at once when the host's
bell rings. A wish that was told here, over the control socket, holds at once; it gets its number, which makes it newer
than all that the store has, as soon as the store answers. No clock takes part.

The mode itself survives a restart by agent.modes; what is known of the stores by the file of this module.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from agent import __version__
from agent.board import Board, Mode
from agent.errors import Unavailable
from agent.hosts import Hosts
from agent.model.hosts import HostNote, Wish
from agent.modes import write_whole
from agent.ports import Clock

log = logging.getLogger(__name__)

FILE = "wishes.json"
LOOK = 30.0
NOTE_EVERY = 600.0  # a note that is older shows that the host is away
RETRY = 10.0  # seconds until a note that could not be written is tried again
FAREWELL = 2.0  # seconds that the last note of an agent may take


class Memory(msgspec.Struct, frozen=True):
    """What is known of each store, by its root. seen: the number of the newest wish that was obeyed.

    owed: stores that do not have the newest wish yet; wish: that one.
    """

    seen: dict[str, int] = {}
    owed: tuple[str, ...] = ()
    wish: Wish | None = None


class Wishes:
    """Obeys what is wanted of one host, and writes notes for those who want it."""

    def __init__(
        self,
        host: str,
        places: Mapping[str, Hosts],
        board: Board,
        jobs: Callable[[], tuple[str, ...]],
        clock: Clock,
        state_dir: Path,
    ) -> None:
        """places: the stores, by their roots. jobs: returns the ids of the jobs that are here."""
        self._host = host
        self._places = dict(places)
        self._board = board
        self._jobs = jobs
        self._clock = clock
        self._file = state_dir / FILE
        self._memory = self._load()
        self._lock = threading.Lock()
        self._looked = threading.Event()
        self._hurry = False
        self._look_at = 0.0
        self._told: dict[str, HostNote] = {}
        self._told_at: dict[str, float] = {}
        self._retry_at: dict[str, float] = {}

    def ring(self) -> None:
        """Look at the next turn, whenever that would be due."""
        self._hurry = True

    def wait_looked(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the end of the first look; say whether it has ended."""
        return self._looked.wait(timeout)

    def want(self, wish: Wish) -> None:
        """Obey a wish that was told here."""
        with self._lock:
            self._obey(wish)
            self._remember(owed=tuple(self._places), wish=wish)
        self.ring()

    def step(self, now: float) -> float:
        """Look when it is due or the bell rang, and write the note when it changed and every 10 minutes."""
        if self._hurry or now >= self._look_at:
            self._hurry, self._look_at = False, now + LOOK
            for place in self._places:
                self._apart(place, self._look)
            self._looked.set()
        for place in self._places:
            if self._is_news(place, now):
                told = self._apart(place, self._tell)
                self._retry_at[place] = 0.0 if told else now + RETRY
        return now + 1.0

    def leave(self) -> None:
        """Write that the agent has gone; a store that does not answer holds up nobody."""

        def tell() -> None:
            for place in self._places:
                self._apart(place, lambda place: self._write(place, self._note(place, "offline")))

        farewell = threading.Thread(target=tell, name="last-note", daemon=True)
        farewell.start()
        farewell.join(FAREWELL)

    # --- wishes ---

    def _look(self, place: str) -> None:
        hosts, wish = self._places[place], self._memory.wish
        if wish is not None and place in self._memory.owed:
            self._give_number(place, wish, hosts.wish(self._host, wish))
            return
        newest = hosts.newest(self._host)
        if newest > self._memory.seen.get(place, 0):
            wish = hosts.wished(self._host, newest)
            if wish is not None:
                self._hear(place, newest, wish)

    def _give_number(self, place: str, wish: Wish, n: int) -> None:
        with self._lock:
            # Meanwhile something newer may have been told here, which needs a number of its own.
            is_newest = self._memory.wish == wish
            owed = tuple(each for each in self._memory.owed if each != place or not is_newest)
            self._remember(seen={**self._memory.seen, place: n}, owed=owed)

    def _hear(self, place: str, n: int, wish: Wish) -> None:
        with self._lock:
            if place in self._memory.owed:
                return  # something was told here while the store was asked; it is the newer one
            self._obey(wish)
            others = tuple(each for each in self._places if each != place)
            self._remember(seen={**self._memory.seen, place: n}, owed=others, wish=wish)

    def _obey(self, wish: Wish) -> None:
        self._board.set_mode(Mode(wish.want, wish.note, self._clock.time(), wish.by))
        fields = {"event": "mode-wanted", "mode": wish.want, "by": wish.by, "note": wish.note}
        log.info("operator wants another mode", extra=fields)

    def _remember(self, **changes: object) -> None:
        self._memory = msgspec.structs.replace(self._memory, **changes)
        try:
            write_whole(self._file, msgspec.json.encode(self._memory))
        except OSError as error:
            log.warning("wishes cannot be saved", extra={"event": "wishes-unsaved", "reason": str(error)})

    def _load(self) -> Memory:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Memory)
        except FileNotFoundError:
            return Memory()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("wishes cannot be read", extra={"event": "wishes-unreadable", "reason": str(error)})
            return Memory()

    # --- notes ---

    def _is_news(self, place: str, now: float) -> bool:
        if now < self._retry_at.get(place, 0.0):
            return False
        return self._note(place) != self._told.get(place) or now >= self._told_at[place] + NOTE_EVERY

    def _tell(self, place: str) -> None:
        note = self._note(place)
        self._write(place, note)
        self._told[place], self._told_at[place] = note, self._clock.boottime()

    def _write(self, place: str, note: HostNote) -> None:
        self._places[place].tell(msgspec.structs.replace(note, at=self._clock.time()))

    def _note(self, place: str, state: str | None = None) -> HostNote:
        """Return the note, but for its time. Jobs come and go on a host that takes them: that is no news."""
        mode = self._board.mode
        closed = state is not None or not mode.takes_work
        return HostNote(
            host=self._host,
            state=state or mode.name,
            at=0.0,
            wish=self._memory.seen.get(place, 0),
            reason=mode.reason,
            by=mode.by,
            jobs=self._jobs() if closed else None,
            version=__version__,
        )

    def _apart(self, place: str, do: Callable[[str], None]) -> bool:
        """Do something with one store; False when it does not answer, which is no trouble of the others."""
        try:
            do(place)
        except Unavailable as error:
            if self._board.problem(f"wishes in {place}", str(error)):
                fields = {"event": "wishes-unavailable", "store": place, "reason": str(error)}
                log.warning("wishes of operators elsewhere cannot be seen", extra=fields)
            return False
        self._board.problem(f"wishes in {place}", None)
        return True
