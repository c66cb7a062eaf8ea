"""System calls that the kernel really refuses to one thread, with an errno of the test's choice.

This gives full disks, dying disks and file systems without hard links on every machine and to every user.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class _Call(NamedTuple):
    """A system call by number; with flags, only when its third argument has one of them."""

    number: int
    flags: int = 0


# From the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_CALLS: dict[str, dict[str, tuple[_Call, ...]]] = {
    "x86_64": {
        "read": (_Call(0),),
        "write": (_Call(1),),
        "open": (_Call(257),),
        "create": (_Call(257, os.O_CREAT),),
        "list": (_Call(217),),
        "link": (_Call(86), _Call(265)),
        "rename": (_Call(82), _Call(264), _Call(316)),
        "renameat2": (_Call(316),),
        "unlink": (_Call(87), _Call(263)),
        "mkdir": (_Call(83), _Call(258)),
        "fsync": (_Call(74),),
        "fdatasync": (_Call(75),),
        "pwrite": (_Call(18),),
        "copy_file_range": (_Call(326),),
    },
    "aarch64": {
        "read": (_Call(63),),
        "write": (_Call(64),),
        "open": (_Call(56),),
        "create": (_Call(56, os.O_CREAT),),
        "list": (_Call(61),),
        "link": (_Call(37),),
        "rename": (_Call(38), _Call(276)),
        "renameat2": (_Call(276),),
        "unlink": (_Call(35),),
        "mkdir": (_Call(34),),
        "fsync": (_Call(82),),
        "fdatasync": (_Call(83),),
        "pwrite": (_Call(68),),
        "copy_file_range": (_Call(285),),
    },
}

_NO_NEW_PRIVS, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_NUMBER_AT, _THIRD_ARGUMENT_AT = 0, 32
_REFUSE, _ALLOW = 0x00050000, 0x7FFF0000


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("yes", ctypes.c_ubyte),
        ("no", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def refusing(calls: Mapping[str, int], function: Callable[[], T]) -> T:
    """Return what `function` returns in a thread for which the kernel answers each call with its errno."""
    with ThreadPoolExecutor(1, initializer=_refuse, initargs=(calls,)) as thread:
        return thread.submit(function).result()


def _refuse(calls: Mapping[str, int]) -> None:
    known = _CALLS[platform.machine()]
    code = [line for name, number in calls.items() for call in known[name] for line in _refusal(call, number)]
    code.append((_RETURN, 0, 0, _ALLOW))
    instructions = (_Instruction * len(code))(*(_Instruction(*line) for line in code))
    program = _Program(len(code), instructions)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "this kernel has no seccomp filters")


def _refusal(call: _Call, number: int) -> list[tuple[int, int, int, int]]:
    answer = (_RETURN, 0, 0, _REFUSE | number)
    if not call.flags:
        return [(_LOAD, 0, 0, _NUMBER_AT), (_IF_EQUAL, 0, 1, call.number), answer]
    flags = [(_LOAD, 0, 0, _THIRD_ARGUMENT_AT), (_IF_ANY_BIT, 0, 1, call.flags), answer]
    return [(_LOAD, 0, 0, _NUMBER_AT), (_IF_EQUAL, 0, 3, call.number), *flags]
