"""Dates and times of requests are those of RFC 3339, in years that every driver can tell."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from service_platform.times import Day, Moment

DAY: TypeAdapter[date] = TypeAdapter(Day)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


def test_a_day() -> None:
    assert DAY.validate_python("2026-11-30") == date(2026, 11, 30)
    assert DAY.validate_python(date(2026, 11, 30)) == date(2026, 11, 30)


@pytest.mark.parametrize(
    "value",
    [
        0, 1.5, True, "1700000000", "2026-02-30", "2026-11-30T00:00:00", "26-11-30", "0001-01-01",
        "9999-12-31", "\u0662\u0660\u0662\u0666-11-30", datetime(2026, 11, 30, tzinfo=UTC), None,
    ],
)  # fmt: skip
def test_what_is_no_day(value: Any) -> None:
    with pytest.raises(ValidationError):
        DAY.validate_python(value)


@pytest.mark.parametrize(
    "value", ["2026-11-30T12:00:00Z", "2026-11-30T13:00:00+01:00", "2026-11-30 12:00:00.000z"]
)
def test_a_moment_is_kept_in_utc(value: str) -> None:
    moment = MOMENT.validate_python(value)
    assert moment == datetime(2026, 11, 30, 12, tzinfo=UTC)
    assert moment.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        0, 1.5, True, "1700000000", "2026-11-30", "2026-11-30T12:00:00", "2026-11-30T25:00:00Z",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", None,
    ],
)  # fmt: skip
def test_what_is_no_moment(value: Any) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(value)
