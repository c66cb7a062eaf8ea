"""ArtifactStore: the fake, a directory, S3 by own and by brought rights, Cloud Storage, and a web server."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from agent.adapters.files import FileArtifacts
from agent.adapters.files.artifacts import path_of
from agent.adapters.files.errors import REMEDIES
from agent.adapters.gcs import GcsArtifacts, connector
from agent.adapters.http import HttpArtifacts
from agent.adapters.http.pool import make_guarded_pool
from agent.adapters.s3 import S3Artifacts
from agent.adapters.s3.brought import BroughtArtifacts, BroughtClients
from agent.errors import ArtifactMissing, InvalidInput, StoreUnavailable
from agent.model.cargo import Access
from agent.ports import ArtifactStore

from tests.contract.refused_calls import refusing
from tests.contract.web_server import WebServer
from tests.fakes import FakeArtifacts
from tests.proxy import Proxy
from tests.servers import FakeGcs, Minio


class World(NamedTuple):
    """A store, the URI below which it may write, a URI of another store, and how to break it."""

    store: ArtifactStore
    base: str
    foreign: str
    break_down: Callable[[], None]


def memory_world() -> World:
    store = FakeArtifacts()
    return World(store, "mem://store", "file:///etc/passwd", lambda: setattr(store, "down", True))


def directory_world(root: Path) -> World:
    def unmount() -> None:
        root.rename(root.with_name("unmounted"))

    root.mkdir()
    return World(FileArtifacts([root]), f"file://{root}", "mem://store/a", unmount)


def s3_world(minio: Minio, bucket: str) -> Iterator[World]:
    with Proxy(minio.port) as proxy:
        client = minio.client(endpoint=f"http://127.0.0.1:{proxy.port}")
        base = f"s3://{bucket}/lab/results"
        yield World(S3Artifacts(client, [base]), base, f"s3://{bucket}/lab/resultsx/a", proxy.cut)


def gcs_world(gcs: FakeGcs, bucket: str) -> Iterator[World]:
    with Proxy(gcs.port) as proxy:
        base = f"gs://{bucket}/lab/results"
        store = GcsArtifacts(connector(f"http://127.0.0.1:{proxy.port}"), [base])
        yield World(store, base, f"gs://{bucket}/lab/resultsx/a", proxy.cut)


def brought_world(minio: Minio, bucket: str) -> Iterator[World]:
    with Proxy(minio.port) as proxy:
        server = f"s3+http://127.0.0.1:{proxy.port}/{bucket}"
        keys = Access(access_key=minio.access_key, secret_key=minio.secret_key)
        store = BroughtArtifacts(BroughtClients(make_guarded_pool()), [f"{server}/lab"], keys)
        yield World(store, f"{server}/lab/results", f"{server}/labx/a", proxy.cut)


def web_world() -> Iterator[World]:
    with WebServer() as server, Proxy(server.port) as proxy:
        base = f"http://127.0.0.1:{proxy.port}/lab/results"
        store = HttpArtifacts(make_guarded_pool(), [base], Access())
        yield World(store, base, f"http://127.0.0.1:{proxy.port}/lab/resultsx/a", proxy.cut)


@pytest.fixture(params=["memory", "directory", "s3", "brought", "gcs", "web"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "s3":
        yield from s3_world(request.getfixturevalue("minio"), request.getfixturevalue("bucket"))
    elif request.param == "brought":
        yield from brought_world(request.getfixturevalue("minio"), request.getfixturevalue("bucket"))
    elif request.param == "web":
        yield from web_world()
    elif request.param == "gcs":
        yield from gcs_world(request.getfixturevalue("gcs"), request.getfixturevalue("gcs_bucket"))
    else:
        yield memory_world() if request.param == "memory" else directory_world(tmp_path / "store")


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def content(store: ArtifactStore, uri: str) -> bytes:
    with store.open(uri) as stream:
        return stream.read()


@pytest.mark.parametrize("chunks", [[], [b""], [b"one"], [b"a" * 1_000_003] * 5])
def test_an_artifact_comes_back_as_it_was_written(world: World, chunks: list[bytes]) -> None:
    uri = f"{world.base}/sid/attempts/1/out/model.bin"
    world.store.write(uri, iter(chunks))
    assert content(world.store, uri) == b"".join(chunks)
    found = world.store.stat(uri)
    assert found is not None
    assert found.size == sum(map(len, chunks))


def test_other_content_of_the_same_size_is_another_version(world: World) -> None:
    """Where a store can tell; what is kept of an artifact is good for one version."""
    uri = f"{world.base}/a"
    versions = []
    for written in (b"one", b"two"):
        world.store.write(uri, [written])
        first, again = world.store.stat(uri), world.store.stat(uri)
        assert first is not None
        assert first == again
        versions.append(first.version)
    assert versions[0] != versions[1] or versions == [None, None]


def test_an_artifact_can_be_read_in_pieces(world: World) -> None:
    world.store.write(f"{world.base}/a", [b"0123456789"])
    with world.store.open(f"{world.base}/a") as stream:
        assert [stream.read(4), stream.read(4), stream.read(4), stream.read(4)] == [b"0123", b"4567", b"89", b""]


def test_what_was_never_written_is_missing(world: World) -> None:
    world.store.write(f"{world.base}/a", [b"a file, no directory"])
    for uri in (f"{world.base}/none", f"{world.base}/no/where", f"{world.base}/a/below"):
        assert world.store.stat(uri) is None
        with pytest.raises(ArtifactMissing, match=re.escape(uri)):
            world.store.open(uri)
        with pytest.raises(ArtifactMissing, match=re.escape(uri)):
            world.store.copy(uri, f"{world.base}/copy")
    assert world.store.stat(f"{world.base}/copy") is None


def test_write_replaces(world: World) -> None:
    uri = f"{world.base}/a"
    world.store.write(uri, [b"a longer artifact"])
    world.store.write(uri, [b"short"])
    assert content(world.store, uri) == b"short"


def test_who_reads_while_it_is_replaced_keeps_what_was_opened(world: World) -> None:
    uri = f"{world.base}/a"
    world.store.write(uri, [b"old"])
    with world.store.open(uri) as stream:
        world.store.write(uri, [b"new"])
        assert stream.read() == b"old"


def broken() -> Iterator[bytes]:
    yield b"a first part"
    raise ConnectionResetError("the source went away")


def test_a_write_whose_source_fails_leaves_nothing(world: World) -> None:
    with pytest.raises(ConnectionResetError):
        world.store.write(f"{world.base}/a/b", broken())
    assert world.store.stat(f"{world.base}/a/b") is None


def test_a_write_whose_source_fails_leaves_what_was_there(world: World) -> None:
    world.store.write(f"{world.base}/a", [b"old"])
    with pytest.raises(ConnectionResetError):
        world.store.write(f"{world.base}/a", broken())
    assert content(world.store, f"{world.base}/a") == b"old"


def test_an_artifact_appears_only_when_it_is_complete(world: World) -> None:
    uri = f"{world.base}/a"

    def chunks() -> Iterator[bytes]:
        yield b"first"
        assert world.store.stat(uri) is None
        yield b"second"

    world.store.write(uri, chunks())
    assert content(world.store, uri) == b"firstsecond"


def test_copy_copies_and_replaces(world: World) -> None:
    source, target = f"{world.base}/source", f"{world.base}/some/where/target"
    world.store.write(source, [b"x" * 3_000_000])
    world.store.copy(source, target)
    assert content(world.store, target) == b"x" * 3_000_000
    world.store.write(source, [b"changed"])
    world.store.copy(source, target)
    assert content(world.store, target) == b"changed"
    world.store.copy(target, target)
    assert content(world.store, target) == b"changed"


def test_of_many_writers_one_artifact_stays_whole(world: World) -> None:
    def write(letter: int) -> None:
        world.store.write(f"{world.base}/new/a", [bytes([letter]) * 100_000] * 3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(97, 105)))
    found = content(world.store, f"{world.base}/new/a")
    assert found == found[:1] * 300_000


@pytest.mark.parametrize("name", ["with%20space", "100%25", "n%C3%A4me", "%3Fa%23b", "a+b=c@d,e", "...", "x" * 250])
def test_names_may_be_percent_encoded(world: World, name: str) -> None:
    world.store.write(f"{world.base}/{name}", [b"content"])
    assert content(world.store, f"{world.base}/{name}") == b"content"


def test_a_uri_of_another_store_is_refused(world: World) -> None:
    inside = f"{world.base}/a"
    world.store.write(inside, [b""])
    for call in (
        lambda: world.store.stat(world.foreign),
        lambda: world.store.open(world.foreign),
        lambda: world.store.write(world.foreign, [b""]),
        lambda: world.store.copy(world.foreign, inside),
        lambda: world.store.copy(inside, world.foreign),
    ):
        with pytest.raises(InvalidInput, match=re.escape(world.foreign)):
            call()


def test_every_call_says_so_when_the_store_is_away(world: World) -> None:
    inside = f"{world.base}/a"
    world.store.write(inside, [b""])
    world.break_down()
    for call in (
        lambda: world.store.stat(inside),
        lambda: world.store.open(inside),
        lambda: world.store.write(inside, [b""]),
        lambda: world.store.copy(inside, f"{world.base}/b"),
    ):
        with pytest.raises(StoreUnavailable):
            call()


# --- what only a directory can do ---


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "store/inner").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    return tmp_path / "store"


def test_a_uri_names_the_decoded_path() -> None:
    assert path_of("file:///srv/a%20b/100%25/n%C3%A4me") == Path("/srv/a b/100%/näme")
    assert path_of("file://localhost/srv/a") == Path("/srv/a")
    assert os.fsencode(path_of("file:///srv/%FF")) == b"/srv/\xff"


@pytest.mark.parametrize(
    "below", ["../outside/secret", "%2e%2e/outside/secret", "inner/../../outside/secret", "inner%2Fa", "a%00b"]
)
def test_a_path_that_climbs_is_refused(root: Path, below: str) -> None:
    for call in (FileArtifacts([root]).stat, FileArtifacts([root]).open):
        with pytest.raises(InvalidInput, match="no plain absolute path"):
            call(f"file://{root}/{below}")


@pytest.mark.parametrize("uri", ["file://server/srv/a", "/srv/a", "file:srv/a", "http://x/srv/a", ""])
def test_what_is_no_file_uri_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match=r"no file URI of this host|no plain absolute path"):
        FileArtifacts([Path("/")]).stat(uri)


@pytest.mark.parametrize("uri", ["file:///srv/a?b", "file:///srv/a#b", "file:///srv/a?"])
def test_a_query_is_not_silently_cut_off(uri: str) -> None:
    with pytest.raises(InvalidInput, match="write %3F"):
        FileArtifacts([Path("/")]).stat(uri)


@pytest.mark.parametrize("path", ["/etc/passwd", "{root}x/a", "{parent}", "/"])
def test_a_path_outside_the_roots_is_refused(root: Path, path: str) -> None:
    uri = "file://" + path.format(root=root, parent=root.parent)
    with pytest.raises(InvalidInput, match=f"outside the allowed directories .allowed: {root}"):
        FileArtifacts([root]).write(uri, [b""])


def test_without_roots_nothing_is_allowed(root: Path) -> None:
    with pytest.raises(InvalidInput, match="allowed: none"):
        FileArtifacts([]).stat(f"file://{root}/a")


def test_the_root_itself_is_no_artifact(root: Path) -> None:
    assert FileArtifacts([root]).stat(f"file://{root}") is None
    with pytest.raises(InvalidInput, match="is a directory"):
        FileArtifacts([root]).write(f"file://{root}", [b""])


def test_several_roots_are_one_store(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    store = FileArtifacts([tmp_path / "one", tmp_path / "two"])
    store.write(f"file://{tmp_path}/one/a", [b"content"])
    store.copy(f"file://{tmp_path}/one/a", f"file://{tmp_path}/two/a")
    assert (tmp_path / "two/a").read_bytes() == b"content"


def test_a_symbolic_link_does_not_lead_out_when_reading(root: Path) -> None:
    (root / "file").symlink_to("../outside/secret")
    (root / "dir").symlink_to("../outside")
    (root / "device").symlink_to("/dev/null")
    store = FileArtifacts([root])
    for name in ("file", "dir/secret", "device"):
        for call in (store.stat, store.open):
            with pytest.raises(InvalidInput, match="leads out of the allowed directories"):
                call(f"file://{root}/{name}")
        with pytest.raises(InvalidInput, match="leads out of the allowed directories"):
            store.copy(f"file://{root}/{name}", f"file://{root}/copy")


def test_a_symbolic_link_does_not_lead_out_when_writing(root: Path) -> None:
    (root / "dir").symlink_to("../outside")
    (root / "file").symlink_to("../outside/secret")
    store = FileArtifacts([root])
    for name in ("dir/new", "dir/made/new"):
        with pytest.raises(InvalidInput, match="leads out of the allowed directories"):
            store.write(f"file://{root}/{name}", [b"no"])
    assert names_in(root.parent / "outside") == ["secret"]
    store.write(f"file://{root}/file", [b"replaces the link"])
    assert (root.parent / "outside/secret").read_bytes() == b"secret"
    assert (root / "file").read_bytes() == b"replaces the link"


def test_a_symbolic_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "inner/a").write_bytes(b"content")
    (root / "link").symlink_to("inner")
    store = FileArtifacts([root])
    assert content(store, f"file://{root}/link/a") == b"content"
    store.write(f"file://{root}/link/b", [b"written"])
    assert (root / "inner/b").read_bytes() == b"written"


def test_a_root_may_be_reached_through_a_link_itself(root: Path) -> None:
    link = root.with_name("link")
    link.symlink_to(root)
    store = FileArtifacts([link])
    store.write(f"file://{link}/a/b", [b"content"])
    assert content(store, f"file://{link}/a/b") == b"content"


def test_a_directory_or_a_pipe_is_no_artifact(root: Path) -> None:
    os.mkfifo(root / "pipe")
    store = FileArtifacts([root])
    for name in ("inner", "pipe"):
        assert store.stat(f"file://{root}/{name}") is None
        with pytest.raises(ArtifactMissing):
            store.open(f"file://{root}/{name}")


FAILURES = [
    *[("write", number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)],
    *[("fsync", number) for number in (errno.ENOSPC, errno.EIO)],
    *[("create", number) for number in (errno.EROFS, errno.EACCES, errno.EMFILE)],
    *[("mkdir", number) for number in (errno.ENOSPC, errno.EROFS, errno.EACCES)],
    *[("rename", number) for number in (errno.EROFS, errno.ESTALE)],
]


@pytest.mark.parametrize(("call", "number"), FAILURES, ids=lambda each: errno.errorcode.get(each, each))
def test_a_write_that_fails_says_what_where_and_what_to_do(root: Path, call: str, number: int) -> None:
    store = FileArtifacts([root])
    with pytest.raises(StoreUnavailable) as caught:
        refusing({call: number}, lambda: store.write(f"file://{root}/new/a", [b"content"]))
    message = str(caught.value)
    assert message.startswith(f"{root}/new/a: {os.strerror(number).lower()}; ")
    assert message.endswith(REMEDIES[number])
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_a_copy_that_fails_says_so(root: Path) -> None:
    store = FileArtifacts([root])
    store.write(f"file://{root}/a", [b"content"])
    with pytest.raises(StoreUnavailable, match="/b: no space left on device; free some space"):
        refusing({"copy_file_range": errno.ENOSPC}, lambda: store.copy(f"file://{root}/a", f"file://{root}/b"))
    assert names_in(root) == ["a", "inner"]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_copy_works_where_the_kernel_cannot_copy(root: Path, number: int) -> None:
    store = FileArtifacts([root])
    store.write(f"file://{root}/a", [b"content" * 1_000_000])
    refusing({"copy_file_range": number}, lambda: store.copy(f"file://{root}/a", f"file://{root}/b"))
    assert (root / "b").read_bytes() == b"content" * 1_000_000


def test_a_disk_that_dies_while_an_artifact_is_read_is_no_end_of_file(root: Path) -> None:
    store = FileArtifacts([root])
    store.write(f"file://{root}/a", [b"content"])
    for size in (-1, 3):
        with store.open(f"file://{root}/a") as stream:
            reading = partial(stream.read, size)
            with pytest.raises(StoreUnavailable, match="/a: input/output error; check the disk"):
                refusing({"read": errno.EIO}, reading)


def test_parts_of_killed_writers_go_after_a_day(root: Path) -> None:
    old, new = root / ".edge-agent-part-old", root / ".edge-agent-part-new"
    for path in (old, new):
        path.write_bytes(b"half an artif")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    FileArtifacts([root]).write(f"file://{root}/a", [b"content"])
    assert names_in(root) == [new.name, "a", "inner"]
