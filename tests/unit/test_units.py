from __future__ import annotations

import pytest
from agent.errors import InvalidInput
from agent.model.units import parse_duration, parse_size, show_duration, show_size


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("1024", 1024),
        ("512MiB", 512 * 1024**2),
        ("4GB", 4_000_000_000),
        ("4g", 4_000_000_000),
        ("1.5GiB", 1536 * 1024**2),
        (" 2 KiB ", 2048),
        ("3kib", 3072),
        ("1TiB", 1024**4),
        ("2PB", 2 * 10**15),
        ("7B", 7),
    ],
)
def test_sizes_are_bytes(text: str, count: int) -> None:
    assert parse_size(text) == count


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1,5GiB", "1e3", "5 XB", "1GiB2", "0x10", "1.GB", "1 G i B", "nan"])
def test_what_is_no_size_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not a size.*512MiB"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9" * 400 + "GiB", "9" * 30, "99999PiB", "9" * 5000])
def test_a_size_that_no_disk_has_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize("text", ["9" * 400 + "d", "9" * 30 + "s", "9" * 5000 + "s"])
def test_a_duration_beyond_all_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("20m", 1200.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("250ms", 0.25),
        ("2d", 172800.0),
        ("1.5h", 5400.0),
        ("1d2h3m4s5ms", 93784.005),
        ("0s", 0.0),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "-5s", "1h30", "5 min", "1H", "1s,2s", "1e3s"])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not a duration.*1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536 * 1024**2, "1.5 GiB"),
        (512 * 1024**2, "512 MiB"),
        (5000 * 1024**4, "5000 TiB"),
        (-2048, "-2 KiB"),
    ],
)
def test_bytes_are_shown_as_people_read_them(count: int | None, text: str) -> None:
    assert show_size(count) == text


@pytest.mark.parametrize("count", [0, 1, 512, 3 * 1024, 1536 * 1024**2, 7 * 1024**4])
def test_a_shown_size_can_be_read_again(count: int) -> None:
    assert parse_size(show_size(count)) == count


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.9, "9.9 s"),
        (9.97, "10 s"),
        (12, "12 s"),
        (59.4, "59 s"),
        (59.7, "1m00s"),
        (200, "3m20s"),
        (3599.7, "1h00m"),
        (7500, "2h05m"),
        (47 * 3600 + 59 * 60, "47h59m"),
        (3 * 86400 + 4 * 3600, "3d04h"),
    ],
)
def test_seconds_are_shown_as_people_read_them(seconds: float | None, text: str) -> None:
    assert show_duration(seconds) == text
