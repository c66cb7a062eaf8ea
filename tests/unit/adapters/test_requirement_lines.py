from __future__ import annotations

import pytest
from agent.adapters.requirement_lines import checked
from agent.errors import JobFault


@pytest.mark.parametrize(
    "line",
    [
        "six",
        "six==1.17.0",
        "torch==2.1.0+cu121",
        "numpy>=1.20,<2.0",
        "numpy >= 1.20, != 1.21.*",
        "requests[socks,security]==2.31.0",
        "zope.interface (>=5.0)",
        "enum34; python_version < '3.4'",
        'pywin32==306 ; sys_platform == "win32" and python_version >= "3.8"',
        "pip @ https://example.com/pip-23.0-py3-none-any.whl",
        "tool[extra] @ git+https://example.com/a/tool.git@0123abc#subdirectory=python",
        "git+https://example.com/a/tool.git@v1.0",
        "https://example.com/tool-1.0.tar.gz",
    ],
)
def test_packages_by_name_or_address_stay_as_they_are(line: str) -> None:
    assert checked([line]) == (line,)


def test_what_is_no_package_is_left_out() -> None:
    lines = ["# Editable install with no version control (a==1)", "", "  ", "six==1.17.0  # pinned"]
    lines += ["pkg-resources==0.0.0", "pkg_resources==0.0.0", "attrs"]
    assert checked(lines) == ("six==1.17.0", "attrs")


@pytest.mark.parametrize(
    ("line", "installed"),
    [
        ("-e git+https://example.com/a.git@0123abc#egg=a", "a @ git+https://example.com/a.git@0123abc"),
        ("--editable=git+https://example.com/a.git#egg=a[x]", "a[x] @ git+https://example.com/a.git"),
        ("-e git+https://example.com/a.git", "git+https://example.com/a.git"),
        (
            "-e git+https://example.com/a.git@1#egg=a&subdirectory=python",
            "a @ git+https://example.com/a.git@1#subdirectory=python",
        ),
        (
            "-e git+https://example.com/a.git@1#subdirectory=python&egg=a",
            "a @ git+https://example.com/a.git@1#subdirectory=python",
        ),
    ],
)
def test_an_editable_repository_is_installed_from_its_address(line: str, installed: str) -> None:
    assert checked([line]) == (installed,)


@pytest.mark.parametrize(
    "line",
    [
        "-r /etc/passwd",
        "--requirement=/etc/passwd",
        "-c /etc/passwd",
        "--find-links /srv",
        "-f https://example.com/wheels",
        "--index-url https://example.com/simple",
        "-i https://example.com/simple",
        "--extra-index-url=https://example.com/simple",
        "--trusted-host example.com",
        "--pre",
        "-e .",
        "-e /home/somebody/project",
        "-e git+ssh://git@example.com/a.git#egg=a",
        "-e git+file:///srv/a.git#egg=a",
        "six --global-option=x",
        "six==1.17.0 --hash=sha256:00",
        "six ; python_version > '3' --hash=sha256:00",
        "a @ https://example.com/a.whl -r /etc/passwd",
        "six @ file:///croot/six/dist/six.whl",
        "file:///srv/six.whl",
        "/srv/six.whl",
        "./six",
        "../six.tar.gz",
        "six.whl/../../etc",
        "a @ https://example.com/${PIP_INDEX_URL}/a.whl",
        "a @ https://example.com/$HOME",
        "six\n-r /etc/passwd",
        "six ; python_version > '3'\u2028-r /etc/passwd",
        "six ; python_version > '3'\x0c-r /etc/passwd",
        "six ; python_version > '3'\x85attrs @ file:///srv/attrs",
        "six ; python_version > '3'\x1eattrs @ file:///srv/attrs",
        "a @ https://exämple.com/a.whl",
        "six \\",
        "six; `id`",
        "a b",
        "<html>",
        "svn+https://example.com/a",
        "a" * 2001,
    ],
)
def test_everything_else_is_the_fault_of_the_job(line: str) -> None:
    with pytest.raises(JobFault, match=r"requirement .* is not allowed; write NAME"):
        checked(["six", line])


def test_a_password_in_a_refused_address_is_not_told() -> None:
    with pytest.raises(JobFault) as caught:
        checked(["--index-url https://me:s3cret@example.com/simple"])
    assert "s3cret" not in str(caught.value)
    assert "example.com" in str(caught.value)


def test_a_long_line_is_judged_at_once() -> None:
    with pytest.raises(JobFault):
        checked(["a" * 200_000 + "!", "a[" + "a," * 100_000, "a==1" + ",<2" * 100_000 + "@"])
