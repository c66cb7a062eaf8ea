from __future__ import annotations

import pytest
from agent.probes import l4t

DATE = "GCID: 45755727, BOARD: generic, EABI: aarch64, DATE: Mon Jun  1 09:28:48 PM UTC 2026"
STATUS = """\
Package: nvidia-l4t-core-tools
Status: install ok installed
Version: 1.0

Package: nvidia-l4t-core
Status: {status}
Architecture: arm64
Description: NVIDIA Core Package
 Version: 99.9.9
Version: 36.4.7-20250918154033
"""


@pytest.mark.parametrize(
    ("line", "release"),
    [
        (f"# R39 (release), REVISION: 2.0, {DATE}", "39.2.0"),
        (f"# R36 (release), REVISION: 4.7, {DATE}\n# KERNEL_VARIANT: oot\nINSTALL_TYPE=", "36.4.7"),
        (f"# R32 (release), REVISION: 5, {DATE}", "32.5.0"),
        (f"\n#R28 (release), REVISION: 1.0, {DATE}", "28.1.0"),
        ("# R36 (beta), REVISION: 4.7", None),
        ("R36.4", None),
        ("", None),
    ],
)
def test_releases(line: str, release: str | None) -> None:
    assert l4t.parse_release(line) == release


def test_the_release_of_the_installed_package() -> None:
    assert l4t.parse_package_version(STATUS.format(status="install ok installed")) == "36.4.7"
    assert l4t.parse_package_version(STATUS.format(status="deinstall ok config-files")) is None
    assert l4t.parse_package_version("Package: bash\nStatus: install ok installed\nVersion: 36.4\n") is None


@pytest.mark.parametrize(
    ("release", "jetpack"),
    [
        ("39.2.0", "7.2"),
        ("38.4.0", "7.1"),
        ("36.4.4", "6.2.1"),
        ("36.2.0", "6.0 DP"),
        ("35.3.0", "5.1.1 PRE"),
        ("34.0.1", "5.0 PRE-DP"),
        ("24.1.0", None),
        ("35.6.4", "5.1.6"),
        ("32.7.6", "4.6.6"),
        ("28.4.0", "3.3.3"),
        ("36.5.0", None),
        ("28.2.1", None),
        ("24.2.1", None),
        ("36.4.9", None),
        ("40.1.0", None),
    ],
)
def test_jetpack_is_known_only_where_the_release_decides_it(release: str, jetpack: str | None) -> None:
    assert l4t.jetpack(release) == jetpack


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("39.2.0", "13.2"),
        ("38.2.2", "13.0"),
        ("36.5.0", "12.6"),
        ("36.4.0", "12.6"),
        ("36.3.0", "12.4"),
        ("36.2.0", "12.2"),
        ("35.6.4", "11.4"),
        ("32.7.6", "10.2"),
        ("32.3.1", "10.0"),
        ("28.2.1", "9.0"),
        ("28.1.0", "8.0"),
        ("36.0.0", None),
        ("33.1.0", None),
        ("40.1.0", None),
    ],
)
def test_cuda_of_a_release(release: str, version: str | None) -> None:
    assert l4t.cuda(release) == version
