"""The environment variables that make a service use the local system."""

import logging
import os
from collections.abc import Mapping
from typing import Final

from dotenv import dotenv_values

from devtools.addresses import url_of
from devtools.credentials import Credentials
from devtools.project import ROOT
from devtools.services import AUTH, Service
from devtools.state import State
from devtools.telemetry.exporting import exporting

OWN = frozenset({"DATABASE_URL", "REDIS_URL", "PORT", "WORKERS", "WEB_CONCURRENCY", "PROJECT_NAME"})
"""Said by the local system for each service, whatever is said for all."""


DOTENV: Final = ROOT / ".env"


def told() -> dict[str, str]:
    """What this person has set for the services: variables, else `.env` of the checkout."""
    return {**in_file(), **os.environ}


def in_file() -> dict[str, str]:
    """What `.env` says; its mistakes are told by `dotenv_file`."""
    logging.getLogger("dotenv").setLevel(logging.ERROR)
    return {name: value for name, value in dotenv_values(DOTENV).items() if value}


def named_in(variable: str) -> str:
    """Say where a variable's value comes from."""
    return variable if variable in os.environ else f"{variable} in .env"


def environment_of(
    service: Service, state: State, *, offset: int = 0, workers: int = 1
) -> dict[str, str]:
    """The whole environment of a service's process.

    Args:
        service: the service.
        state: with the addresses of PostgreSQL, Redis and whatever takes spans.
        offset: added to every port.
        workers: server processes.
    """
    keys = Credentials()
    issuer = f"http://localhost:{AUTH.port + offset}"
    told_to_all = {name: value for name, value in told().items() if name.upper() not in OWN}
    inherited = exporting(told_to_all, state)
    defaults = {
        "HOST": "127.0.0.1",
        "SECRET_KEY": keys.secret(f"{service.name}.secret_key"),
        "LOG_FORMAT": "console",
        "JWT_ISSUER": issuer,
        "AUTH_URL": issuer,
        "DRAIN_DELAY_SECONDS": "0",
        "SHUTDOWN_TIMEOUT_SECONDS": "3",
        "WEBHOOKS_ALLOW_PRIVATE": "true",
    }
    return {
        **defaults,
        **inherited,
        "ENVIRONMENT": "development",
        "PROJECT_NAME": service.name,
        "DATABASE_URL": url_of(service, state.postgres_url, keys),
        "REDIS_URL": state.redis_url,
        "PORT": str(service.port + offset),
        "WORKERS": str(workers),
        "PYTHONUNBUFFERED": "1",
        "PYTHONBREAKPOINT": "devtools.breakpoints.breakpoint_reached",
    }


def for_reading(service: Service) -> Mapping[str, str]:
    """An environment in which an application can be made and looked at, but not started."""
    state = State(
        pid=0, postgres_url="postgresql://nobody@127.0.0.1/x", redis_url="redis://127.0.0.1"
    )
    return {**environment_of(service, state), "LOG_LEVEL": "ERROR"}
