"""Types of dates and times, for the fields of bodies and for query parameters.

    class ItemCreate(BaseModel):
        due: Day = Field(description="When it must be paid.")
        sent_at: Moment | None = Field(None, description="When it was sent.")

pydantic takes numbers, too, for seconds since 1970, and times without a zone; these do not. Years
are those that Python, PostgreSQL and every driver between them can tell in any time zone, and that
leave room for PostgreSQL's `infinity`.
"""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

FIRST_YEAR: Final = 1000
LAST_YEAR: Final = 9998

_day_text: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_moment_text: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ].+")


def _text_of_day(value: Any) -> Any:
    if type(value) is date or (isinstance(value, str) and _day_text.fullmatch(value)):
        return value
    raise ValueError("Must be a date, such as 2026-11-30")


def _text_of_moment(value: Any) -> Any:
    if isinstance(value, datetime) or (isinstance(value, str) and _moment_text.fullmatch(value)):
        return value
    raise ValueError("Must be a time with its zone, such as 2026-11-30T12:00:00Z")


def _day(value: date) -> date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"Must have a year from {FIRST_YEAR} to {LAST_YEAR}")
    return value


def _moment(value: datetime) -> datetime:
    _day(value)
    return value.astimezone(UTC)


Day = Annotated[date, BeforeValidator(_text_of_day), AfterValidator(_day)]
"""A date (RFC 3339, `full-date`)."""

Moment = Annotated[AwareDatetime, BeforeValidator(_text_of_moment), AfterValidator(_moment)]
"""A time with its zone (RFC 3339, `date-time`); kept in UTC."""

__all__ = ["FIRST_YEAR", "LAST_YEAR", "Day", "Moment"]
