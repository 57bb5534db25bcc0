"""The address of Redis, as redis-py needs it."""

from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import ConnectionPool

from service_platform.settings import PlatformSettings, load_settings

Variables = Callable[..., None]
Mistakes = Callable[[], str]


def test_a_password_is_escaped_for_redis_py(set_variables: Variables) -> None:
    set_variables(REDIS_URL="redis://:p[w]?#@cache:6380/2")
    url = load_settings(PlatformSettings).redis_url.get_secret_value()
    assert url == "redis://:p%5Bw%5D%3F%23@cache:6380/2"
    connection: Any = ConnectionPool.from_url(url).make_connection()  # type: ignore[no-untyped-call]
    assert (connection.password, connection.host, connection.port) == ("p[w]?#", "cache", 6380)


def test_an_address_that_cannot_be_honoured_is_refused(
    set_variables: Variables, mistakes: Mistakes
) -> None:
    set_variables(REDIS_URL="redis://:hunter2@cache?socket_timeout=1")
    message = mistakes()
    assert "REDIS_URL: must not have the option socket_timeout" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("name", "value"), [("REDIS_MAX_CONNECTIONS", "0"), ("REDIS_TIMEOUT_SECONDS", "-1")]
)
def test_bounds_are_positive(
    set_variables: Variables, mistakes: Mistakes, name: str, value: str
) -> None:
    set_variables(**{name: value})
    assert f"{name}: input should be greater" in mistakes()
