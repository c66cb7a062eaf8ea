from __future__ import annotations

import random
import re
import time

import pytest
from agent.model.pattern import MOST_CHARACTERS, MOST_INSTRUCTIONS, PatternError, compiled, found_in

_SECONDS = 2.0  # of this process; what tries all ways takes longer than anybody waits
_PATTERNS = (
    "^tegra[0-9]+$",
    "^(tegra234|tegra264)$",
    "a|b",
    "(a|b)*c$",
    "(a*)*b",
    "x{2,3}y",
    "a{2}",
    "a{2,}",
    "a{,2}b$",
    "",
    "^$",
    "^a|b$",
    "(?:ab)?c",
    "a??b",
    "a+?b",
    "[^a-c]+",
    "[]a]",
    "[a\\]-]",
    "[\\w.-]x",
    "\\d+\\.\\d",
    "\\D\\S\\W",
    "\\^\\$",
    "a.b",
    "{a",
    "a{",
    "a{x}b",
    "()",
    "(|a)b",
)


def matches(pattern: str, text: str) -> bool:
    return found_in(compiled(pattern), text)


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_what_is_known_means_what_it_means_everywhere(pattern: str) -> None:
    dice = random.Random(pattern)
    reference = re.compile(pattern.replace("\\$", "@@").replace("$", "\\Z").replace("@@", "\\$"))
    for _ in range(500):
        text = "".join(dice.choices("aabbcx12. {}-]^$\n", k=dice.randint(0, 8)))
        assert matches(pattern, text) == bool(reference.search(text)), text


def test_random_patterns_mean_what_they_mean_everywhere() -> None:
    dice = random.Random(1)
    compared = 0
    for _ in range(20_000):
        pattern = "".join(dice.choices("ab.|()*+?^{2}", k=dice.randint(1, 7)))
        try:
            program, reference = compiled(pattern), re.compile(pattern)
        except (PatternError, re.error):
            continue
        compared += 1
        for text in ("", "a", "ab", "aab", "bb2", "^(", "{2}"):
            assert found_in(program, text) == bool(reference.search(text)), (pattern, text)
    assert compared > 3000


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", 'missing ")"'),
        (")", 'unbalanced ")"'),
        ("[a", 'missing "]"'),
        ("[z-a]", '"z-a" is no range'),
        ("*a", 'nothing before "*" to repeat'),
        ("a**", "one repetition after another"),
        ("a{3,1}", '"{3,1}" is no repetition'),
        (r"(a)\1", r'"\1" is not known'),
        (r"\bNano\b", r'"\b" is not known'),
        ("a\\", '"\\" is not known'),
        ("(?=a)", '"(?" is known as "(?:" only'),
        ("(?i)orin", '"(?" is known as "(?:" only'),
        ("(" * 30 + ")" * 30, "groups in groups"),
        ("a" * (MOST_CHARACTERS + 1), f"{MOST_CHARACTERS + 1} characters"),
        ("a{9999999999}", f"more than {MOST_INSTRUCTIONS} times"),
        ("((a{50}){50}){50}", f"more than {MOST_INSTRUCTIONS} steps"),
    ],
)
def test_what_is_not_known_or_too_much_is_refused_and_named(pattern: str, reason: str) -> None:
    with pytest.raises(PatternError) as caught:
        compiled(pattern)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "^(a|a)*$", "(.*)*(.*)*x", "(a?){80}a{80}$", "(x+x+)+y", ".*.*.*.*.*.*.*=", "((a*)*)*b"]
)
def test_no_pattern_takes_more_time_than_the_text_is_long(pattern: str) -> None:
    program = compiled(pattern)
    before = time.process_time()
    for text in ("a" * 100_000 + "!", "x" * 100_000, "a" * 40 + "!"):
        found_in(program, text)
    assert time.process_time() - before < _SECONDS
