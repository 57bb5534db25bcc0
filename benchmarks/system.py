"""Real servers and databases under the measured services, thrown away with the run."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from benchmarks.servers import scratch
from service_platform.database.migrate import up
from service_platform.settings import PlatformSettings
from service_testing.postgres import LocalPostgres
from service_testing.services import environment_of
from service_testing.tokens import TestTokens
from service_testing.valkey import LocalValkey

UNLIMITED = "10000000"
PASSWORD = "bench"


@dataclass(frozen=True)
class System:
    """PostgreSQL, Valkey and an issuer of tokens.

    Attributes:
        postgres: running, without durability.
        redis: running.
        tokens: issues access tokens and publishes their key, in this process.
    """

    postgres: LocalPostgres
    redis: LocalValkey
    tokens: TestTokens

    def database(self, service: str) -> str:
        """Make and migrate the database of a service; returns its address."""
        self.postgres.create_role(service, PASSWORD)
        self.postgres.create_database(service, owner=service)
        url = self.postgres.url_for(service, user=service, password=PASSWORD)
        asyncio.run(up(service, PlatformSettings(database_url=SecretStr(url))))
        return url

    def environment(self, service: str, database_url: str) -> dict[str, str]:
        """Settings of a service that uses all this, with limits no load reaches."""
        known = environment_of(
            service,
            database_url=database_url,
            redis_url=self.redis.url,
            auth_url=self.tokens.auth_url,
        )
        return {**known, "RATE_LIMIT_REQUESTS": UNLIMITED, "LOG_FORMAT": "json"}

    def authorization(self, account: uuid.UUID, *roles: str) -> tuple[tuple[str, str], ...]:
        """The header of an account with these roles."""
        token = self.tokens.issue(account, roles=roles, expires_in=3_600)
        return (("authorization", f"Bearer {token}"),)


@contextmanager
def system() -> Iterator[System]:
    """Start the servers; they end with the block."""
    with scratch() as directory:
        postgres = LocalPostgres(directory / "postgres", durable=False)
        redis = LocalValkey(directory / "valkey", durable=False)
        tokens = TestTokens()
        try:
            postgres.start()
            redis.start()
            yield System(postgres, redis, tokens)
        finally:
            tokens.stop()
            redis.remove()
            postgres.remove()
