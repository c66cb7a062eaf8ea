from __future__ import annotations

from pathlib import Path

from agent.studioml.memory import FILE, Memory, Notes


def test_notes_are_there_for_the_next_life_of_the_agent(tmp_path: Path) -> None:
    Memory(tmp_path, lambda: "host-1").note(lines=7, started=True)
    assert Memory(tmp_path, lambda: "host-2").notes == Notes("host-1", 7, True)


def test_a_name_is_made_for_an_attempt_without_notes_only(tmp_path: Path) -> None:
    made: list[str] = []

    def name() -> str:
        made.append("host-1")
        return "host-1"

    for _ in range(3):
        assert Memory(tmp_path, name).notes.accession == "host-1"
    assert len(made) == 1


def test_damaged_notes_are_begun_anew(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"accession": ')
    assert Memory(tmp_path, lambda: "host-2").notes == Notes("host-2")
    assert Memory(tmp_path, lambda: "host-3").notes == Notes("host-2")


def test_without_a_directory_notes_last_as_long_as_the_agent(tmp_path: Path) -> None:
    for directory in (None, tmp_path / "gone"):
        memory = Memory(directory, lambda: "host-1")
        memory.note(ended=True)
        assert memory.notes == Notes("host-1", ended=True)
    assert not (tmp_path / "gone").exists()


def test_nothing_is_left_beside_the_notes(tmp_path: Path) -> None:
    Memory(tmp_path, lambda: "host-1").note(lines=1)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
