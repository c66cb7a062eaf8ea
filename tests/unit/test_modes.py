from __future__ import annotations

import logging
from pathlib import Path

import pytest
from agent.board import Board, Mode
from agent.modes import FILE, load_mode, save_mode

READY = Mode("ready")


@pytest.mark.parametrize(
    "mode", [Mode("paused", "a disk is changed", 12.5), Mode("draining"), Mode("paused", None, 0.0)]
)
@pytest.mark.parametrize("faulty", [False, True])
def test_an_operators_wish_survives_a_restart(tmp_path: Path, mode: Mode, faulty: bool) -> None:
    save_mode(tmp_path, mode)
    assert load_mode(tmp_path, faulty=faulty) == mode


def test_a_faulty_host_is_not_mended_by_a_restart(tmp_path: Path) -> None:
    faulty = Mode("faulty", "three jobs failed", 1.0)
    save_mode(tmp_path, faulty)
    assert load_mode(tmp_path) == faulty
    assert load_mode(tmp_path, faulty=False) == READY


@pytest.mark.parametrize("mode", [Mode("ready", None, 12.5), Mode("starting")])
def test_what_the_agent_found_out_itself_does_not(tmp_path: Path, mode: Mode) -> None:
    save_mode(tmp_path, Mode("paused"))
    save_mode(tmp_path, mode)
    assert load_mode(tmp_path) == READY


def test_a_new_agent_is_ready(tmp_path: Path) -> None:
    assert load_mode(tmp_path) == READY


@pytest.mark.parametrize(
    "rest", [b"", b"{", b"[]", b'{"name":"asleep"}', b'{"name":"paused","reason":"\xff"}', b"\0" * 100]
)
def test_what_cannot_be_read_is_told_and_does_not_keep_the_agent_down(
    tmp_path: Path, rest: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(rest)
    assert load_mode(tmp_path) == READY
    assert [getattr(record, "event", None) for record in caplog.records] == ["mode-unreadable"]


def test_a_directory_in_its_place_is_told_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE).mkdir()
    assert load_mode(tmp_path) == READY
    save_mode(tmp_path, Mode("paused"))
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]
    assert (tmp_path / FILE).is_dir()


def test_keys_of_a_later_release_are_ignored(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"name":"paused","reason":"x","until":5}')
    assert load_mode(tmp_path) == Mode("paused", "x")


def test_only_whole_files_take_the_place(tmp_path: Path) -> None:
    save_mode(tmp_path, Mode("paused", "first"))
    (tmp_path / FILE).with_suffix(".new").mkdir()
    save_mode(tmp_path, Mode("draining", "second"))
    assert load_mode(tmp_path) == Mode("paused", "first")


def test_the_board_tells_every_change(tmp_path: Path) -> None:
    board = Board(lambda mode: save_mode(tmp_path, mode))
    board.set_mode(Mode("paused", "note", 1.0))
    assert load_mode(tmp_path) == board.mode
    board.set_mode(READY)
    assert load_mode(tmp_path) == READY
