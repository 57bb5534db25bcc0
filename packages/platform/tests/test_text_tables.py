"""Tables and durations in text."""

import pytest

from service_platform.text_tables import format_duration, format_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0.2 s"), (119, "119.0 s"), (180, "3 min"), (7200, "2 h"), (200_000, "2 d")],
)
def test_a_duration_has_its_largest_unit(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_columns_are_as_wide_as_their_longest_cell() -> None:
    table = format_table(("a", "wide"), [("long cell", "x"), ("b", "")])
    assert table.splitlines() == ["A          WIDE", "long cell  x", "b"]
