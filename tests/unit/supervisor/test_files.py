from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent.supervisor import files


@pytest.mark.parametrize("durable", [True, False])
def test_record_is_written_with_its_version_and_read_again(tmp_path: Path, durable: bool) -> None:
    files.write_json(str(tmp_path), "a.json", {"x": 1}, durable=durable)
    files.write_json(str(tmp_path), "a.json", {"x": "ü"}, durable=durable)
    files.sync(str(tmp_path), "a.json")
    assert files.read_json(str(tmp_path), "a.json") == {"version": 1, "x": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o600


def test_missing_record_is_none(tmp_path: Path) -> None:
    assert files.read_json(str(tmp_path), "a.json") is None
    assert files.read_json(str(tmp_path / "gone"), "a.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]"])
def test_unreadable_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"/a\.json"):
        files.read_json(str(tmp_path), "a.json")


def test_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a.json" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError, match=r"a\.json"):
        files.write_json(str(tmp_path), "a.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_lock_has_one_owner_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    first = files.try_lock(path)
    assert first is not None
    assert files.try_lock(path) is None
    os.close(first)
    second = files.try_lock(path)
    assert second is not None
    os.close(second)
