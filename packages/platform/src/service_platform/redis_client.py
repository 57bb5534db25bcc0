"""Holds the Redis (or Valkey) client of a service: one bounded connection pool a process.

Nothing a service stores there is needed to answer correctly: while Redis is away the service is
degraded, not down. The rate limiter speaks to Redis by a client of its own (`ratelimit/`).
"""

from typing import Any, Final

import redis
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from service_platform.redis_connection import (
    PrimaryConnectionPool,
    UnsupportedRedisError,
    WrongServerError,
)
from service_platform.resources import HealthCheckError, StartError
from service_platform.settings import PlatformSettings
from service_platform.telemetry.redis_spans import TracedRedis, server_attributes

DRIVER: Final = DriverInfo(lib_version=redis.__version__)
"""Said once: otherwise redis-py reads it from the package's metadata for every connection."""


class RedisClient:
    """Redis for everything but rate limits.

    Args:
        settings: address, pool size, patience.

    Attributes:
        client: answers within `REDIS_TIMEOUT_SECONDS` or raises; replies are bytes. It does not
            repeat commands by itself: a connection that Redis closed is noticed before it is used,
            and all connections leave a server that is no longer the primary.
    """

    name = "redis"
    critical = False

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self.client = connect(
            settings,
            answer_within=settings.redis_timeout_seconds,
            max_connections=settings.redis_max_connections,
        )

    async def start(self) -> None:
        """Look whether the server is of a kind that can be used; it may as well be away.

        Raises:
            StartError: it is a node of a cluster or a Sentinel.
        """
        await refuse_unsupported(self.client)

    async def stop(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def check(self) -> None:
        """Ask the primary for an answer.

        Raises:
            HealthCheckError: `redis_unavailable`, `redis_read_only` or `redis_unsupported`.
        """
        try:
            await self.client.ping()
        except WrongServerError as error:
            raise HealthCheckError("redis_read_only") from error
        except UnsupportedRedisError as error:
            raise HealthCheckError("redis_unsupported") from error
        except (RedisError, OSError) as error:
            raise HealthCheckError("redis_unavailable") from error

    def listener(self, wait_seconds: float) -> "Redis":
        """Make a client with one connection, for commands that wait, such as `XREAD BLOCK`.

        Args:
            wait_seconds: the longest it is told to wait; the usual patience is added.

        Returns:
            The client, which the caller closes.
        """
        return connect(
            self._settings,
            answer_within=wait_seconds + self._settings.redis_timeout_seconds,
            max_connections=1,
        )


def connect(
    settings: PlatformSettings,
    *,
    answer_within: float,
    connect_within: float | None = None,
    max_connections: int,
    protocol: int = 3,
) -> "Redis":
    """Make a client of the primary, which does not repeat commands by itself.

    Args:
        settings: address and name.
        answer_within: seconds for each answer.
        connect_within: seconds to connect; `REDIS_TIMEOUT_SECONDS` where omitted.
        max_connections: bound of the pool; more commands at once wait.
        protocol: version of the Redis protocol (RESP), which decides the form of some replies.
    """
    options: dict[str, Any] = {
        "max_connections": max_connections,
        "timeout": settings.redis_timeout_seconds,
        "socket_connect_timeout": connect_within or settings.redis_timeout_seconds,
        "socket_timeout": answer_within,
        "protocol": protocol,
        "client_name": settings.project_name,
        "driver_info": DRIVER,
        "retry": Retry(NoBackoff(), 0),
        # An extension of one vendor that costs every other server a failed command.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    url = settings.redis_url.get_secret_value()
    pool = PrimaryConnectionPool.from_url(url, **options)
    if not settings.otel_enabled:
        client: Redis = Redis.from_pool(pool)
        return client
    client = TracedRedis.from_pool(pool)
    client.span_attributes = server_attributes(url)  # type: ignore[attr-defined] # typed as Redis
    return client


async def refuse_unsupported(client: "Redis") -> None:
    """End the start of a service whose Redis is of a kind it cannot work with.

    Raises:
        StartError: it is a node of a cluster or a Sentinel.
    """
    try:
        await client.ping()
    except UnsupportedRedisError as error:
        await client.aclose()
        raise StartError(str(error)) from None
    except (RedisError, OSError):
        pass  # away for the moment; the health check tells


__all__ = ["RedisClient", "connect", "refuse_unsupported"]
