"""Parse rates such as `"100/minute"`, `"5 per 10 seconds"` and `"10000/2h"`."""

import re
from typing import Final, NamedTuple, Self

MAX_WINDOW_SECONDS: Final = 31 * 86_400
MAX_QUOTA: Final = 10_000_000

_UNITS: Final = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3_600, "hour": 3_600, "hours": 3_600,
    "d": 86_400, "day": 86_400, "days": 86_400,
}  # fmt: skip
_parse: Final = re.compile(
    r"\s*(\d{1,9})\s*(?:/|per)\s*(\d{1,9})?\s*([a-z]+)\s*", re.IGNORECASE | re.ASCII
).fullmatch


class Rate(NamedTuple):
    """Hold a quota of units and the length of the window in which they may be used."""

    quota: int
    window_seconds: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a rate such as `100/minute`.

        Raises:
            ValueError: it is not a rate, or its quota or window is out of range.
        """
        match = _parse(text)
        seconds = _UNITS.get(match[3].lower()) if match else None
        if match is None or seconds is None:
            raise ValueError(f"{text!r} is not a rate; write it as '100/minute' or '5/10 seconds'.")
        return cls(int(match[1]), int(match[2] or 1) * seconds).validated()

    def validated(self) -> Self:
        """Return this rate, if the limiter can enforce it.

        Raises:
            ValueError: the quota or the window is out of range.
        """
        if not 1 <= self.quota <= MAX_QUOTA:
            raise ValueError(f"A quota must be 1 to {MAX_QUOTA}, not {self.quota}.")
        if not 1 <= self.window_seconds <= MAX_WINDOW_SECONDS:
            raise ValueError(
                f"A window must be 1 s to {MAX_WINDOW_SECONDS} s, not {self.window_seconds} s."
            )
        return self

    def __str__(self) -> str:
        for unit, seconds in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
            count, rest = divmod(self.window_seconds, seconds)
            if not rest:
                return f"{self.quota}/{unit}" if count == 1 else f"{self.quota}/{count} {unit}s"
        raise AssertionError("every whole number of seconds is divisible by one")
