from __future__ import annotations

from pathlib import Path

import pytest
from agent.adapters.local_image import build_image, make_root, parse_libraries
from agent.errors import RuntimeUnavailable
from agent.process import run

GLIBC = """\
\tlinux-vdso.so.1 (0x00007ffd)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)
"""
MUSL = """\
\t/lib/ld-musl-aarch64.so.1 (0xffff)
\tlibz.so.1 => /usr/lib/../lib/libz.so.1 (0xfffe)
\tlibc.musl-aarch64.so.1 => /lib/ld-musl-aarch64.so.1 (0xffff)
"""


def test_what_the_loaders_of_glibc_and_musl_list() -> None:
    assert parse_libraries(GLIBC) == ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2")
    assert set(parse_libraries(MUSL)) == {"/lib/ld-musl-aarch64.so.1", "/usr/lib/libz.so.1"}


def test_programs_of_the_root_are_run_by_what_lies_in_it(tmp_path: Path) -> None:
    make_root(tmp_path)
    for name in ("sh", "cat", "uname", "sleep", "ls", "env", "id", "true", "mkdir", "head", "sha256sum"):
        assert (tmp_path / "bin" / name).stat().st_mode & 0o111, name
    assert run([str(tmp_path / "bin" / "true")], 10).status == 0


def test_without_programs_on_the_path_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeUnavailable, match="no sh on PATH"):
        make_root(tmp_path / "root")


def test_a_runtime_that_is_missing_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"/no/apptainer cannot be started|mksquashfs"):
        build_image(tmp_path / "a.sif", "/no/apptainer")
    assert list(tmp_path.iterdir()) == []
