from __future__ import annotations

import os
from pathlib import Path

import pytest
from agent.gpu.ldcache import PATH, Library, parse_ldcache

from tests.ldcache import AARCH64, I386, X86_64, ldcache

CUDA = Library("libcuda.so.1", "/lib/x86_64-linux-gnu/libcuda.so.1")
BOTH = ldcache([(X86_64, *CUDA), (I386, "libcuda.so.1", "/lib/i386-linux-gnu/libcuda.so.1")])


def test_libraries_for_programs_of_another_width_are_left_out() -> None:
    assert parse_ldcache(BOTH, "x86_64") == (CUDA,)
    assert parse_ldcache(ldcache([(AARCH64, *CUDA)]), "aarch64") == (CUDA,)
    assert parse_ldcache(BOTH, "aarch64") == ()


def test_of_two_with_one_name_the_first_counts() -> None:
    twice = ldcache([(X86_64, *CUDA), (X86_64, "libcuda.so.1", "/old/libcuda.so.1")])
    assert parse_ldcache(twice, "x86_64") == (CUDA,)


def test_the_table_may_stand_behind_one_in_the_old_form() -> None:
    assert parse_ldcache(b"ld.so-1.7.0\0" + b"\0" * 20 + BOTH, "x86_64") == (CUDA,)


@pytest.mark.parametrize("content", [b"", b"junk", b"glibc-ld.so.cache1.1", BOTH[:48]])
def test_a_broken_table_has_no_libraries(content: bytes) -> None:
    assert parse_ldcache(content, "x86_64") == ()


@pytest.mark.parametrize("length", range(48, len(BOTH), 7))
def test_a_table_that_is_cut_short_is_read_as_far_as_it_goes(length: int) -> None:
    assert len(parse_ldcache(BOTH[:length], "x86_64")) <= 1


def test_this_hosts_own_table_has_its_c_library() -> None:
    names = {each.name: each.path for each in parse_ldcache(Path(PATH).read_bytes(), os.uname().machine)}
    assert Path(names["libc.so.6"]).exists()
