"""Durations and moments for people."""

from datetime import datetime
from typing import Final

_UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))


def duration(nanoseconds: int) -> str:
    """Three digits and a unit, such as `41.2 ms`."""
    for size, unit in _UNITS:
        # What rounds to 1000 of a unit is 1 of the next one.
        if nanoseconds >= size * 0.9995:
            value = nanoseconds / size
            places = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{places}f} {unit}"
    return f"{nanoseconds} ns"


def round_duration(nanoseconds: int) -> str:
    """The same without zeros that say nothing, such as `20 ms`, for the marks of an axis."""
    number, unit = duration(nanoseconds).split(" ")
    return f"{float(number):g} {unit}"


def moment(nanoseconds: int) -> datetime:
    """A time since the epoch, in the time zone of this machine."""
    return datetime.fromtimestamp(nanoseconds / 1e9).astimezone()


def ticks(nanoseconds: int, most: int) -> list[int]:
    """Round moments within a duration, at most so many, for the marks of an axis."""
    if nanoseconds <= 0 or most < 1:
        return []
    step = 1
    while nanoseconds // step > most:
        leading = int(str(step)[0])
        step = step * 5 // 2 if leading == 2 else step * 2
    return list(range(step, nanoseconds, step))
