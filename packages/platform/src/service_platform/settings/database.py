"""Settings of PostgreSQL: where it is, and the connection pool of one process."""

from typing import Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from service_platform.connection_urls import PostgresUrl
from service_platform.settings.service import ServiceSettings, is_deployed


class DatabaseSettings(ServiceSettings):
    """The service's database."""

    database_url: SecretStr = Field(
        SecretStr("postgresql://localhost:5432/postgres"),
        description="PostgreSQL address; sslmode=verify-full (or require) where deployed.",
    )
    database_allow_unencrypted: bool = Field(
        False, description="Allow a DATABASE_URL without TLS where deployed (a mesh encrypts)."
    )
    database_pooler: Literal["none", "transaction"] = Field(
        "none",
        description="transaction: DATABASE_URL is a pooler's (PgBouncer, pool_mode=transaction).",
    )
    database_pool_size: int = Field(
        10, ge=1, le=200, description="Connections kept open by one process."
    )
    database_max_overflow: int = Field(
        0, ge=0, le=200, description="Connections above the pool for a burst."
    )
    database_pool_timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Wait for a free connection before answering 503."
    )
    database_connect_timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Wait for a new connection to be made."
    )
    database_statement_timeout_seconds: float = Field(
        10.0, gt=0, le=600, description="The server cancels longer statements (answered 504)."
    )

    @field_validator("database_url", mode="after")
    @classmethod
    def _postgresql_url(cls, value: SecretStr) -> SecretStr:
        if not PostgresUrl.parse(value.get_secret_value()).database:
            raise ValueError("must name a database: postgresql://user:password@host:5432/database")
        return value

    @field_validator("database_allow_unencrypted", mode="after")
    @classmethod
    def _encrypted_database_where_deployed(cls, value: bool, info: ValidationInfo) -> bool:
        url = info.data.get("database_url")
        if not value and is_deployed(info) and url is not None and not is_encrypted(url):
            raise ValueError(
                "is false, so DATABASE_URL needs sslmode=verify-full (or require, verify-ca)"
            )
        return value


def is_encrypted(database_url: SecretStr) -> bool:
    """Return whether `sslmode` demands TLS, or the address is a Unix socket of this machine."""
    return PostgresUrl.parse(database_url.get_secret_value()).is_encrypted
