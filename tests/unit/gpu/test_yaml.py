from __future__ import annotations

import pytest
from agent.errors import InvalidInput
from agent.gpu.yaml import parse_yaml

# As `nvidia-ctk cdi generate` writes it, shortened.
WRITTEN = """\
---
cdiVersion: 0.5.0
containerEdits:
  deviceNodes:
  - path: /dev/nvidiactl
  env:
  - NVIDIA_VISIBLE_DEVICES=void
  hooks:
  - args:
    - nvidia-ctk
    - --link
    - libcuda.so.1::/usr/lib/libcuda.so
    hookName: createContainer
  mounts: []
devices:
- containerEdits:
    deviceNodes:
    - path: /dev/nvidia0
      permissions: rwm
  name: "0"
- name: 'it''s'
kind: nvidia.com/gpu
"""


def test_what_the_toolkit_writes_is_read() -> None:
    assert parse_yaml(WRITTEN) == {
        "cdiVersion": "0.5.0",
        "containerEdits": {
            "deviceNodes": [{"path": "/dev/nvidiactl"}],
            "env": ["NVIDIA_VISIBLE_DEVICES=void"],
            "hooks": [
                {
                    "args": ["nvidia-ctk", "--link", "libcuda.so.1::/usr/lib/libcuda.so"],
                    "hookName": "createContainer",
                }
            ],
            "mounts": [],
        },
        "devices": [
            {"containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "permissions": "rwm"}]}, "name": "0"},
            {"name": "it's"},
        ],
        "kind": "nvidia.com/gpu",
    }


def test_lists_may_be_indented_and_comments_stand_on_their_own_line() -> None:
    assert parse_yaml("# by hand\na:\n    - x\n    -\n      b: c\nd:\n") == {"a": ["x", {"b": "c"}], "d": None}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [x, y]", "line 1"),
        ("a: {b: c}", "line 1"),
        ("a: &anchor b", "line 1"),
        ("a: *anchor", "line 1"),
        ("a: !!str b", "line 1"),
        ("a: |\n  text", "line 1"),
        ("a: >-\n  text", "line 1"),
        ("a: b # why", "line 1"),
        ("a: b\n  c: d", "line 2"),
        ("a: b\na: c", "line 2"),
        ("a:\n\tb: c", "line 2"),
        ("a: b\nwords", "line 2"),
        ("- a\nb: c", "line 2"),
        ('a: "open', "line 1"),
        ("a: 'open", "line 1"),
        ("-", "line 1"),
        ("", "empty"),
    ],
)
def test_whatever_else_yaml_has_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(InvalidInput, match=line):
        parse_yaml(text)


def test_no_depth_fills_the_stack() -> None:
    deep = "\n".join(" " * depth + "a:" for depth in range(5000))
    with pytest.raises(InvalidInput, match="line 34"):
        parse_yaml(deep)
    with pytest.raises(InvalidInput, match="line 1 "):
        parse_yaml("- " * 5000 + "a: b")
