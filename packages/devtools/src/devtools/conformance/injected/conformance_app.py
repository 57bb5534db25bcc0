"""The application class that stands for `fastapi.FastAPI` while FastAPI's own tests run.

It is the platform's, with FastAPI's handlers for HTTP errors and invalid requests: the platform's
own answer with problem details (RFC 9457), which is deliberate and documented, and which these
tests, written for FastAPI's bodies, are not about.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import fastapi.applications
from fastapi.exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
)
from fastapi.exceptions import RequestValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from starlette.exceptions import HTTPException

from service_platform.app import ServiceApp
from service_platform.settings import Environment, PlatformSettings


class Settings(PlatformSettings):
    """Settings from arguments alone: no variable or `.env` of this machine changes a result."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - of the base class
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read what the constructor was given."""
        return (init_settings,)


SETTINGS = Settings(
    environment=Environment.TEST,
    acceleration=os.environ["CONFORMANCE_ACCELERATION"] == "true",
    rate_limit_backend="memory",
    rate_limit_requests=10_000_000,
)

FASTAPI_HANDLERS: Mapping[Any, Callable[..., Any]] = {
    HTTPException: http_exception_handler,
    RequestValidationError: request_validation_exception_handler,
}


class FastAPI(ServiceApp):
    """`ServiceApp` with the constructor of `fastapi.FastAPI`."""

    def __init__(
        self,
        *,
        exception_handlers: Mapping[Any, Callable[..., Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            settings=SETTINGS,
            exception_handlers={**FASTAPI_HANDLERS, **(exception_handlers or {})},
            **options,
        )


FastAPI.__module__ = fastapi.applications.FastAPI.__module__


def replace() -> None:
    """Make this class what `from fastapi import FastAPI` imports."""
    fastapi.FastAPI = fastapi.applications.FastAPI = FastAPI  # type: ignore[misc]
