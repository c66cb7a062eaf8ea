"""RecordStore: the fake, a directory, one on a file system without hard links, and S3."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier

import pytest
from agent.adapters.files import FileRecords
from agent.adapters.files.errors import REMEDIES
from agent.adapters.files.records import MAX_RECORD_BYTES
from agent.adapters.s3 import S3Records
from agent.errors import StoreUnavailable
from agent.ports import Clearing, Listing, RecordStore, Stored

from tests.contract.refused_calls import refusing
from tests.contract.s3_stores import AgingStore, public
from tests.fakes import FakeClock, FakeRecords
from tests.servers import Minio
from tests.waiting import wait_until

EMPTY = Listing({}, ())


class WithoutLinks:
    """A store whose every call meets a kernel that refuses hard links, as on FAT and exFAT."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    def put(self, key: str, body: bytes, *, create: bool = False) -> bool:
        return refusing({"link": errno.EPERM}, lambda: self._store.put(key, body, create=create))

    def get(self, key: str) -> Stored | None:
        return refusing({"link": errno.EPERM}, lambda: self._store.get(key))

    def list(self, prefix: str) -> Listing:
        return refusing({"link": errno.EPERM}, lambda: self._store.list(prefix))

    def delete(self, key: str) -> None:
        refusing({"link": errno.EPERM}, lambda: self._store.delete(key))


class World:
    """A store, the same store as another process sees it, and how to age and to break it.

    is_atomic: of several that create a record only one is told that it did.
    """

    def __init__(
        self,
        store: RecordStore,
        other: RecordStore,
        clearing: Clearing,
        age_everything: Callable[[float], None],
        break_down: Callable[[], None],
        *,
        is_atomic: bool = True,
    ) -> None:
        self.store = store
        self.other = other
        self.clearing = clearing
        self.age_everything = age_everything
        self.break_down = break_down
        self.is_atomic = is_atomic


def memory_world() -> World:
    clock = FakeClock()
    store = FakeRecords(clock)
    return World(store, store, store, clock.advance, lambda: setattr(store, "down", True))


def directory_world(root: Path, seen: Callable[[RecordStore], RecordStore] = lambda store: store) -> World:
    def age_everything(seconds: float) -> None:
        for path in root.rglob("*.json"):
            written = path.stat().st_mtime - seconds
            os.utime(path, (written, written))

    def unmount() -> None:
        root.rename(root.with_name("unmounted"))

    store, other = FileRecords.make(root), FileRecords(root)
    return World(seen(store), seen(other), store, age_everything, unmount)


def s3_world(minio: Minio, bucket: str, *, ignores_conditions: bool) -> Iterator[World]:
    with AgingStore(minio.port, ignores_conditions=ignores_conditions) as aging:
        public(minio, bucket)
        client = minio.client(endpoint=aging.endpoint)
        one, other = S3Records(client, bucket, "lab/queue"), S3Records(client, bucket, "lab/queue")
        yield World(one, other, one, aging.advance, aging.stop, is_atomic=not ignores_conditions)


@pytest.fixture(params=["memory", "directory", "directory without hard links", "s3", "s3 without conditional put"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param.startswith("s3"):
        minio, bucket = request.getfixturevalue("minio"), request.getfixturevalue("bucket")
        yield from s3_world(minio, bucket, ignores_conditions=request.param != "s3")
    else:
        yield local_world(request.param, tmp_path)


def local_world(kind: str, tmp_path: Path) -> World:
    if kind == "memory":
        return memory_world()
    seen = WithoutLinks if kind.endswith("without hard links") else (lambda store: store)
    return directory_world(tmp_path / "store", seen)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"a": 1}\n', bytes(range(256)) * 1000])
def test_a_record_comes_back_as_it_was_put(world: World, body: bytes) -> None:
    assert world.store.put("a/b/record", body)
    found = world.other.get("a/b/record")
    assert found is not None
    assert found.body == body


def test_there_is_no_record_before_it_is_put(world: World) -> None:
    assert world.store.get("a/b") is None
    assert world.store.get("a") is None


def test_put_replaces(world: World) -> None:
    assert world.store.put("a/b", b"long before")
    assert world.other.put("a/b", b"after")
    assert body_of(world.store, "a/b") == b"after"


def test_create_keeps_what_is_there(world: World) -> None:
    assert world.store.put("a/b", b"first", create=True)
    assert not world.other.put("a/b", b"second", create=True)
    assert not world.store.put("a/b", b"third", create=True)
    assert body_of(world.store, "a/b") == b"first"


def test_a_deleted_record_is_gone_and_can_be_created_again(world: World) -> None:
    world.store.put("a/b", b"first")
    world.other.delete("a/b")
    assert world.store.get("a/b") is None
    assert world.store.list("a/").records == {}
    assert world.store.put("a/b", b"second", create=True)


def test_deleting_what_is_not_there_does_nothing(world: World) -> None:
    world.store.put("a/b", b"kept")
    world.store.delete("a/c")
    world.store.delete("never/heard/of")
    assert body_of(world.store, "a/b") == b"kept"


def test_clearing_removes_what_lies_below_and_nothing_else(world: World) -> None:
    for key in ("a/b/c", "a/b/d/e", "a/bc", "a/b"):
        world.store.put(key, b"x")
    world.clearing.clear("a/b/")
    assert world.other.list("a/b/").records == {}
    assert sorted(world.other.list("a/").records) == ["b", "bc"]
    world.clearing.clear("a/b/")


def test_a_whole_store_is_never_cleared(world: World) -> None:
    world.store.put("a", b"x")
    with pytest.raises(ValueError, match="never cleared"):
        world.clearing.clear("")
    assert world.other.get("a") is not None


def test_of_sixteen_that_create_the_same_key_one_wins(world: World) -> None:
    keys = [f"race/{number}" for number in range(12)]
    start = Barrier(16)

    def race(runner: int) -> list[bool]:
        start.wait()
        store = world.store if runner % 2 else world.other
        return [store.put(key, b"%d" % runner, create=True) for key in keys]

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(race, range(16)))
    for number, key in enumerate(keys):
        winners = [runner for runner in range(16) if won[runner][number]]
        assert len(winners) == 1 or not world.is_atomic
        assert body_of(world.store, key) in [b"%d" % runner for runner in winners]


def test_readers_never_see_a_part_of_a_record(world: World) -> None:
    bodies = [bytes([letter]) * 200_000 for letter in b"ab"]
    world.store.put("a/b", bodies[0])
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [world.store.put("a/b", bodies[n % 2]) for n in range(20)])
        while not writing.done():
            assert body_of(world.other, "a/b") in bodies


def test_a_listing_has_the_direct_children_only(world: World) -> None:
    for key in ("top", "a/1", "a/2", "a/1/below", "a/b/c/deep", "ab/other"):
        world.store.put(key, b"{}")
    assert set(world.other.list("").records) == {"top"}
    assert world.other.list("").prefixes == ("a", "ab")
    assert list(world.other.list("a/").records) == ["1", "2"]
    assert world.other.list("a/").prefixes == ("1", "b")


def test_a_listing_of_nothing_is_empty(world: World) -> None:
    assert world.store.list("") == EMPTY
    assert world.store.list("a/b/") == EMPTY


def test_ages_count_from_the_last_put(world: World) -> None:
    world.store.put("a/b", b"{}")
    assert age_of(world.other, "a/b") < 5
    world.age_everything(100)
    world.store.put("a/new", b"{}")
    assert 100 <= age_of(world.other, "a/b") < 105
    assert 100 <= world.other.list("a/").records["b"] < 105
    assert world.other.list("a/").records["new"] < 5
    world.store.put("a/b", b"{}")
    assert age_of(world.store, "a/b") < 5
    assert world.other.list("a/").records["b"] < 5


def test_a_create_that_comes_too_late_does_not_make_the_record_younger(world: World) -> None:
    world.store.put("a/b", b"{}")
    world.age_everything(100)
    world.store.put("a/b", b"{}", create=True)
    assert age_of(world.store, "a/b") >= 100


@pytest.mark.parametrize("name", ["2026@host=1+x", "with space", "%2E%2Fquoted", "näme", "x" * 240, "3.json"])
def test_names_may_have_unusual_characters(world: World, name: str) -> None:
    world.store.put(f"a/{name}", b"{}")
    assert list(world.other.list("a/").records) == [name]
    assert world.other.get(f"a/{name}") is not None


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "..",
        "a/../b",
        ".tmp/x",
        "a/.x",
        "a\0b",
        "x" * 241,
        "y/" * 500 + "y",
        "a.json/b",
    ],
)
def test_a_key_that_is_none_is_a_programming_error(world: World, key: str) -> None:
    for call in (
        lambda: world.store.put(key, b""),
        lambda: world.store.get(key),
        lambda: world.store.delete(key),
    ):
        with pytest.raises(ValueError, match="not a record key"):
            call()


@pytest.mark.parametrize("prefix", ["a", "/", "../", "a//", "a/../"])
def test_a_prefix_that_is_none_is_a_programming_error(world: World, prefix: str) -> None:
    with pytest.raises(ValueError, match=r"not a (prefix|record key)"):
        world.store.list(prefix)


def test_every_call_says_so_when_the_store_is_away(world: World) -> None:
    world.store.put("a/b", b"{}")
    world.break_down()
    calls = (
        lambda: world.store.put("a/b", b""),
        lambda: world.store.put("a/b", b"", create=True),
        lambda: world.store.get("a/b"),
        lambda: world.store.list("a/"),
        lambda: world.store.delete("a/b"),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable):
            call()


# --- what only a directory can do ---


@pytest.fixture
def root(tmp_path: Path) -> Path:
    FileRecords.make(tmp_path / "store")
    return tmp_path / "store"


def test_a_directory_that_is_no_store_is_taken_for_an_unmounted_disk(tmp_path: Path) -> None:
    store = FileRecords(tmp_path)
    calls = (
        lambda: store.put("a/b", b""),
        lambda: store.get("a/b"),
        lambda: store.list("a/"),
        lambda: store.delete("a/b"),
    )
    for call in calls:
        with pytest.raises(StoreUnavailable, match=r"no record store is there .* mount the disk"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_making_a_store_again_keeps_what_is_in_it(root: Path) -> None:
    FileRecords(root).put("a/b", b"kept")
    assert body_of(FileRecords.make(root), "a/b") == b"kept"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_without_any_atomic_create_the_store_says_so(root: Path, number: int) -> None:
    store = FileRecords(root)
    calls = {"link": number, "renameat2": errno.EINVAL}
    with pytest.raises(StoreUnavailable, match="neither hard links nor a rename that never replaces"):
        refusing(calls, lambda: store.put("a/b", b"{}", create=True))
    assert store.get("a/b") is None
    assert list((root / ".tmp").iterdir()) == []


FAILURES = [
    *[("write", number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)],
    *[("fsync", number) for number in (errno.ENOSPC, errno.EIO, errno.EDQUOT)],
    *[("open", number) for number in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ESTALE)],
    *[("mkdir", number) for number in (errno.ENOSPC, errno.EROFS, errno.EACCES)],
    *[("rename", number) for number in (errno.EROFS, errno.EIO, errno.ESTALE)],
]


@pytest.mark.parametrize(("call", "number"), FAILURES, ids=lambda each: errno.errorcode.get(each, each))
def test_a_put_that_fails_says_what_where_and_what_to_do(root: Path, call: str, number: int) -> None:
    store = FileRecords(root)
    with pytest.raises(StoreUnavailable) as caught:
        refusing({call: number}, lambda: store.put("a/b", b"{}"))
    message = str(caught.value)
    assert message.startswith(f"{root}/a/b.json: {os.strerror(number).lower()}; ")
    assert message.endswith(REMEDIES[number])
    assert list((root / ".tmp").iterdir()) == []
    assert store.get("a/b") is None
    assert store.put("a/b", b"{}")


@pytest.mark.parametrize("call", ["open", "read"])
def test_a_get_that_fails_is_no_missing_record(root: Path, call: str) -> None:
    store = FileRecords(root)
    store.put("a/b", b"{}")
    with pytest.raises(StoreUnavailable, match=r"a/b.json: input/output error; check the disk"):
        refusing({call: errno.EIO}, lambda: store.get("a/b"))


@pytest.mark.parametrize("call", ["open", "list"])
def test_a_list_that_fails_is_no_empty_listing(root: Path, call: str) -> None:
    store = FileRecords(root)
    store.put("a/b", b"{}")
    with pytest.raises(StoreUnavailable, match=r"/a: stale file handle; check the share"):
        refusing({call: errno.ESTALE}, lambda: store.list("a/"))


def test_a_delete_that_fails_says_so(root: Path) -> None:
    store = FileRecords(root)
    store.put("a/b", b"{}")
    with pytest.raises(StoreUnavailable, match="read-only file system; mount it for writing"):
        refusing({"unlink": errno.EROFS}, lambda: store.delete("a/b"))


# The system retries the first by itself; the second means that there is no such record.
UNTRANSLATED = (errno.EINTR, errno.ENOENT)


def test_no_errno_of_the_kernel_gets_through_untranslated(root: Path) -> None:
    store = FileRecords(root)
    store.put("a/b", b"{}")
    for number in sorted(set(errno.errorcode) - set(UNTRANSLATED)):
        with pytest.raises(StoreUnavailable, match=r"a/b.json: .+; .+"):
            refusing({"open": number}, lambda: store.get("a/b"))


def test_a_full_or_read_only_disk_can_still_be_read(root: Path) -> None:
    FileRecords(root).put("a/b", b"{}")
    for number in (errno.EROFS, errno.ENOSPC, errno.EACCES):
        store = FileRecords(root)
        found = refusing({"create": number}, partial(store.get, "a/b"))
        assert found is not None
        assert found.age < 60
        assert list(refusing({"create": number}, partial(FileRecords(root).list, "a/")).records) == ["b"]


def test_what_is_no_record_is_not_listed(root: Path) -> None:
    store = FileRecords(root)
    store.put("a/real", b"{}")
    (root / "a/notes.txt").write_text("mine")
    (root / "a/.hidden.json").write_text("{}")
    (root / "a/.hidden").mkdir()
    (root / "a/folder.json").mkdir()
    (root / "a/link.json").symlink_to("real.json")
    (root / "a/away").symlink_to("/")
    assert list(store.list("a/").records) == ["real"]
    assert store.list("a/").prefixes == ()


def test_a_link_or_a_pipe_is_no_record(root: Path) -> None:
    store = FileRecords(root)
    store.put("a/real", b"{}")
    (root / "a/link.json").symlink_to("real.json")
    os.mkfifo(root / "a/pipe.json")
    with pytest.raises(StoreUnavailable, match=r"link.json: .*symbolic links"):
        store.get("a/link")
    with pytest.raises(StoreUnavailable, match=r"pipe.json: not a regular file"):
        store.get("a/pipe")


def test_a_record_beyond_all_measure_is_neither_read_nor_written(root: Path) -> None:
    store = FileRecords(root)
    store.put("a/b", b"{}")
    os.truncate(root / "a/b.json", MAX_RECORD_BYTES + 1)
    with pytest.raises(StoreUnavailable, match="too large"):
        store.get("a/b")
    with pytest.raises(StoreUnavailable, match="too large"):
        store.put("a/c", bytes(MAX_RECORD_BYTES + 1))


def test_leftovers_of_killed_writers_go_after_a_day(root: Path) -> None:
    old, new = root / ".tmp/old", root / ".tmp/new"
    for path in (old, new):
        path.write_bytes(b"half a rec")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    FileRecords(root)
    assert not old.exists()
    assert new.exists()


WRITER = """
import sys
from pathlib import Path
from agent.adapters.files import FileRecords
store = FileRecords(Path(sys.argv[1]))
n = 0
while True:
    store.put("a/b", bytes([97 + n % 26]) * 300_000)
    n += 1
"""


def test_a_writer_killed_at_any_moment_leaves_a_whole_record(root: Path) -> None:
    store, record = FileRecords(root), root / "a/b.json"
    for _ in range(3):
        record.unlink(missing_ok=True)
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)])
        wait_until(record.exists)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        body = body_of(store, "a/b")
        assert body == body[:1] * 300_000


def body_of(store: RecordStore, key: str) -> bytes:
    found = store.get(key)
    assert found is not None
    return found.body


def age_of(store: RecordStore, key: str) -> float:
    found = store.get(key)
    assert found is not None
    return found.age
