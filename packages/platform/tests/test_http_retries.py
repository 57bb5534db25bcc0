"""The pause before a call is sent again."""

import time
from email.utils import formatdate

import httpx2
import pytest

from service_platform.http_retries import LONGEST_PAUSE_SECONDS, pause_before_retry


@pytest.mark.parametrize(("attempt", "bound"), [(1, 0.05), (2, 0.1), (3, 0.2), (9, 1.0), (60, 1.0)])
def test_the_bound_of_a_random_pause_doubles(attempt: int, bound: float) -> None:
    pauses = [pause_before_retry(attempt, None) for _ in range(200)]
    assert 0 <= min(pauses) < max(pauses) <= bound <= LONGEST_PAUSE_SECONDS
    assert max(pauses) > bound / 2


def test_what_the_service_asks_for_is_kept() -> None:
    for asked in ("7", formatdate(time.time() + 3600, usegmt=True)):
        answer = httpx2.Response(503, headers={"retry-after": asked})
        assert pause_before_retry(1, answer) >= 7


@pytest.mark.parametrize("asked", ["", "soon", "-5", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_what_cannot_be_kept_is_as_if_nothing_was_asked(asked: str) -> None:
    answer = httpx2.Response(503, headers={"retry-after": asked})
    assert 0 <= pause_before_retry(1, answer) <= 0.05
