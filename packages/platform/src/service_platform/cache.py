"""Redis (or Valkey) as a resource: one bounded pool of connections a process, short patience.

Nothing a service stores there is needed to answer correctly: while Redis is away the service is
degraded, not down. The rate limiter speaks to Redis by a client of its own (`ratelimit/`).
"""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from service_platform.resources import HealthCheckError
from service_platform.settings import PlatformSettings


class Cache:
    """Redis for everything but rate limits.

    Args:
        settings: address, pool size, patience.

    Attributes:
        client: answers within `REDIS_TIMEOUT_SECONDS` or raises; replies are bytes. It does not
            repeat commands by itself: a connection that Redis closed is noticed before it is used.
    """

    name = "redis"
    critical = False

    def __init__(self, settings: PlatformSettings) -> None:
        self._settings = settings
        self.client = self._connect(
            settings.redis_timeout_seconds, max_connections=settings.redis_max_connections
        )

    async def start(self) -> None:
        """Nothing: connections are made when they are needed."""

    async def stop(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def check(self) -> None:
        """Ask Redis for an answer.

        Raises:
            HealthCheckError: `redis_unavailable`.
        """
        try:
            await self.client.ping()
        except (RedisError, OSError) as error:
            raise HealthCheckError("redis_unavailable") from error

    def listener(self, wait_seconds: float) -> Redis:
        """A client with one connection, for commands that wait, such as `XREAD BLOCK`.

        Args:
            wait_seconds: the longest it is told to wait; the usual patience is added.

        Returns:
            The client, which the caller closes.
        """
        return self._connect(wait_seconds + self._settings.redis_timeout_seconds, max_connections=1)

    def _connect(self, answer_within: float, *, max_connections: int) -> Redis:
        pool = BlockingConnectionPool.from_url(
            self._settings.redis_url.get_secret_value(),
            max_connections=max_connections,
            timeout=self._settings.redis_timeout_seconds,
            socket_connect_timeout=self._settings.redis_timeout_seconds,
            socket_timeout=answer_within,
            protocol=3,
            client_name=self._settings.project_name,
            retry=Retry(NoBackoff(), 0),
            # An extension of one vendor that costs every other server a failed command.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        client: Redis = Redis.from_pool(pool)
        return client


__all__ = ["Cache"]
