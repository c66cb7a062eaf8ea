"""Support bundles: nothing in them is a secret, and none is larger than it may be."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from agent import support
from agent.errors import InvalidInput
from agent.support import Bundle

KNOWN = 'known "quoted" secret'


def contents(bundle: Bundle, path: Path) -> dict[str, bytes]:
    bundle.save(path, 0)
    with tarfile.open(path) as archive:
        streams = {entry.name: archive.extractfile(entry) for entry in archive}
        return {name.removeprefix("edge-agent-support/"): stream.read() for name, stream in streams.items() if stream}


def test_secrets_are_masked_by_name_and_by_value_in_every_kind_of_member(tmp_path: Path) -> None:
    bundle = Bundle([KNOWN, "", "short"])
    bundle.add_json("a.json", {"password": "hunter2hunter2", "note": f"it is {KNOWN}", "url": "https://me:pw1@host/"})
    bundle.add_text("b.log", f"token=abcdefgh {KNOWN} short\n")
    bundle.add_file("c.txt", b"Authorization: Bearer abcdefghijklmnopqrst\n" + KNOWN.encode())
    bundle.add_file("d.bin", b"\xff\x00" + KNOWN.encode())
    found = contents(bundle, tmp_path / "b.tar.gz")
    together = b"\n".join(found.values())
    for secret in ("hunter2hunter2", "pw1", "abcdefgh", KNOWN, json.dumps(KNOWN)[1:-1]):
        assert secret.encode() not in together
    assert json.loads(found["a.json"])["note"] == "it is ***"
    assert b"short" in found["b.log"]  # too short to be told from what is no secret
    assert found["d.bin"] == b"\xff\x00***"


def test_a_secret_that_holds_another_one_is_masked_whole(tmp_path: Path) -> None:
    bundle = Bundle(["secret", "secret-and-more"])
    bundle.add_text("a", "secret-and-more")
    assert contents(bundle, tmp_path / "b.tar.gz") == {"a": b"***"}


def test_of_a_long_log_the_end_is_kept_and_the_listing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "MEMBER_BYTES", 10)
    bundle = Bundle()
    bundle.add_text("a.log", "the old lines, the end")
    assert contents(bundle, tmp_path / "b.tar.gz") == {"a.log": b"s, the end"}
    assert [tuple(member) for member in bundle.members] == [("a.log", 10, "the last 10 of 22 bytes")]


def test_what_would_make_it_too_large_is_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "BUNDLE_BYTES", 10)
    bundle = Bundle()
    bundle.add_text("a", "12345678")
    bundle.add_text("b", "12345678")
    bundle.add_text("c", "12")
    assert set(contents(bundle, tmp_path / "b.tar.gz")) == {"a", "c"}
    assert bundle.members[1].note == "left out: the bundle would be too large"


def test_the_file_is_new_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "b.tar.gz"
    Bundle().save(path, 0)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput, match=r"b\.tar\.gz: File exists"):
        Bundle().save(path, 0)
