"""When a delivery is tried again, and when a subscription is given up."""

from datetime import timedelta
from typing import Final

PAUSES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Before the second attempt and each further one: ten in a bit more than three days, as the
Standard Webhooks specification proposes. Each is up to a tenth longer, so that not all that failed
at once comes back at once."""

DISABLE_AFTER_SECONDS: Final = 3 * 86_400.0
"""A subscription is disabled by a failure this long after the first one since its last success. The
last attempt of a delivery comes later, so no subscription fails for ever."""


def pause_after(failures: int) -> timedelta | None:
    """Return how long to wait after so many failures; `None` when it is time to give up."""
    return PAUSES[failures - 1] if failures <= len(PAUSES) else None


__all__ = ["DISABLE_AFTER_SECONDS", "PAUSES", "pause_after"]
