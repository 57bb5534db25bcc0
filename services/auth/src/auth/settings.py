"""Settings of the auth service."""

import os
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from auth.known_services import ACCOUNT_SCOPES, AUDIENCES
from service_platform.events.settings import EventSettings
from service_platform.settings import Environment, StringList

ACCOUNT_SCOPE: Final = "account"
"""The scope that stands for acting as the account itself."""

OWASP_MEMORY_KIB: Final = 19_456
OWASP_TIME_COST: Final = 2
"""Argon2id with 19 MiB, two passes and one lane (OWASP Password Storage Cheat Sheet)."""


def _processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class AuthSettings(EventSettings):
    """The platform's settings and auth's own; field names in capitals are the variable names."""

    project_name: str = Field(
        "auth", min_length=1, max_length=64, description="Name in logs, metrics and API docs."
    )
    token_audiences: StringList = Field(
        default_factory=lambda: list(AUDIENCES),
        description="Services that accept the access tokens of accounts, comma-separated.",
    )
    account_scopes: StringList = Field(
        default_factory=lambda: list(ACCOUNT_SCOPES),
        description="Scopes an account's token can have, comma-separated.",
    )
    session_idle_days: int = Field(
        30, ge=1, le=365, description="A login not used for this long ends."
    )
    session_max_days: int = Field(
        180, ge=1, le=3_650, description="A login ends after this long, however much it is used."
    )

    password_hash_memory_kib: int = Field(
        OWASP_MEMORY_KIB, ge=64, le=1_048_576, description="Argon2id: memory of one computation."
    )
    password_hash_time_cost: int = Field(
        OWASP_TIME_COST, ge=1, le=20, description="Argon2id: passes over the memory."
    )
    password_hash_concurrency: int = Field(
        default_factory=lambda: min(4, _processors()),
        ge=1,
        le=64,
        description="Computations at once in one process; each takes the memory above.",
    )
    password_hash_queue: int = Field(
        32, ge=0, le=10_000, description="Computations that may wait; more are answered 503."
    )

    jwks_max_age_seconds: int = Field(
        300, ge=1, le=3_600, description="How long services keep the published keys."
    )
    signing_key_publish_seconds: int = Field(
        900, ge=1, le=86_400, description="How long a new key is published before it signs."
    )
    signing_key_reload_seconds: float = Field(
        5.0, ge=0.1, le=60, description="How often a replica looks for keys another one made."
    )

    audit_retention_days: int = Field(
        365, ge=1, le=3_650, description="How long events of the audit log are kept."
    )

    @field_validator("token_audiences", mode="after")
    @classmethod
    def _includes_this_service(cls, value: list[str], info: ValidationInfo) -> list[str]:
        own = info.data.get("jwt_audience") or info.data.get("project_name")
        if own not in value:
            raise ValueError(f"must include {own}, the audience of auth itself")
        return value

    @field_validator("password_hash_memory_kib", mode="after")
    @classmethod
    def _memory_where_deployed(cls, value: int, info: ValidationInfo) -> int:
        return _at_least(OWASP_MEMORY_KIB, value, info)

    @field_validator("password_hash_time_cost", mode="after")
    @classmethod
    def _time_where_deployed(cls, value: int, info: ValidationInfo) -> int:
        return _at_least(OWASP_TIME_COST, value, info)

    @field_validator("signing_key_publish_seconds", mode="after")
    @classmethod
    def _published_before_use(cls, value: int, info: ValidationInfo) -> int:
        max_age = info.data.get("jwks_max_age_seconds")
        if max_age is not None and value <= max_age:
            raise ValueError("must be longer than JWKS_MAX_AGE_SECONDS: services must have the key")
        return value


def _at_least(minimum: int, value: int, info: ValidationInfo) -> int:
    environment = info.data.get("environment")
    if isinstance(environment, Environment) and environment.is_deployed and value < minimum:
        raise ValueError(f"must be {minimum} or more in staging and production")
    return value
