from __future__ import annotations

import base64
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from agent.adapters.key_files import KeyFiles
from agent.errors import HostFault
from agent.signing import load_signer
from agent.studioml.envelope import seal
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from nacl.signing import SigningKey

from tests.studioml_keys import private_key, private_pem, public_pem, signer_line

PRIVATE = private_pem(private_key("request"))
OTHER_PRIVATE = private_pem(private_key("report"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("opening", "signers", "reports"):
        (tmp_path / name).mkdir()
    return tmp_path


def put(path: Path, content: bytes, mode: int = 0o600) -> None:
    path.write_bytes(content)
    path.chmod(mode)


def signer(number: int) -> tuple[bytes, bytes]:
    """A line of OpenSSH, and the key in it."""
    key = bytes(SigningKey(bytes([number]) * 32).verify_key)
    wire = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", key))
    return b"ssh-ed25519 %s somebody\n" % base64.b64encode(wire), key


def number_of(key: object) -> int:
    """The modulus: two keys are the same when it is."""
    assert isinstance(key, RSAPrivateKey | RSAPublicKey)
    public = key.public_key() if isinstance(key, RSAPrivateKey) else key
    return public.public_numbers().n


def test_a_directory_that_is_not_there_has_no_keys(tmp_path: Path) -> None:
    keys = KeyFiles(tmp_path / "nothing")
    assert (keys.opening("lab"), keys.signer("lab"), keys.reports("lab")) == (None, None, None)


def test_each_kind_of_key_has_its_folder(folder: Path) -> None:
    put(folder / "opening/lab.pem", PRIVATE)
    put(folder / "signers/lab.pub", signer_line())
    put(folder / "reports/lab.pem", public_pem(private_key("report")))
    keys = KeyFiles(folder)
    assert number_of(keys.opening("lab")) == number_of(private_key("request"))
    assert keys.signer("lab") == load_signer(signer_line())
    assert number_of(keys.reports("lab")) == number_of(private_key("report"))
    assert seal(keys.reports("lab"), b"report")


def test_the_longest_prefix_of_the_queues_name_wins(folder: Path) -> None:
    for number, prefix in enumerate(("_any", "gpu", "gpu_lab", "gpu.v2")):
        put(folder / f"signers/{prefix}.pub", signer(number)[0])
    keys = KeyFiles(folder)
    found = {queue: keys.signer(queue) for queue in ("cpu", "gpu", "gpu_labs", "gpu_la", "gpu.v2", "gp", "")}
    assert found == {
        "cpu": signer(0)[1],
        "gpu": signer(1)[1],
        "gpu_labs": signer(2)[1],
        "gpu_la": signer(1)[1],
        "gpu.v2": signer(3)[1],
        "gp": signer(0)[1],
        "": signer(0)[1],
    }


def test_a_queue_that_no_prefix_fits_has_no_key(folder: Path) -> None:
    put(folder / "signers/gpu.pub", signer(1)[0])
    put(folder / "signers/README", b"not a key")
    put(folder / "signers/.pub", b"hidden, and no prefix")
    assert KeyFiles(folder).signer("lab") is None


def test_keys_that_come_change_and_go_are_seen_by_the_next_message(folder: Path) -> None:
    keys, path = KeyFiles(folder), folder / "signers/lab.pub"
    assert keys.signer("lab") is None
    put(path, signer(1)[0])
    assert keys.signer("lab") == signer(1)[1]
    put(path, signer(2)[0])
    assert keys.signer("lab") == signer(2)[1]
    put(folder / "new", signer(3)[0])
    (folder / "new").replace(path)
    assert keys.signer("lab") == signer(3)[1]
    path.unlink()
    assert keys.signer("lab") is None


def test_a_change_is_seen_that_leaves_time_and_size_as_they_were(folder: Path) -> None:
    path = folder / "signers/lab.pub"
    put(path, signer(1)[0])
    keys = KeyFiles(folder)
    assert keys.signer("lab") == signer(1)[1]
    before = path.stat()
    put(path, signer(2)[0])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys.signer("lab") == signer(2)[1]


def test_a_key_is_read_once_as_long_as_nothing_changes(folder: Path) -> None:
    put(folder / "opening/lab.pem", PRIVATE)
    keys = KeyFiles(folder)
    first = keys.opening("lab")
    assert keys.opening("lab") is first
    put(folder / "opening/other.pem", OTHER_PRIVATE)
    assert keys.opening("lab") is not first


def test_keys_behind_links_that_are_switched_together_are_seen(folder: Path) -> None:
    """A cluster shows secrets like this: names are links into a directory that is replaced as a whole."""
    for number in (1, 2):
        (folder / f"version{number}").mkdir()
        put(folder / f"version{number}/lab.pub", signer(number)[0])
    (folder / "signers/..data").symlink_to(folder / "version1")
    (folder / "signers/lab.pub").symlink_to("..data/lab.pub")
    keys = KeyFiles(folder)
    assert keys.signer("lab") == signer(1)[1]
    (folder / "signers/new").symlink_to(folder / "version2")
    (folder / "signers/new").replace(folder / "signers/..data")
    assert keys.signer("lab") == signer(2)[1]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_an_encrypted_key_is_opened_by_the_passphrase_beside_it(folder: Path, end: bytes) -> None:
    put(folder / "opening/lab.pem", private_pem(private_key("request"), b" open sesame"))
    put(folder / "opening/lab.passphrase", b" open sesame" + end)
    assert number_of(KeyFiles(folder).opening("lab")) == number_of(private_key("request"))


def test_a_passphrase_that_is_put_right_is_tried_again(folder: Path) -> None:
    put(folder / "opening/lab.pem", private_pem(private_key("request"), b"right"))
    put(folder / "opening/lab.passphrase", b"wrong")
    keys = KeyFiles(folder)
    with pytest.raises(HostFault, match=r"opening/lab\.pem: .*wrong passphrase"):
        keys.opening("lab")
    put(folder / "opening/lab.passphrase", b"right")
    assert keys.opening("lab") is not None


def test_a_key_that_cannot_be_used_is_the_hosts_fault_and_is_named_with_the_remedy(folder: Path) -> None:
    put(folder / "opening/_any.pem", PRIVATE)
    put(folder / "opening/lab.pem", b"no key")
    put(folder / "signers/lab.pub", b"no key")
    put(folder / "reports/lab.pem", b"no key")
    keys = KeyFiles(folder)
    for ask, name in ((keys.opening, "opening/lab.pem"), (keys.signer, "signers/lab.pub"), (keys.reports, "reports/")):
        with pytest.raises(HostFault, match=f"{folder}/{name}.*ssh-keygen.*replace or remove"):
            ask("lab_queue")
    assert keys.opening("other") is not None


def test_what_cannot_be_read_is_the_hosts_fault(folder: Path) -> None:
    (folder / "opening/lab.pem").mkdir()
    (folder / "signers/lab.pub").symlink_to("nothing")
    keys = KeyFiles(folder)
    with pytest.raises(HostFault, match=r"opening/lab\.pem: Is a directory; the agent must be able to read"):
        keys.opening("lab")
    with pytest.raises(HostFault, match=r"signers/lab\.pub: No such file"):
        keys.signer("lab")
    (folder / "reports").rmdir()
    put(folder / "reports", b"")
    with pytest.raises(HostFault, match="reports: Not a directory"):
        keys.reports("lab")


def test_a_private_key_that_others_may_read_is_used_and_warned_of_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder / "opening/lab.pem", private_pem(private_key("request"), b"word"), 0o644)
    put(folder / "opening/lab.passphrase", b"word", 0o640)
    put(folder / "signers/lab.pub", signer_line(), 0o644)
    keys = KeyFiles(folder)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert keys.opening("lab") is not None
            keys.signer("lab")
            put(folder / "opening/other", b"")
    warned = [record.__dict__["path"] for record in caplog.records]
    assert sorted(warned) == [str(folder / "opening/lab.passphrase"), str(folder / "opening/lab.pem")]


def test_a_private_key_of_its_owner_alone_is_not_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(folder / "opening/lab.pem", PRIVATE, 0o400)
    with caplog.at_level(logging.WARNING):
        assert KeyFiles(folder).opening("lab") is not None
    assert not caplog.records


def test_many_may_ask_while_a_key_is_replaced(folder: Path) -> None:
    path = folder / "signers/lab.pub"
    put(path, signer(0)[0])
    keys = KeyFiles(folder)

    def ask(_: int) -> bytes | None:
        return keys.signer("lab")

    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(ask, range(400))
        for number in range(1, 20):
            put(folder / "new", signer(number)[0])
            (folder / "new").replace(path)
        assert set(asked) <= {signer(number)[1] for number in range(20)}
    assert keys.signer("lab") == signer(19)[1]
