"""Settings of a service: environment variables, a `.env` file, or files of a secrets directory.

A service subclasses `PlatformSettings` with its own fields and calls `load_settings` once in its
`app.py`. The order is: arguments, secrets directory, environment, `.env`, defaults.
"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import orjson
from pydantic import (
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from service_platform.connection_urls import PostgresUrl, RedisUrl

EXIT_CONFIG = 78
"""Exit status for a wrong configuration (`EX_CONFIG` of BSD's sysexits.h)."""

DEVELOPMENT_SECRET_KEY = "development-only-secret-key-change-me"  # noqa: S105
MINIMUM_SECRET_KEY_LENGTH = 32


class Environment(StrEnum):
    """Where the process runs; staging and production refuse development's conveniences."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def is_deployed(self) -> bool:
        """True where strangers can reach the process: staging and production."""
        return self in {Environment.STAGING, Environment.PRODUCTION}


def _split_list(value: object) -> object:
    """A JSON array or a comma-separated list, as people write either into one variable."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text.startswith("["):
        return orjson.loads(text)
    return [part.strip() for part in text.split(",") if part.strip()]


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


StringList = Annotated[list[str], NoDecode, BeforeValidator(_split_list)]
SecretList = Annotated[list[SecretStr], NoDecode, BeforeValidator(_split_list)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)
]


class PlatformSettings(BaseSettings):
    """What every service can be told; field names in capitals are the variable names."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    # `environment` stands first: the guards of the fields below read it.
    environment: Environment = Field(
        Environment.DEVELOPMENT, description="development, test, staging or production."
    )
    secrets_dir: Path = Field(
        Path("/run/secrets"),
        description="Directory whose files are settings (file name = variable name).",
    )
    project_name: str = Field(
        "service", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
    version: str = Field("0.1.0", description="Release, shown by /version, /health and the logs.")
    debug: bool = Field(
        False, description="Log at debug level and print SQL. Refused where deployed."
    )
    api_v1_prefix: str = Field(
        "/api/v1", pattern=r"^(/[A-Za-z0-9._~-]+)+$", description="Path prefix of the API."
    )
    root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path prefix that a proxy takes off; X-Forwarded-Prefix of a trusted one wins.",
    )
    docs_enabled: bool = Field(True, description="Serve /docs, /redoc and the OpenAPI document.")
    problem_type_base_url: str = Field(
        "https://api.example.com/problems",
        pattern=r"^https?://\S+[^/]$",
        description="Where the `type` of a problem points; every service serves /problems itself.",
    )

    secret_key: SecretStr = Field(
        SecretStr(DEVELOPMENT_SECRET_KEY),
        description="Signs cursors; in auth also encrypts signing keys. 32 characters or more.",
    )
    secret_key_fallbacks: SecretList = Field(
        default_factory=list, description="Earlier SECRET_KEYs, still accepted, comma-separated."
    )

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

    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="Redis or Valkey; rediss:// for TLS."
    )
    redis_max_connections: int = Field(32, ge=1, le=1000, description="Bound of one process.")
    redis_timeout_seconds: float = Field(
        1.0, gt=0, le=30, description="Connect and answer time of a Redis command."
    )

    cors_origins: StringList = Field(
        default_factory=list,
        description="Browser origins allowed to call, comma-separated. localhost in development.",
    )
    cors_allow_credentials: bool = Field(
        False, description="Let browsers send cookies and HTTP authentication cross-origin."
    )
    trusted_proxies: StringList = Field(
        default_factory=list,
        description="Networks (CIDR) whose X-Forwarded-* headers are believed, comma-separated.",
    )

    rate_limit_enabled: bool = Field(True, description="Decide rate limits at all.")
    rate_limit_backend: Literal["redis", "memory"] = Field(
        "redis", description="redis: one count for all replicas. memory: each process its own."
    )
    rate_limit_requests: int = Field(
        600, ge=1, le=10_000_000, description="Requests of one caller per window, whole service."
    )
    rate_limit_window_seconds: int = Field(60, ge=1, le=86_400, description="Length of the window.")
    rate_limit_replicas: int = Field(
        1, ge=1, le=10_000, description="Replicas that share the limit while Redis is away."
    )
    rate_limit_timeout_seconds: float = Field(
        0.1, ge=0.01, le=1.0, description="Budget of one decision before the local fallback."
    )
    rate_limit_shadow: bool = Field(False, description="Decide and count, never refuse.")

    access_token_expire_minutes: int = Field(
        10, ge=1, le=60, description="Lifetime of an access token; revocations are kept as long."
    )
    jwt_issuer: str = Field(
        "http://localhost:8003",
        pattern=r"^https?://\S+[^/]$",
        description="Public address of auth: the `iss` of its tokens.",
    )
    jwt_audience: str = Field("", description="Audience required of tokens. Default: PROJECT_NAME.")
    jwt_algorithm: Literal["ES256", "RS256"] = Field(
        "ES256", description="The one signature algorithm accepted (and, in auth, used)."
    )
    auth_url: str = Field(
        "http://localhost:8003",
        pattern=r"^https?://\S+[^/]$",
        description="Where services reach auth inside the cluster.",
    )
    service_client_id: str = Field(
        "", description="Client id of this service for calls to others (client credentials)."
    )
    service_client_secret: SecretStr = Field(
        SecretStr(""), description="Client secret of this service for calls to others."
    )

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto: console on a terminal, JSON lines elsewhere."
    )
    log_queue_size: int = Field(
        10_000, ge=100, le=1_000_000, description="Lines held for a slow reader; more are dropped."
    )

    otel_enabled: bool = Field(
        False,
        description="Export OpenTelemetry traces and metrics (the `otel` extra; OTEL_* variables).",
    )

    host: str = Field("0.0.0.0", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        1,
        ge=1,
        le=128,
        validation_alias=AliasChoices("workers", "web_concurrency"),
        description="Server processes on one machine; 1 under an orchestrator.",
    )
    acceleration: bool = Field(
        True,
        description="Replace code of FastAPI, uvicorn and SQLAlchemy by faster equivalents.",
    )
    max_body_bytes: int = Field(
        1_048_576, ge=1_024, le=1_073_741_824, description="Larger bodies are refused (413)."
    )
    request_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3_600,
        description="A response that has not started by then is given up (504); see @timeout.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="Connections one process serves; the limit of open files may allow fewer.",
    )
    keep_alive_seconds: float = Field(
        75.0,
        gt=0,
        le=3_600,
        description="A connection without a request is closed after this long; more than proxies'.",
    )
    request_head_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="Request line and headers must arrive in this time (408)."
    )
    transfer_timeout_seconds: float = Field(
        10.0,
        gt=0,
        le=300,
        description="Span in which a client must send a body, and read an answer, at 240 bytes/s.",
    )
    websocket_max_message_bytes: int = Field(
        1_048_576, ge=1, le=1_073_741_824, description="Larger messages close a WebSocket (1009)."
    )
    websocket_ping_seconds: float = Field(
        20.0, gt=0, le=600, description="Between pings of a WebSocket, and to wait for each answer."
    )
    drain_delay_seconds: float = Field(
        5.0, ge=0, le=300, description="After SIGTERM: unready, but still accepting, this long."
    )
    shutdown_timeout_seconds: float = Field(
        20.0, ge=0, le=3_600, description="Then requests in flight get this long to finish."
    )
    health_check_timeout_seconds: float = Field(
        2.0, gt=0, le=30, description="Budget of each dependency check."
    )

    @field_validator("debug", mode="after")
    @classmethod
    def _no_debug_where_deployed(cls, value: bool, info: ValidationInfo) -> bool:
        if value and _deployed(info):
            raise ValueError("must be false in staging and production")
        return value

    @field_validator("secret_key", mode="after")
    @classmethod
    def _strong_secret_where_deployed(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if _deployed(info):
            secret = value.get_secret_value()
            if secret == DEVELOPMENT_SECRET_KEY:
                raise ValueError(
                    "is the development default; set one made by `openssl rand -base64 48`"
                )
            _require_length(secret)
        return value

    @field_validator("secret_key_fallbacks", mode="after")
    @classmethod
    def _strong_fallbacks_where_deployed(
        cls, value: list[SecretStr], info: ValidationInfo
    ) -> list[SecretStr]:
        if _deployed(info):
            for secret in value:
                _require_length(secret.get_secret_value())
        return value

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
        if not value and _deployed(info) and url is not None and not is_encrypted(url):
            raise ValueError(
                "is false, so DATABASE_URL needs sslmode=verify-full (or require, verify-ca)"
            )
        return value

    @field_validator("redis_url", mode="after")
    @classmethod
    def _redis_url(cls, value: SecretStr) -> SecretStr:
        # With a password escaped as redis-py needs it.
        return SecretStr(RedisUrl.parse(value.get_secret_value()).text())

    @field_validator("cors_origins", mode="after")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and (
                urlsplit(origin).scheme not in {"http", "https"}
                or origin != "{0.scheme}://{0.netloc}".format(urlsplit(origin))
            ):
                raise ValueError("each must be an origin such as https://app.example.com, or *")
        return value

    @field_validator("cors_allow_credentials", mode="after")
    @classmethod
    def _no_wildcard_with_credentials(cls, value: bool, info: ValidationInfo) -> bool:
        if value and "*" in info.data.get("cors_origins", ()):
            raise ValueError("cannot be true while CORS_ORIGINS is *; name the origins")
        return value

    @field_validator("trusted_proxies", mode="after")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for network in value:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError("each must be a network such as 10.0.0.0/8") from None
        return value

    @field_validator("jwt_audience", mode="after")
    @classmethod
    def _audience_is_the_project(cls, value: str, info: ValidationInfo) -> str:
        return value or str(info.data.get("project_name", ""))

    @cached_property
    def trusted_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`trusted_proxies`, parsed."""
        return tuple(ip_network(network) for network in self.trusted_proxies)

    @property
    def secret_keys(self) -> tuple[str, ...]:
        """Every accepted secret key, the one to use for new work first."""
        keys = (self.secret_key, *self.secret_key_fallbacks)
        return tuple(key.get_secret_value() for key in keys)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A mounted secret wins over a variable: whoever can mount it owns the deployment."""
        del file_secret_settings
        told = {**dotenv_settings(), **env_settings(), **init_settings()}
        directory = Path(str(told.get("secrets_dir") or cls.model_fields["secrets_dir"].default))
        sources = [init_settings, env_settings, dotenv_settings]
        if directory.is_dir():
            sources.insert(1, SecretsSettingsSource(settings_cls, secrets_dir=directory))
        return tuple(sources)


def _deployed(info: ValidationInfo) -> bool:
    environment = info.data.get("environment")
    return isinstance(environment, Environment) and environment.is_deployed


def _require_length(secret: str) -> None:
    if len(secret) < MINIMUM_SECRET_KEY_LENGTH:
        raise ValueError(f"must have {MINIMUM_SECRET_KEY_LENGTH} characters or more")


def is_encrypted(database_url: SecretStr) -> bool:
    """True when libpq's `sslmode` demands TLS, or the address is a Unix socket of this machine."""
    return PostgresUrl.parse(database_url.get_secret_value()).is_encrypted


S = TypeVar("S", bound=PlatformSettings)


def load_settings(settings_class: type[S], **overrides: Any) -> S:
    """Read and check the settings of a service.

    Every wrong variable is named in one message on standard error; values are never shown.

    Raises:
        SystemExit: with status 78 when a setting is wrong.
    """
    try:
        return settings_class(**overrides)
    except ValidationError as error:
        mistakes = explain(error.errors(include_url=False, include_input=False))
    except Exception as error:  # noqa: BLE001 - an unreadable .env, bad JSON in a list
        mistakes = [f"{type(error).__name__}: cannot be read; compare it with .env.example"]
    lines = "\n".join(f"  {mistake}" for mistake in mistakes)
    sys.stderr.write(
        f"The configuration is not valid. Correct these settings and start again:\n{lines}\n"
    )
    raise SystemExit(EXIT_CONFIG)


def explain(errors: Sequence[Any]) -> list[str]:
    """One line for each wrong setting: the variable's name and what it must be."""
    lines = []
    for error in errors:
        name = str(error["loc"][0]).upper() if error["loc"] else "settings"
        message = str(error["msg"]).removeprefix("Value error, ")
        lines.append(f"{name}: {message[0].lower()}{message[1:]}")
    return lines


__all__ = [
    "EXIT_CONFIG",
    "Environment",
    "PlatformSettings",
    "is_encrypted",
    "load_settings",
]
