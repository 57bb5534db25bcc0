"""Parse the address of a Redis server as the limiter's own connection needs it."""

import ssl
from dataclasses import dataclass, replace
from typing import Self

from pydantic import SecretStr
from redis.asyncio import ConnectionPool


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Hold the address of a Redis server, its credentials and its TLS context.

    Attributes:
        host: name or IP address.
        port: TCP port.
        path: of a Unix socket, used instead of host and port.
        database: number of the database.
        username: empty for the default user.
        password: `None` where none is needed.
        tls: context for TLS, `None` for a connection without it.
    """

    host: str
    port: int
    path: str = ""
    database: int = 0
    username: str = ""
    password: SecretStr | None = None
    tls: ssl.SSLContext | None = None

    @classmethod
    def from_url(cls, url: SecretStr) -> Self:
        """Parse a Redis URL with redis-py, so that all its options mean the same here.

        `connection_urls.RedisUrl` checks such a URL when settings are read. It does not make the
        TLS context of the URL's options; redis-py does.
        """
        connection = ConnectionPool.from_url(url.get_secret_value()).make_connection()  # type: ignore[no-untyped-call]
        context = getattr(connection, "ssl_context", None)
        return cls(
            host=getattr(connection, "host", ""),
            port=int(getattr(connection, "port", 0)),
            path=getattr(connection, "path", ""),
            database=int(connection.db or 0),
            username=connection.username or "",
            password=SecretStr(connection.password) if connection.password else None,
            tls=context.get() if context is not None else None,
        )

    def with_host(self, host: str, port: int) -> Self:
        """Return the address of another node of the same cluster."""
        return replace(self, host=host, port=port, path="")

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"
