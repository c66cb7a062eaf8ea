"""The words of a command line, quoted by some clients for a shell, by others not."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from agent.errors import Dropped
from agent.studioml.fields import Fields

MODULE = "-m"
# The kernel takes no single word that is longer, and not much more of all together.
LONGEST_WORD = 128 * 1024 - 1  # bytes
LONGEST_COMMAND = 1024**2  # bytes, with all variables

_SPACE = " \t\r\n"
_PIECE = re.compile(r"""[^ \t\r\n'"\\]+ | \\. | '[^']*' | "[^"\\]*(?:\\.[^"\\]*)*" """, re.DOTALL | re.VERBOSE)
_IN_QUOTES = re.compile(r'\\(["\\])')


def command(experiment: Fields, python: str) -> tuple[str, ...]:
    """Return the command of an experiment: the interpreter, its script or module, the arguments. Raises Dropped.

    The script is one below the workspace, which is the working directory. Nothing of it ever meets a shell.
    """
    words = _words(experiment)
    script = experiment.text("filename")
    if script is None:
        raise experiment.wrong("filename", 'a script in the workspace, such as "train.py"')
    if script == MODULE:
        if not words or not words[0]:
            raise experiment.wrong("args", 'for the file name "-m" the first one names the module')
        return (python, MODULE, *words)
    inside = posixpath.normpath(script)
    if posixpath.isabs(script) or inside == ".." or inside.startswith("../"):
        raise experiment.wrong("filename", "a script in the workspace")
    return (python, f"./{script}" if script.startswith("-") else script, *words)


def _words(experiment: Fields) -> tuple[str, ...]:
    args: Any = experiment["args"]
    if args is None:
        return ()
    if not isinstance(args, list):
        raise experiment.wrong("args", "a list of texts")
    return tuple(unquoted(each if isinstance(each, str) else str(each)) for each in args)


def unquoted(argument: str) -> str:
    """Return what a shell makes of an argument that is exactly one word to it; any other stays as it is."""
    text = argument.lstrip(_SPACE)
    pieces, position = [], 0
    while position < len(text):
        piece = _PIECE.match(text, position)
        if piece is None:
            if text[position:].strip(_SPACE):
                return argument
            break
        pieces.append(_bare(piece[0]))
        position = piece.end()
    return "".join(pieces) if pieces else argument


def _bare(piece: str) -> str:
    if piece[0] == "'":
        return piece[1:-1]
    if piece[0] == '"':
        return _IN_QUOTES.sub(r"\1", piece[1:-1])
    return piece[1:] if piece[0] == "\\" else piece


def check_length(words: tuple[str, ...], variables: dict[str, str]) -> None:
    """Raise Dropped for a command that no kernel would start."""
    texts = [*words, *(f"{name}={value}" for name, value in variables.items())]
    lengths = [len(text.encode()) for text in texts]
    if max(lengths, default=0) > LONGEST_WORD:
        raise Dropped(f"an argument or variable of {max(lengths)} bytes", hint=f"at most {LONGEST_WORD} bytes each")
    if sum(lengths) > LONGEST_COMMAND:
        raise Dropped(f"arguments and variables of {sum(lengths)} bytes", hint=f"at most {LONGEST_COMMAND} bytes")
