"""How long a call waits before it is sent again."""

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

FIRST_PAUSE_SECONDS: Final = 0.05
LONGEST_PAUSE_SECONDS: Final = 1.0


def pause_before_retry(attempt: int, answer: httpx2.Response | None) -> float:
    """Return the pause before the next attempt: random up to a bound that doubles, or as asked."""
    bound = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
    pause = random.uniform(0, bound)  # noqa: S311 - not a secret
    return pause if answer is None else max(pause, _asked_seconds(answer))


def _asked_seconds(answer: httpx2.Response) -> float:
    """Return the seconds of a `Retry-After`, a number or a date (RFC 9110, section 10.2.3)."""
    asked = answer.headers.get("retry-after", "")
    if asked.isdecimal():
        return float(asked)
    try:
        return parsedate_to_datetime(asked).timestamp() - time.time()
    except ValueError:
        return 0.0


__all__ = ["pause_before_retry"]
